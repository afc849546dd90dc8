"""Writes a checkpoint folder: weights, config, preprocessing, pipeline entry, code, record and model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, ResNetConfig

from bsp_hf.encoder.configuration_bsp import BACKBONE_VARIANTS
from bsp_hf.encoder.configuration_efficientnet_lite import EfficientNetLiteConfig
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.files import atomic_folder
from bsp_hf.publishing.cards.files import CARD_FILE, RECORD_FILE, keeps_card, record_as_json
from bsp_hf.publishing.cards.render import render_card


def name_architecture(backbone: PreTrainedConfig) -> str:
    """Return a backbone's usual name, or a description: `"resnet (basic, depths 1-1, widths 8-16)"`."""
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
    """Return what the record and the card of an encoder state about it; `num_labels` only with a classifier.

    The encoder, with or without a head, may be on the meta device.
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
    """Return the name of the backbone, or of the parallel streams."""
    if hasattr(config, "build_stream_configs"):
        return " + ".join(_name_architecture(stream) for stream in config.build_stream_configs())
    return name_architecture(getattr(config, "backbone_config", config))


def describe_preprocessing(extractor: BSPFeatureExtractor) -> str:
    """Return in one line how a frame is prepared: colours, size, crop, scale, mean and deviation."""
    mean, std = ("/".join(f"{x:g}" for x in values) for values in (extractor.image_mean, extractor.image_std))
    return (
        f"RGB, short side {extractor.size['shortest_edge']}, centre crop {extractor.crop_size['height']}, "
        f"scaled to 0..1, mean {mean}, std {std}"
    )


ENCODER_CODE = Path(__file__).resolve().parent.parent / "encoder"
VIDEO_PROCESSOR_FILE = "video_preprocessor_config.json"
_PIPELINE_ENTRY = {
    "video-feature-extraction": {
        "impl": "pipeline_video_features.VideoFeatureExtractionPipeline",
        "pt": ["AutoModel"],
        "type": "video",
    }
}
# What weights may be called that were saved in one file or in several.
_WEIGHT_FILES = ("model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json")


def save_checkpoint_folder(
    model: PreTrainedModel,
    extractor: BSPFeatureExtractor,
    folder: str | Path,
    record: dict[str, Any] | None = None,
) -> Path:
    """Save everything that loading an encoder needs, with this package installed or without it.

    The folder appears whole or not at all; one that exists is replaced in one step.

    Args:
        model (`PreTrainedModel`): The encoder, with or without a head.
        extractor (`BSPFeatureExtractor`): Its preprocessing.
        folder (`str` or `Path`): The folder; made if it does not exist. Files of the same name are replaced,
            except a model card that somebody has edited; other files are kept.
        record (`dict`, *optional*): How the encoder was made. It is written as `training_record.json`, with a
            description of the encoder in it, and `README.md` is the model card that follows from it.

    Returns:
        `Path`: The folder. `AutoModel.from_pretrained(folder)` and
        `pipeline("video-feature-extraction", model=folder)` read it; without this package they need
        `trust_remote_code=True`.

    Raises:
        NotADirectoryError: If `folder` is a file.
    """
    folder = Path(folder)
    record = {"encoder": describe_model(model, extractor), **(record or {})}
    with atomic_folder(folder, keep_others=True, without=_WEIGHT_FILES) as written:
        model.save_pretrained(written)
        extractor.save_pretrained(written)
        # The pipeline's code is not a part of the model's, so saving the model does not bring it.
        for source in ENCODER_CODE.glob("*.py"):
            if source.name != "__init__.py":
                shutil.copyfile(source, written / source.name)
        entries: dict[str, Any] = {"custom_pipelines": _PIPELINE_ENTRY}
        # By name, not by class: a model may have been loaded from the code of another checkpoint.
        shipped_classes = getattr(model.config, "shipped_classes", None)
        if shipped_classes:
            entries["auto_map"] = dict(shipped_classes)
        _update_json(written / "config.json", entries)
        _name_preprocessing(written, "feature_extraction_bsp.BSPFeatureExtractor")
        (written / RECORD_FILE).write_bytes(record_as_json(record))
        if not keeps_card(folder):
            (written / CARD_FILE).write_bytes(render_card(record, folder.resolve().name).encode())
    return folder


def _name_preprocessing(folder: Path, code: str) -> None:
    """Let every Auto class of transformers find the one preprocessing, whose class `code` names."""
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    _update_json(path, {"auto_map": {"AutoFeatureExtractor": code, "AutoImageProcessor": code}})
    settings["video_processor_type"] = settings.pop("image_processor_type")
    settings |= {"auto_map": {"AutoVideoProcessor": code}}
    del settings["feature_extractor_type"]
    (folder / VIDEO_PROCESSOR_FILE).write_bytes(record_as_json(settings))


def _update_json(path: Path, changes: dict[str, Any]) -> None:
    path.write_bytes(record_as_json({**json.loads(path.read_text(encoding="utf-8")), **changes}))
