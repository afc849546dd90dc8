"""Base of the localization pipelines: videos or feature tracks in, checked features, segments out."""

import json
import os
from collections.abc import Iterator, Mapping
from types import GeneratorType
from typing import Any, ClassVar

from torch.utils.data import Dataset, IterableDataset
from transformers import PreTrainedModel
from transformers.pipelines.base import Pipeline
from transformers.utils import logging

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline, is_several_videos
from bsp_hf.encoder.provenance import loaded_revision
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.features.resampling import concatenate_tracks
from bsp_hf.features.track import FeatureTrack

from .companions import find_companion_file
from .config import LocalizerConfig
from .encoders import EncoderSource, load_encoders
from .folder import RECORD_FILE, save_localizer_folder
from .segments import LocalizedSegments
from .tracks import check_track, name_video

logger = logging.get_logger(__name__)

LOADING_PARAMETERS = ("batch_size", "num_workers")
EXTRACTION_PARAMETERS = ("padding", "start_s", "end_s", "input_fps", "timeout_s", "progress")


class LocalizationPipeline(Pipeline):
    """Base of the pipelines that find segments in videos or in their features.

    An input is whatever `pipeline("video-feature-extraction")` takes, a [`FeatureTrack`], a dict with the
    entry `"video"` and what belongs to it, or a list, generator or `KeyDataset` of these. Parameters of the
    call, or of `pipeline(...)` to hold for every call: `padding`, `start_s`, `end_s`, `input_fps`,
    `timeout_s` and `progress` as for features, `batch_size` (snippets that go through the encoder together)
    and `num_workers` (1 decodes in another process).

    Args:
        model (`PreTrainedModel`): The localizer.
        encoder (`str`, `PathLike`, `VideoFeatureExtractionPipeline`, `tuple` or `list`, *optional*): The
            encoder of raw videos: a folder or Hub id, a feature pipeline, a pair of model and preprocessing,
            or a list of these whose features are joined. By default the one in the localizer's folder, else
            the one that its config names. It is loaded when the first raw video comes.
        kwargs: As for every pipeline.

    Raises:
        TypeError: If the model is no localizer for this task.
    """

    # Any: transformers declares these None, and reads False as "never"; the encoder brings its own.
    _load_tokenizer: Any = False
    _load_processor: Any = False
    _load_feature_extractor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False

    localizer_classes: ClassVar[tuple[type[PreTrainedModel], ...]] = ()
    item_fields: ClassVar[tuple[str, ...]] = ()
    result_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        *args: Any,  # Any: tokenizer and the like, none of which is used
        encoder: EncoderSource | list[EncoderSource] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, self.localizer_classes):
            names = " or a ".join(sorted(kind.__name__ for kind in self.localizer_classes))
            raise TypeError(
                f"{kwargs.get('task') or type(self).__name__} needs a {names}, the model is a "
                f"{type(model).__name__}. Train one with examples/train_localizer.py."
            )
        self._encoder_source = encoder
        self._encoders: list[VideoFeatureExtractionPipeline] | None = None
        self._defaults = {name: kwargs[name] for name in self.parameters if kwargs.get(name) is not None}
        super().__init__(model.eval(), *args, **kwargs)

    @property
    def config(self) -> Any:  # Any: the config of whichever localizer it is
        """The localizer's config."""
        return self.model.config

    @property
    def encoders(self) -> list[VideoFeatureExtractionPipeline]:
        """The feature pipelines that read raw videos; loaded when they are first asked for."""
        if self._encoders is None:
            self._encoders = load_encoders(self.model, self._encoder_source, self.device)
        return self._encoders

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what a call takes besides the input."""
        return (*EXTRACTION_PARAMETERS, *self.item_fields, *self.result_parameters, *LOADING_PARAMETERS)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {key: value for key, value in kwargs.items() if value is not None}
        unknown = set(given) - set(self.parameters)
        if unknown:
            raise TypeError(
                f"{self.task} has no parameter {', '.join(sorted(unknown))}; it takes "
                f"{', '.join(self.parameters)}."
            )
        for name, least in {"top_k": 1, "batch_size": 1, "num_workers": 0}.items():
            if given.get(name, least) < least:
                raise ValueError(f"{name}={given[name]} must be at least {least}.")
        if not 0 <= given.get("threshold", 0) <= 1:
            raise ValueError(f"threshold={given['threshold']} must be between 0 and 1, as scores are.")
        preprocess = {key: value for key, value in given.items() if key not in self.result_parameters}
        return preprocess, {}, {key: given[key] for key in self.result_parameters if key in given}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # no positional ones
        """Find the segments of one video or several.

        Args:
            inputs: One video or several; see the class.
            kwargs: Parameters named in the class's description.

        Returns:
            [`LocalizedSegments`] for one video; a list of them for a list, in which a video that cannot be
            read has none and says why in `error`; an iterator for a generator or data set.

        Raises:
            VideoDecodeError: If the one video cannot be read.
            OSError: If the one video is not there, or there is no encoder to read videos with.
            EncoderMismatchError: If a track was made by another encoder than the localizer was trained on.
            ValueError: If a parameter is out of range, or a track does not fit.
            TypeError: If the input is nothing that holds a video.
        """
        given = {key: value for key, value in kwargs.items() if value is not None}
        preprocess, _, result = self._sanitize_parameters(**{**self._defaults, **given})
        if is_several_videos(inputs):
            return [self._localize(item, preprocess, result, keep_failure=True) for item in inputs]
        items = _iterate(inputs)
        if items is not None:
            return (self._localize(item, preprocess, result, keep_failure=True) for item in items)
        return self._localize(inputs, preprocess, result)

    def _localize(
        self,
        item: Any,  # Any: a video in any form, a track, or a dict with one
        preprocess: dict[str, Any],
        result: dict[str, Any],
        keep_failure: bool = False,
    ) -> Any:
        video, fields = self._split_item(item)
        if not isinstance(video, FeatureTrack):
            _ = self.encoders  # its absence is no fault of the video
        try:
            # Any: the track beside the tensors
            model_inputs: Any = self.preprocess(video, **{**preprocess, **fields})
        except (VideoDecodeError, OSError) as error:
            if not keep_failure:
                raise
            logger.warning(f"{error}")
            return LocalizedSegments(video_id=name_video(video), error=str(error))
        if not model_inputs["track"].num_snippets:
            return self.find_nothing(model_inputs)
        return self.postprocess(self.forward(model_inputs), **result)

    def _split_item(self, item: Any) -> tuple[Any, dict[str, Any]]:
        if not isinstance(item, Mapping) or "video" not in item:
            return item, {}
        fields = {key: value for key, value in item.items() if key != "video"}
        unknown = set(fields) - set(self.item_fields)
        if unknown:
            raise TypeError(
                f"an input of {self.task} has no entry {', '.join(sorted(unknown))}; it takes "
                f"{', '.join(('video', *self.item_fields))}."
            )
        return item["video"], fields

    def make_track(
        self, video: Any, batch_size: int = 1, num_workers: int = 0, **extraction: Any
    ) -> FeatureTrack:
        """Return the features of a video as the localizer reads them; those of a given track are checked.

        Without a row if the video is too short for one. `extraction` is passed to the feature pipeline.
        """
        config: LocalizerConfig = self.config
        if isinstance(video, FeatureTrack):
            check_track(video, config)
            return video
        grid = {"fps": config.feature_fps, "stride_frames": config.feature_stride_frames}
        if extraction.get("input_fps") is not None and config.feature_fps is None:
            del grid["fps"]
        tracks = []
        for encoder in self.encoders:
            result = encoder(video, batch_size=batch_size, num_workers=num_workers, **grid, **extraction)
            tracks.append(FeatureTrack.from_pipeline(result, video_id=name_video(video)))
        track = tracks[0] if len(tracks) == 1 else concatenate_tracks(tracks)
        check_track(track, config)
        return track

    def find_nothing(self, model_inputs: dict[str, Any]) -> Any:
        """Return the result of a video that is too short for a snippet: no segment, and why."""
        record = model_inputs["track"].record
        too_short = f"{record.video_id} is shorter than one snippet of {record.snippet_frames} frames."
        return LocalizedSegments((), record.video_id, record.duration_s, record.error or too_short)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the localizer with its encoder and what reads its queries; `push_to_hub` sends the same."""
        encoders: list[EncoderSource] | None
        try:
            encoders = list(self.encoders)
        except FileNotFoundError:
            encoders = None  # it served features only, and will again
        # Not the parent's: it would mark the config so that loading asks for trust in remote code.
        save_localizer_folder(
            self.model,
            save_directory,
            encoder=encoders,
            record=self._read_record(),
            **self._companions(),
            **kwargs,
        )

    def _read_record(self) -> dict[str, Any] | None:
        """Return how the localizer was made, if it was loaded from where that is written."""
        name = self.model.name_or_path or ""
        path = find_companion_file(name, RECORD_FILE, loaded_revision(self.model))
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def _companions(self) -> dict[str, Any]:
        """Return what else lies in the folder, as `save_localizer_folder` takes it."""
        return {}


def _iterate(inputs: Any) -> Iterator[Any] | None:  # Any: whatever holds videos
    """Return the videos of a generator or data set one by one; None for anything else."""
    if isinstance(inputs, GeneratorType):
        return inputs
    # By name: whoever has a data set of the library `datasets` has imported it, others need not have it.
    is_of_datasets = type(inputs).__module__.partition(".")[0] == "datasets" and hasattr(inputs, "features")
    if isinstance(inputs, IterableDataset) or is_of_datasets:
        return iter(inputs)
    if not isinstance(inputs, Dataset):
        return None
    rows: Any = inputs  # Any: those of torch need not be iterable, but have a length
    return (rows[index] for index in range(len(rows)))
