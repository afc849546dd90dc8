"""Base of the localizers' configs: the features that a localizer was trained on."""

import reprlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from bsp_hf.encoder.frame_times import LEAST_FPS, MOST_FPS
from bsp_hf.features.encoder_record import EncoderRecord

# Far above what is published, far below what would fill a memory.
_LARGEST, _MOST_ENTRIES, _MOST_LAYERS = 1_000_000, 1000, 1000
# Task of the pipeline of each kind of localizer, by the type of its config.
LOCALIZER_TASKS = {
    "gtad": "temporal-action-localization",
    "tan": "video-grounding",
    "lgi": "video-grounding",
    "actionness": "step-localization",
}


@strict
class LocalizerConfig(PreTrainedConfig):
    """Base of the localizers' configs: which encoder made the features, and on which grid.

    Args:
        encoder (`dict`, *optional*): The encoder that made the features, as `EncoderRecord.to_dict()` gives
            it. Features of another one are refused. None for features of unknown origin, which are then taken
            as they come.
        encoder_copy (`dict`, *optional*): The same of the encoder that lies in the localizer's folder, where
            its record differs because `encoder` names a commit on the Hub.
        feature_fps (`float`, *optional*): Frames per second that videos are resampled to before the encoder
            reads them; None takes what the encoder's folder says.
        feature_stride_frames (`int`, *optional*): Frames from one feature row to the next; None takes what
            the encoder's folder says.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.
    """

    default_label: ClassVar[str | None] = None  # name of the only class where none are given

    encoder: dict[str, Any] | None = None
    encoder_copy: dict[str, Any] | None = None
    feature_fps: float | int | None = None
    feature_stride_frames: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        is_unnamed = self.id2label is None and kwargs.get("num_labels") is None
        if self.default_label is not None and is_unnamed:
            self.id2label = {0: self.default_label}
            self.label2id = {self.default_label: 0}
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:  # Any: as of the parent
        """Make a config of a dict; errors name the folder and file that it was read from."""
        name = kwargs.get("name_or_path")
        try:
            for field in ("id2label", "label2id"):
                if not isinstance(config_dict.get(field) or {}, dict):
                    raise ValueError(f"{field}={reprlib.repr(config_dict[field])} must be a JSON object.")
            numbers = [*(config_dict.get("id2label") or {}), *(config_dict.get("label2id") or {}).values()]
            if not all(str(number).isdecimal() for number in numbers):
                raise ValueError(
                    "id2label and label2id must hold whole numbers and the names of the classes."
                )
            return super().from_dict(config_dict, **kwargs)
        except (StrictDataclassError, AttributeError, KeyError, TypeError, ValueError) as error:
            if not name:
                raise
            reason = error.__cause__ if isinstance(error, StrictDataclassError) else error
            text = " ".join(str(reason or error).split())
            text = text if len(text) <= 450 else f"{text[:250]} ... {text[-200:]}"
            raise ValueError(f"{name}: config.json: {text}") from error

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds: everything that is not a default, and the names of the classes."""
        # transformers takes two unnamed classes for a default and leaves them out; here one is the default.
        names: dict[str, Any] = (
            {} if self.default_label is None else {"id2label": self.id2label, "label2id": self.label2id}
        )
        return super().to_diff_dict() | names

    def validate_bounds(self) -> None:
        """Check that no number or list is so large that the network would take all memory or days."""
        own = {field.name: field.default for field in fields(self)}
        for name in own.keys() - {field.name for field in fields(PreTrainedConfig)}:
            value = getattr(self, name)
            if isinstance(value, bool) and not isinstance(own[name], bool):
                raise ValueError(f"{name}={value} must be a number or null.")
            numbers = value if isinstance(value, list | tuple) else [value]
            if len(numbers) > _MOST_ENTRIES:
                raise ValueError(f"{name} has {len(numbers)} entries; at most {_MOST_ENTRIES} are read.")
            most = _MOST_LAYERS if name.endswith(("_layers", "_blocks")) else _LARGEST
            if any(isinstance(one, int | float) and not abs(one) <= most for one in numbers):
                raise ValueError(f"{name}={reprlib.repr(value)} must lie between {-most} and {most}.")

    def check_at_least(self, least: int, *names: str) -> None:
        """Check that fields are not below a bound."""
        for name in names:
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}.")

    def check_choice(self, name: str, choices: Sequence[str]) -> None:
        """Check that a field holds one of some words."""
        if getattr(self, name) not in choices:
            raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}.")

    def describe_queries(self) -> str | None:
        """Return what reads the sentences of a grounding network; None for other localizers."""
        return None

    def validate_features(self) -> None:
        """Check the records of encoders and the grid of the features."""
        for name in ("encoder", "encoder_copy"):
            record = getattr(self, name)
            if record is not None:
                try:
                    EncoderRecord.from_dict(record)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"{name}={record!r} is not what EncoderRecord gives: {error}") from None
        if self.feature_stride_frames is not None:
            self.check_at_least(1, "feature_stride_frames")
        if self.feature_fps is not None and not LEAST_FPS <= self.feature_fps <= MOST_FPS:
            bounds = f"between {LEAST_FPS} and {MOST_FPS}"
            raise ValueError(f"feature_fps={self.feature_fps} must be {bounds}, or None.")
