"""Writes a checkpoint folder: weights, config, preprocessing, pipeline entry, code, record and model card."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor

from .cards import RECORD_FILE, write_card
from .encoder_facts import describe_model

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


__all__ = ["save_checkpoint_folder"]
