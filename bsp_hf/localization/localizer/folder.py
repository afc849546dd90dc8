"""One folder that holds a localizer, the encoder whose features it reads, and what reads its queries."""

import json
import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import PreTrainedModel

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.encoder.provenance import loaded_revision
from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.files import atomic_folder

from .companions import TEXT_ENCODER_FOLDER, Companion
from .config import LocalizerConfig
from .encoders import (
    ENCODER_FOLDER,
    EncoderSource,
    as_list,
    check_known_encoder,
    describe_copy,
    encoder_subfolder,
    localizer_config,
    to_pipeline,
)

RECORD_FILE = "training_record.json"
_WEIGHT_FILES = ("model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json")
# What an encoder is: its config, preprocessing, weights, code, and what people wrote about it. Checkpoints of
# its training, weights of other libraries and the like are not.
_ENCODER_FILES = (
    *("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
    *(*_WEIGHT_FILES, "*.py", RECORD_FILE, "README.md", "LICENSE*", "NOTICE*"),
)


def save_localizer_folder(
    model: PreTrainedModel,
    folder: str | PathLike[str],
    *,
    encoder: EncoderSource | list[EncoderSource] | None = None,
    vocabulary: Companion | None = None,
    word_vectors: Companion | None = None,
    text_encoder: Companion | None = None,
    record: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Path:
    """Save a localizer with all that turns a raw video into segments.

    `pipeline(task, model=folder)` then needs nothing else. The encoder is copied into the subfolder
    `encoder`; where the localizer reads the joined features of several, the others go into `encoder_2` and
    so on. The folder appears whole or not at all.

    Args:
        model (`PreTrainedModel`): The localizer. Its config gets the encoder's record.
        folder (`str` or `PathLike`): The folder; made if it does not exist. Files of the same name are
            replaced, others are kept.
        encoder (`str`, `PathLike`, `VideoFeatureExtractionPipeline` or `tuple`, *optional*): The encoder: a
            checkpoint folder or Hub id, a feature pipeline, a pair of model and preprocessing, or a list of
            these. Without it the folder serves stored features, and raw videos where the config's encoder
            is on the Hub.
        vocabulary (`QueryVocabulary`, *optional*): LGI: the words of its embedding.
        word_vectors (`WordVectors`, *optional*): 2D-TAN, and LGI that reads word vectors: the vectors of the
            training queries' words, or of all words.
        text_encoder (`TransformersQueryEncoder`, *optional*): The text encoder in their place.
        record (`dict`, *optional*): How the localizer was made. It is written as `training_record.json`, with
            a description of the localizer in it; the model card follows from it when it is published.
        kwargs: As for [`PreTrainedModel.save_pretrained`].

    Returns:
        `Path`: The folder.

    Raises:
        EncoderMismatchError: If the config names another encoder than the one given.
        OSError: If the encoder's folder does not exist.
        TypeError: If `model` is not a localizer.
    """
    config, folder = localizer_config(model), Path(folder)
    sources = as_list(encoder)
    pipelines = [to_pipeline(source) for source in sources]
    if pipelines:
        _name_encoder(config, pipelines)
    if text_encoder is not None:
        setattr(config, "text_encoder", TEXT_ENCODER_FOLDER)  # noqa: B010 - of grounding configs alone
    if kwargs.get("push_to_hub"):
        kwargs.setdefault("repo_id", folder.resolve().name)
    # Neither weights in several files nor a second encoder of another localizer may be left.
    replaced = (*_WEIGHT_FILES, *((ENCODER_FOLDER, f"{ENCODER_FOLDER}_*") if pipelines else ()))
    with atomic_folder(folder, keep_others=True, without=replaced) as partial:
        for number, (source, pipeline) in enumerate(zip(sources, pipelines, strict=True)):
            _save_encoder(source, pipeline, partial / encoder_subfolder(number))
        for companion in (vocabulary, word_vectors, text_encoder):
            if companion is not None:
                companion.save_pretrained(partial)
        # Described anew: a record may come from a folder with another encoder beside the localizer.
        holds_encoder = any((place / encoder_subfolder(0)).is_dir() for place in (partial, folder))
        description = _describe_localizer(model, holds_encoder)
        content = json.dumps({**(record or {}), "localizer": description}, indent=2, sort_keys=True)
        (partial / RECORD_FILE).write_text(content + "\n", encoding="utf-8")
        model.save_pretrained(partial, **kwargs)
    return folder


def _describe_localizer(model: PreTrainedModel, holds_encoder: bool) -> dict[str, Any]:
    """Return what the record and the card of a localizer say about it, fit for JSON."""
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
        "holds_encoder": holds_encoder,
        "queries": config.describe_queries(),
    }


def _name_encoder(config: LocalizerConfig, pipelines: Sequence[VideoFeatureExtractionPipeline]) -> None:
    """Write the encoder's record into the config, and that of its copy where it differs."""
    record = check_known_encoder(pipelines, config)
    if config.encoder is None:
        config.encoder = record.to_dict()
    copy = EncoderRecord.join([describe_copy(pipeline) for pipeline in pipelines])
    differs = copy.differences(EncoderRecord.from_dict(config.encoder))
    config.encoder_copy = copy.to_dict() if differs else None


def _save_encoder(source: EncoderSource, pipeline: VideoFeatureExtractionPipeline, folder: Path) -> None:
    if isinstance(source, VideoFeatureExtractionPipeline | tuple):
        pipeline.model.save_pretrained(folder)
        extractor = pipeline.feature_extractor or pipeline.image_processor
        if extractor is not None:
            extractor.save_pretrained(folder)
        return
    local = Path(source)
    if not local.is_dir():
        revision, files = loaded_revision(pipeline.model), list(_ENCODER_FILES)
        local = Path(
            snapshot_download(str(source), revision=revision, allow_patterns=files, ignore_patterns="*/*")
        )
    folder.mkdir()
    # As files: loaded and saved again, an encoder would lose its head, its card and its record.
    for pattern in _ENCODER_FILES:
        for file in local.glob(pattern):
            shutil.copyfile(file, folder / file.name)
    if not any(folder.glob("*.safetensors")):  # its weights have another format
        pipeline.model.save_pretrained(folder)
