"""Configurations of the three ways to fuse boundary and action features (Sec. 3.4 of the paper)."""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .backbone_family import feature_size
from .configuration_bsp import BSPConfig, ShippedConfig, find_config_class

SQUARED_ERROR_REDUCTIONS = ("sum", "mean")

# What belongs to the place a config was loaded from, or to the model around a stream.
_NOT_OF_A_STREAM = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "transformers_version",
)


@strict
class BSPTwoStreamConfig(ShippedConfig):
    r"""Configuration of a [`BSPTwoStreamModel`]: encoders side by side, their features concatenated.

    Args:
        stream_configs (`list`, *optional*):
            The config of every encoder, or its dict with a `model_type`, in the order of their features.
            Encoders may differ in family and depth. `None` means two TSM-ResNet-50, as in the paper.
        stream_names (`list[str]`, *optional*):
            A name for every stream; `None` means `["action", "boundary"]` for two streams, otherwise
            `["stream_0", ...]`.
        stream_records (`list[dict]`, *optional*):
            For every stream the `id`, `revision` and digest of the `weights` of the encoder that it was made
            of; written by [`~BSPTwoStreamModel.from_encoders`].

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type, there is no stream, or
            names or records do not fit the streams.
        ValueError: If the `model_type` of a stream is unknown.

    Example:
    ```python
    >>> from bsp_hf import BSPConfig, BSPTwoStreamConfig
    >>> streams = [BSPConfig.from_backbone_name(name) for name in ("resnet18", "resnet50")]
    >>> config = BSPTwoStreamConfig(stream_configs=streams)
    >>> config.stream_names, config.hidden_size
    (['action', 'boundary'], 2560)
    ```
    """

    model_type = "bsp-two-stream"
    shipped_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_fusion.BSPTwoStreamConfig",
        "AutoModel": "modeling_fusion.BSPTwoStreamModel",
    }

    # Any: configs, or what JSON holds of them
    stream_configs: list[Any] | None = None
    stream_names: list[str] | None = None
    stream_records: list[Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        streams = [BSPConfig(), BSPConfig()] if self.stream_configs is None else self.stream_configs
        # Kept as dicts, which transformers saves, compares and loads as they are; a list of configs it would
        # not.
        self.stream_configs = [_stream_fields(config) for config in streams]
        if self.stream_names is None:
            count = len(self.stream_configs)
            names = ["action", "boundary"] if count == 2 else [f"stream_{i}" for i in range(count)]
            self.stream_names = names
        super().__post_init__(**kwargs)

    def validate_streams(self) -> None:
        """Check that there are streams, and that names and records fit them.

        Raises:
            ValueError: If not; the message names the field.
        """
        configs, names = self.stream_configs or [], self.stream_names or []
        if not configs:
            raise ValueError("stream_configs must hold at least one encoder.")
        if len(names) != len(configs) or len(set(names)) != len(names):
            raise ValueError(f"stream_names={names} must give {len(configs)} streams different names.")
        if not all(re.fullmatch(r"[A-Za-z]\w*", name) for name in names):
            raise ValueError(f"stream_names={names} must be words of letters, digits and underscores.")
        if self.stream_records is not None and len(self.stream_records) != len(configs):
            raise ValueError(
                f"stream_records has {len(self.stream_records)} entries for {len(configs)} streams."
            )

    def build_stream_configs(self) -> list[PreTrainedConfig]:
        """Make the config of every stream.

        Returns:
            `list[PreTrainedConfig]`: New configs, in the order of the features.
        """
        return [
            find_config_class(fields["model_type"], _OWN_CONFIGS, "a stream").from_dict(
                {name: value for name, value in fields.items() if name != "model_type"}
            )
            for fields in self.stream_configs or []
        ]

    @property
    def hidden_size(self) -> int:
        """Width of the concatenated feature: the sum over the streams."""
        return sum(feature_size(config) for config in self.build_stream_configs())

    @property
    def num_frames(self) -> int:
        """Frames of a snippet, as the first stream has it."""
        return int(getattr(self.build_stream_configs()[0], "num_frames", 8))


@strict
class BSPTwoHeadConfig(BSPConfig):
    r"""Configuration of a [`BSPForTwoHeadClassification`]: one trunk, a boundary head and an action head.

    The paper gives the joint loss no weights. Choice: both 1.

    Args:
        action_names (`list[str]`, *optional*):
            The action classes, in the order of the action logits; `None` means `["ACTION_0", "ACTION_1"]`.
        boundary_loss_weight (`float`, *optional*, defaults to 1.0): Factor of the boundary cross-entropy.
        action_loss_weight (`float`, *optional*, defaults to 1.0): Factor of the action cross-entropy.
        kwargs: All fields of [`BSPConfig`]. `id2label` names the boundary types.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.

    Example:
    ```python
    >>> from bsp_hf import BSPTwoHeadConfig
    >>> config = BSPTwoHeadConfig.from_backbone_name("resnet18", action_names=["run", "walk", "wave"])
    >>> config.num_labels, len(config.action_names)
    (4, 3)
    ```
    """

    model_type = "bsp-two-head"
    shipped_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_fusion.BSPTwoHeadConfig",
        "AutoModel": "modeling_fusion.BSPTwoHeadModel",
        "AutoModelForVideoClassification": "modeling_fusion.BSPForTwoHeadClassification",
    }

    action_names: list[str] | None = None
    boundary_loss_weight: float | int = 1.0
    action_loss_weight: float | int = 1.0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.action_names is None:
            self.action_names = ["ACTION_0", "ACTION_1"]
        super().__post_init__(**kwargs)

    def validate_heads(self) -> None:
        """Check the fields that [`BSPConfig`] does not have.

        Raises:
            ValueError: If a field is out of range; the message names it.
        """
        if not self.action_names or len(set(self.action_names)) != len(self.action_names):
            raise ValueError(f"action_names={self.action_names} must be different names, at least one.")
        _check_weights(self, ("boundary_loss_weight", "action_loss_weight"))


