"""Encoders whose features a localizer reads: in its folder or named by its config, and checked."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForVideoClassification, PreTrainedModel

# Not from the top: without torchvision, older releases have a stand-in there that raises when it is touched.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.encoder.provenance import describe_encoder, loaded_revision
from bsp_hf.features.encoder_record import EncoderMismatchError, EncoderRecord

from .companions import find_companion_file
from .config import LocalizerConfig

ENCODER_FOLDER = "encoder"

# Any: the encoder's model and preprocessing may be of any class of transformers
EncoderSource = str | PathLike[str] | VideoFeatureExtractionPipeline | tuple[PreTrainedModel, Any]


def load_encoders(
    model: PreTrainedModel,
    encoder: EncoderSource | list[EncoderSource] | None = None,
    device: Any = None,  # Any: what transformers takes for a device
) -> list[VideoFeatureExtractionPipeline]:
    """Load the encoders whose features a localizer reads, one for each part of the features.

    By default they are what lies in the localizer's folder, else what its config names if that is a commit on
    the Hub. Encoders that it was not trained on raise [`EncoderMismatchError`], none at all `OSError`.
    """
    config = localizer_config(model)
    device = model.device if device is None else device
    if encoder is None:
        found = _load_companions(model, device) or _load_named(config, device)
    else:
        found = [to_pipeline(source, device) for source in as_list(encoder)]
    try:
        check_known_encoder(found, config)
    except EncoderMismatchError as error:
        if encoder is not None:
            raise
        place = model.name_or_path or "the localizer"
        message = f"{place}: its config.json or what lies in {ENCODER_FOLDER} was changed: {error}"
        raise EncoderMismatchError(message) from error
    return found


def as_list(encoder: EncoderSource | list[EncoderSource] | None) -> list[EncoderSource]:
    """Return encoders as a list, whether one, several or none are given."""
    if encoder is None:
        return []
    return encoder if isinstance(encoder, list) else [encoder]


def encoder_subfolder(number: int) -> str:
    """Return the name of an encoder's subfolder; they are flat, as a push to the Hub asks for."""
    return ENCODER_FOLDER if number == 0 else f"{ENCODER_FOLDER}_{number + 1}"


def is_known_encoder(record: EncoderRecord, config: LocalizerConfig) -> bool:
    """Check whether an encoder is the one that the config names, or its copy in the localizer's folder."""
    if config.encoder is None:
        return True
    expected = [config.encoder] if config.encoder_copy is None else [config.encoder, config.encoder_copy]
    return any(not record.differences(EncoderRecord.from_dict(values)) for values in expected)


def check_known_encoder(
    pipelines: Sequence[VideoFeatureExtractionPipeline], config: LocalizerConfig
) -> EncoderRecord:
    """Return the joined record of encoders, which must be those that a localizer was trained on."""
    record = EncoderRecord.join([describe_pipeline(pipeline) for pipeline in pipelines])
    if not is_known_encoder(record, config):
        raise EncoderMismatchError(
            f"the localizer was trained on features of {EncoderRecord.from_dict(config.encoder or {})}; the "
            f"encoder given is {record}. Pass the one that it was trained on as encoder=."
        )
    return record


def describe_pipeline(pipeline: VideoFeatureExtractionPipeline) -> EncoderRecord:
    """Return the record of the encoder that a feature pipeline runs."""
    extractor = pipeline.feature_extractor or pipeline.image_processor
    return EncoderRecord.from_dict(describe_encoder(pipeline.model, extractor))


def describe_copy(pipeline: VideoFeatureExtractionPipeline) -> EncoderRecord:
    """Return the record of an encoder by its weights, wherever it was loaded from."""
    name = pipeline.model.name_or_path
    try:
        pipeline.model.name_or_path = ""
        return describe_pipeline(pipeline)
    finally:
        pipeline.model.name_or_path = name


def localizer_config(model: PreTrainedModel) -> LocalizerConfig:
    """Return a localizer's config; any other model is refused."""
    if not isinstance(model.config, LocalizerConfig):
        raise TypeError(
            f"{type(model).__name__} is no localizer; a folder of an encoder is written by "
            "save_checkpoint_folder."
        )
    return model.config


def to_pipeline(
    source: EncoderSource,
    device: Any = "cpu",  # Any: what transformers takes for a device
) -> VideoFeatureExtractionPipeline:
    """Return the feature pipeline of an encoder, which is loaded unless it is one already."""
    if isinstance(source, VideoFeatureExtractionPipeline):
        return source
    if isinstance(source, tuple):
        return _build_pipeline(*source, device=device)
    return _load_pipeline(str(source), device)


def _load_pipeline(
    name: str,
    device: Any,  # Any: what transformers takes for a device
    subfolder: str = "",
    revision: str | None = None,
    with_head: bool = False,
) -> VideoFeatureExtractionPipeline:
    where = {"subfolder": subfolder, "revision": revision or "main"}
    # A head is left out where the features are made; it is loaded where it names a video's classes.
    model_class = AutoModelForVideoClassification if with_head else AutoModel
    place = f"{name}/{subfolder}".rstrip("/")
    try:
        model = model_class.from_pretrained(name, **where)
    except (AttributeError, RuntimeError, StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{place}: config.json or the weights cannot be read: {reason}") from error
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name, **where)
    except (OSError, ValueError):  # models that are not ours have an image processor
        try:
            extractor = AutoImageProcessor.from_pretrained(name, **where)
        except ValueError as error:
            raise ValueError(f"{place}: preprocessor_config.json cannot be read: {error}") from error
    return _build_pipeline(model, extractor, device=device)


def _build_pipeline(
    model: PreTrainedModel,
    extractor: Any,  # Any: ours, or the image processor of another model
    device: Any,  # Any: what transformers takes for a device
) -> VideoFeatureExtractionPipeline:
    return VideoFeatureExtractionPipeline(
        model=model.eval(), feature_extractor=extractor, device=device, task="video-feature-extraction"
    )


def _load_companions(model: PreTrainedModel, device: Any) -> list[VideoFeatureExtractionPipeline]:
    name, revision = model.name_or_path or "", loaded_revision(model)
    found: list[VideoFeatureExtractionPipeline] = []
    while find_companion_file(name, f"{encoder_subfolder(len(found))}/config.json", revision) is not None:
        with_head = getattr(model.config, "class_source", None) == "encoder"
        found.append(_load_pipeline(name, device, encoder_subfolder(len(found)), revision, with_head))
        # The commit is the localizer's; the encoder is known by its weights, in any folder and repository.
        found[-1].model.name_or_path = ""
    return found


def _load_named(config: LocalizerConfig, device: Any) -> list[VideoFeatureExtractionPipeline]:
    named = EncoderRecord.from_dict(config.encoder) if config.encoder is not None else None
    parts = () if named is None else named.parts or (named,)
    if not parts or any("/" not in part.id or not _is_commit(part.revision) for part in parts):
        origin = "names no encoder" if named is None else f"was trained on features of {named}"
        raise FileNotFoundError(
            f"there is no encoder to read a raw video with: the localizer {origin}, and no {ENCODER_FOLDER} "
            "folder lies beside it. Pass encoder=, a folder or Hub id, or give features instead of a video."
        )
    return [_load_pipeline(part.id, device, revision=part.revision) for part in parts]


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and all(digit in "0123456789abcdef" for digit in revision)
