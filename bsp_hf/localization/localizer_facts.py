"""What there is to say about a localizer, for its record and its model card."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from bsp_hf.features.encoders import EncoderRecord

from .lgi_config import LGIConfig
from .localizer_config import LocalizerConfig
from .localizer_encoders import encoder_subfolder, localizer_config
from .tan_config import TANConfig


def describe_localizer(model: PreTrainedModel, folder: str | Path) -> dict[str, Any]:
    """Describe a localizer for its record and its card.

    Args:
        model (`PreTrainedModel`): The localizer.
        folder (`str` or `Path`): Where it was saved, with its encoder or without.

    Returns:
        `dict`: `kind` (the config's `model_type`), `model_class`, `num_parameters`, `feature_dim`,
        `feature_fps`, `feature_stride_frames`, `encoders` (`id` and `revision` of each whose features it
        reads), `holds_encoder` (whether they lie in the folder) and `queries` (what reads sentences, `None`
        where nothing does), fit for JSON.

    Raises:
        TypeError: If it is no localizer.
    """
    config = localizer_config(model)
    record = None if config.encoder is None else EncoderRecord.from_dict(config.encoder)
    parts = () if record is None else record.parts or (record,)
    return {
        "kind": config.model_type,
        "model_class": type(model).__name__,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "feature_dim": getattr(config, "feature_dim", None),
        "feature_fps": config.feature_fps,
        "feature_stride_frames": config.feature_stride_frames,
        "encoders": [{"id": part.id, "revision": part.revision} for part in parts],
        "holds_encoder": (Path(folder) / encoder_subfolder(0) / "config.json").is_file(),
        "queries": _describe_queries(config),
    }


def _describe_queries(config: LocalizerConfig) -> str | None:
    if not isinstance(config, TANConfig | LGIConfig):
        return None
    if config.text_encoder is not None:
        return "a text encoder of transformers"
    if isinstance(config, LGIConfig) and config.query_input == "word_ids":
        return f"an embedding of {config.vocab_size} words, trained with it"
    return f"word vectors of {config.word_dim} numbers"


__all__ = ["describe_localizer"]