@strict
class BSPDistilledConfig(BSPConfig):
    r"""Configuration of a [`BSPForFeatureDistillation`]: a student that matches two teachers' features.

    The loss is `action_feature_weight * ||f_v(x) - h_1(f_s(x))||^2 + boundary_feature_weight *
    ||f_b(x) - h_2(f_s(x))||^2 + cross_entropy_weight * cross-entropy` (Sec. 3.4). The paper gives the three
    terms no weights. Choice: all 1.

    Args:
        action_feature_size (`int`, *optional*):
            Width of the action teacher's feature `f_v`; `None` means the student's own width.
        boundary_feature_size (`int`, *optional*):
            Width of the boundary teacher's feature `f_b`; `None` means the student's own width.
        action_feature_weight (`float`, *optional*, defaults to 1.0): Factor of the error against `f_v`.
        boundary_feature_weight (`float`, *optional*, defaults to 1.0): Factor of the error against `f_b`.
        cross_entropy_weight (`float`, *optional*, defaults to 1.0): Factor of the cross-entropy.
        squared_error_reduction (`str`, *optional*, defaults to `"sum"`):
            What becomes of the squared errors of a feature's channels: `"sum"` is the squared norm of the
            equation, `"mean"` divides it by the width. Either way the batch is averaged. Choice: the
            equation as it is written.
        teacher_records (`dict`, *optional*):
            For `"action"` and `"boundary"` the `id`, `revision` and digest of the `weights` of the teacher.
        kwargs: All fields of [`BSPConfig`]. `id2label` names the classes of the cross-entropy.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.
    """

    model_type = "bsp-distilled"
    shipped_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_fusion.BSPDistilledConfig",
        "AutoModel": "modeling_fusion.BSPDistilledModel",
        "AutoModelForVideoClassification": "modeling_fusion.BSPForFeatureDistillation",
    }

    action_feature_size: int | None = None
    boundary_feature_size: int | None = None
    action_feature_weight: float | int = 1.0
    boundary_feature_weight: float | int = 1.0
    cross_entropy_weight: float | int = 1.0
    squared_error_reduction: str = "sum"
    teacher_records: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.action_feature_size is None:
            self.action_feature_size = self.hidden_size
        if self.boundary_feature_size is None:
            self.boundary_feature_size = self.hidden_size

    def validate_matching(self) -> None:
        """Check the fields that [`BSPConfig`] does not have.

        Raises:
            ValueError: If a field is out of range; the message names it.
        """
        for name in ("action_feature_size", "boundary_feature_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.squared_error_reduction not in SQUARED_ERROR_REDUCTIONS:
            raise ValueError(
                f"squared_error_reduction={self.squared_error_reduction!r} is not one of "
                f"{', '.join(SQUARED_ERROR_REDUCTIONS)}."
            )
        _check_weights(self, ("action_feature_weight", "boundary_feature_weight", "cross_entropy_weight"))


# Named here, because transformers does not know them where the package is not installed.
_OWN_CONFIGS: dict[str, type[PreTrainedConfig]] = {
    config_class.model_type: config_class
    for config_class in (BSPConfig, BSPTwoStreamConfig, BSPTwoHeadConfig, BSPDistilledConfig)
}


def _stream_fields(config: PreTrainedConfig | Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(config.to_dict() if isinstance(config, PreTrainedConfig) else config)
    fields.setdefault("model_type", BSPConfig.model_type)
    # The nested configs have a place of their own, too.
    for name, value in fields.items():
        if isinstance(value, dict) and "model_type" in value:
            fields[name] = {key: item for key, item in value.items() if key not in _NOT_OF_A_STREAM}
    fields = {name: value for name, value in fields.items() if name not in _NOT_OF_A_STREAM}
    # As JSON holds them, so that a saved config comes back equal.
    return json.loads(json.dumps(fields))


def _check_weights(config: PreTrainedConfig, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{name}={getattr(config, name)} must not be negative.")
    if not any(getattr(config, name) for name in names):
        raise ValueError(f"{', '.join(names)} are all 0, which leaves no loss.")
