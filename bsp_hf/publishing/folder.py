"""Writes a checkpoint folder: weights, config, preprocessing, pipeline entry, code, record and model card."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, ResNetConfig

from bsp_hf.encoder.configuration_bsp import BACKBONE_VARIANTS
from bsp_hf.encoder.configuration_efficientnet_lite import EfficientNetLiteConfig
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.publishing.cards.files import RECORD_FILE, write_card


def name_architecture(backbone: PreTrainedConfig) -> str:
    """Name a backbone the usual way, or describe it where there is no usual name.

    Args:
        backbone (`PreTrainedConfig`): Its configuration.

    Returns:
        `str`: For instance `"resnet50"`, or `"resnet (basic, depths 1-1, widths 8-16)"`.
    """
    for name, (config_class, fields) in BACKBONE_VARIANTS.items():
        variant = config_class(**fields)
        if backbone.model_type == config_class.model_type and all(
            getattr(backbone, field) == getattr(variant, field)
            for field in ("embedding_size", "stem_size", *fields)
            if hasattr(variant, field)
        ):
            return name
    if backbone.model_type not in (ResNetConfig.model_type, EfficientNetLiteConfig.model_type):
        return str(backbone.model_type)
    depths, widths = ("-".join(map(str, n or ())) for n in (backbone.depths, backbone.hidden_sizes))
    kind = f"{backbone.layer_type}, " if backbone.model_type == ResNetConfig.model_type else ""
    return f"{backbone.model_type} ({kind}depths {depths}, widths {widths})"


def describe_model(model: PreTrainedModel, extractor: BSPFeatureExtractor) -> dict[str, Any]:
    """Describe an encoder for its record and its card.

    Args:
        model (`PreTrainedModel`): The encoder, with or without a head; it may be on the meta device.
        extractor (`BSPFeatureExtractor`): Its preprocessing.

    Returns:
        `dict`: `architecture`, `model_class`, `num_parameters`, `feature_dim`, `num_labels` (`None` without a
        classifier), `num_frames` and `preprocessing`, fit for JSON.
    """
    config = model.config
    shipped = getattr(config, "shipped_classes", {})
    classifier = shipped.get("AutoModelForVideoClassification", "").rpartition(".")[2]
    return {
        "architecture": _name_architecture(config),
        "model_class": type(model).__name__,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "feature_dim": getattr(config, "hidden_size", None),
        "num_labels": config.num_labels if type(model).__name__ == classifier else None,
        "num_frames": getattr(config, "num_frames", None),
        "preprocessing": describe_preprocessing(extractor),
    }


def _name_architecture(config: PreTrainedConfig) -> str:
    """Name the backbone, or the streams that stand side by side."""
    if hasattr(config, "build_stream_configs"):
        return " + ".join(_name_architecture(stream) for stream in config.build_stream_configs())
    return name_architecture(getattr(config, "backbone_config", config))


def describe_preprocessing(extractor: BSPFeatureExtractor) -> str:
    """Say in one line what happens to a frame in front of the network.

    Args:
        extractor (`BSPFeatureExtractor`): The preprocessing.

    Returns:
        `str`: For instance `"RGB, short side 256, centre crop 224, scaled to 0..1, mean ..., std ..."`.
    """
    mean, std = ("/".join(f"{x:g}" for x in values) for values in (extractor.image_mean, extractor.image_std))
    return (
        f"RGB, short side {extractor.size['shortest_edge']}, centre crop {extractor.crop_size['height']}, "
        f"scaled to 0..1, mean {mean}, std {std}"
    )


ENCODER_CODE = Path(__file__).resolve().parent.parent / "encoder"


_PIPELINE_ENTRY = {
    "video-feature-extraction": {
        "impl": "pipeline_video_features.VideoFeatureExtractionPipeline",
        "pt": ["AutoModel"],
        "type": "video",
    }
}


def save_checkpoint_folder(
    model: PreTrainedModel,
    extractor: BSPFeatureExtractor,
    folder: str | Path,
    record: dict[str, Any] | None = None,
) -> Path:
    """Save everything that loading an encoder needs, with this package installed or without it.

    Args:
        model (`PreTrainedModel`): The encoder, with or without a head.
        extractor (`BSPFeatureExtractor`): Its preprocessing.
        folder (`str` or `Path`): The folder; made if it does not exist. Files of the same name are replaced,
            but for a model card that somebody has edited.
        record (`dict`, *optional*): How the encoder was made. It is written as `training_record.json`, with a
            description of the encoder in it, and `README.md` is the model card that follows from it.

    Returns:
        `Path`: The folder. `AutoModel.from_pretrained(folder)` and
        `pipeline("video-feature-extraction", model=folder)` read it; without this package they need
        `trust_remote_code=True`.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    # The pipeline's code is not a part of the model's, so saving the model does not bring it.
    for source in ENCODER_CODE.glob("*.py"):
        if source.name != "__init__.py":
            shutil.copyfile(source, folder / source.name)
    entries: dict[str, Any] = {"custom_pipelines": _PIPELINE_ENTRY}
    # By name, not by class: a model may have been loaded from the code of another checkpoint.
    shipped_classes = getattr(model.config, "shipped_classes", None)
    if shipped_classes:
        entries["auto_map"] = dict(shipped_classes)
    _update_json(folder / "config.json", entries)
    # Another auto_map key here would make transformers look for a video processor and ask questions.
    _update_json(
        folder / "preprocessor_config.json",
        {"auto_map": {"AutoFeatureExtractor": "feature_extraction_bsp.BSPFeatureExtractor"}},
    )
    record = {"encoder": describe_model(model, extractor), **(record or {})}
    _write_json(folder / RECORD_FILE, record)
    write_card(folder, record)
    return folder


def _update_json(path: Path, changes: dict[str, Any]) -> None:
    _write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
