"""Feature tracks that a localizer is given: whether they fit, and which seconds they cover."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging

from bsp_hf.features.encoder_record import EncoderMismatchError, EncoderRecord
from bsp_hf.features.track import FeatureTrack, check_finite, check_same_encoder
from bsp_hf.files import check_video_id

from .config import LocalizerConfig
from .encoders import is_known_encoder

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class CoveredSpan:
    """The part of a video that the rows of a track cover, in seconds of the video."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def check_track(track: FeatureTrack, config: LocalizerConfig) -> None:
    """Check that features are finite, and of the encoder and width that a localizer was trained on."""
    if config.encoder is not None and not is_known_encoder(track.record.encoder, config):
        check_same_encoder(track, EncoderRecord.from_dict(config.encoder))
        raise EncoderMismatchError(f"the features of {track.record.video_id} come from another encoder.")
    if track.dim != config.feature_dim:
        raise ValueError(
            f"the features of {track.record.video_id} are {track.dim} wide, the localizer reads "
            f"feature_dim={config.feature_dim}; give those that it was trained on."
        )
    check_finite(track.features, track.record.video_id)
    wanted = config.feature_stride_frames
    if wanted is not None and track.record.rescaled_from is None and track.record.stride_frames != wanted:
        logger.warning_once(
            f"{track.record.video_id} has a row every {track.record.stride_frames} frames, the localizer was "
            f"trained on one every {wanted}; extract with stride_frames={wanted} for what it can do best."
        )


def covered_span(track: FeatureTrack) -> CoveredSpan:
    """Return the part of its video that a track of at least one row covers."""
    record = track.record
    start_s = max(0.0, float(track.centers_s[0]) - record.snippet_frames / 2 / record.fps)
    if record.rescaled_from is not None:  # interpolated over the whole video, so the first row says nothing
        start_s = 0.0
    return CoveredSpan(start_s, max(record.duration_s, float(track.centers_s[-1])))


def name_video(video: Any) -> str:
    """Return the name of a video's file without its suffix, or `"video"` where it has none."""
    if isinstance(video, FeatureTrack):
        return video.record.video_id
    if isinstance(video, Mapping):
        video = video.get("path")
    name = getattr(video, "name", video)
    stem = Path(name).stem if isinstance(name, (str, os.PathLike)) else ""
    try:
        check_video_id(stem)
    except ValueError:
        return "video"
    return stem
