"""What the page does with one video: its changes, features, thumbnails, and the files to keep."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from steps import Report
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification, pipeline
from uploads import Limits, format_length, refusal

import bsp_hf  # registers everything with transformers
from bsp_hf import FeatureTrack, SegmentedVideo, VideoReader, write_segments
from bsp_hf.encoder.frame_index import FrameIndex
from bsp_hf.encoder.video import index_frames
from bsp_hf.features import write_track
from bsp_hf.localization.boundaries.response import NO_BOUNDARY
from bsp_hf.localization.segments.segmenting import divide_video, find_changes
from bsp_hf.localization.segments.types import Change
from bsp_hf.localization.segments.writing import SEGMENT_FORMATS

NUM_THUMBNAILS = 96
THUMBNAIL_HEIGHT, MOST_WIDTH = 72, 640
# Changes of a smaller response are not looked at; no encoder is calibrated to less.
LEAST_THRESHOLD = 0.5
# A page with thumbnails is what this page itself is; two others need libraries.
_NEEDS = {"otio": "opentimelineio", "edl": "otio_cmx3600_adapter"}
FORMATS = {
    name: f"{kind.description} ({kind.suffix})"
    for name, kind in SEGMENT_FORMATS.items()
    if name != "html" and (name not in _NEEDS or find_spec(_NEEDS[name]))
}
_BATCH_SIZE = 16
# Of longer videos, stretches in which nothing changes are not encoded.
COARSE_FROM_S = 60.0
# What reading for the response takes of the whole, for the progress bar.
_RESPONSE_SHARE = 0.85


@dataclass(frozen=True)
class Encoder:
    """A boundary classifier with its preprocessing; shared by all visitors and never changed."""

    classifier: object
    extractor: object


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that the page shows of one video, kept for the session of the visitor who brought it."""

    video_name: str
    times_s: np.ndarray  # (num_windows,)
    response: np.ndarray  # (num_windows,)
    duration_s: float
    changes: tuple[Change, ...]  # of a response of at least LEAST_THRESHOLD
    index: FrameIndex
    encoder_name: str
    track: FeatureTrack
    sprite: bytes  # JPEG, the thumbnails side by side
    thumbnail_times_s: tuple[float, ...]
    thumbnail_width: int


def load_encoder(name: str) -> Encoder:
    """Load a folder or a Hub id; say what is wrong with a model that cannot tell boundaries."""
    classifier = AutoModelForVideoClassification.from_pretrained(name).eval()
    labels = tuple(classifier.config.id2label[number] for number in sorted(classifier.config.id2label))
    if NO_BOUNDARY not in labels:
        raise ValueError(
            f"{name} tells {', '.join(labels)} apart; BSP_MODEL needs an encoder with boundaries."
        )
    return Encoder(classifier, AutoFeatureExtractor.from_pretrained(name))


def analyse(
    path: Path, encoder: Encoder, limits: Limits, report: Report = lambda share, text: None
) -> Analysis:
    """Find the changes of a video, extract its features and take thumbnails; nothing is written.

    What `report` raises stops the work.
    """
    try:
        report(0.0, "reading the video")
        with VideoReader(path) as video:
            about = video.metadata
        length_s = min(about.duration_declared_s or limits.longest_s, limits.longest_s)
        windows = count(1)

        def reached(_: float) -> None:
            # A header may lie about the frames or not state them, so they are counted here: one a window.
            num_frames = next(windows)
            limits.check_work(path.name, num_frames, about.width * about.height)
            if num_frames % _BATCH_SIZE == 0:
                time_s = min(num_frames / about.fps, length_s)
                share = _RESPONSE_SHARE * time_s / length_s
                report(share, f"{format_length(time_s)} of {format_length(length_s)} seen")

        find = pipeline(
            "video-boundary-detection", model=encoder.classifier, feature_extractor=encoder.extractor
        )
        found = find(
            str(path),
            batch_size=_BATCH_SIZE,
            threshold=LEAST_THRESHOLD,
            end_s=limits.longest_s + 1,
            coarse_to_fine=length_s > COARSE_FROM_S,
            progress=reached,
        )
        limits.check_length(path.name, found.duration_s)
        if not len(found.times_s):
            raise ValueError(f"{path.name}: {found.error}")
        report(_RESPONSE_SHARE, "looking at the changes")
        index = index_frames(path)
        changes = tuple(find_changes(index, found))
        extract = pipeline(
            "video-feature-extraction",
            model=encoder.classifier.base_model,
            feature_extractor=encoder.extractor,
        )
        result = extract(
            str(path), batch_size=8, progress=lambda _: report(_RESPONSE_SHARE, "extracting features")
        )
        report(0.95, "taking thumbnails")
        sprite, times_s, width = take_thumbnails(path, found.duration_s)
    except (bsp_hf.VideoDecodeError, OSError, ValueError) as error:
        raise refusal(error, path) from error
    return Analysis(
        path.name,
        found.times_s,
        found.scores,
        found.duration_s,
        changes,
        index,
        Path(encoder.classifier.name_or_path).name,
        FeatureTrack.from_pipeline(result, video_id=path.stem),
        sprite,
        times_s,
        width,
    )


def take_thumbnails(path: Path, duration_s: float) -> tuple[bytes, tuple[float, ...], int]:
    """Return small frames evenly spread over the video side by side in a JPEG, their times, their width."""
    rate = min(10.0, NUM_THUMBNAILS / max(duration_s, 0.1))
    images, times_s = [], []
    with VideoReader(path, fps=rate, end_s=duration_s) as video:
        for frame in video:
            height, width = frame.image.shape[:2]
            # A JPEG has at most 65535 pixels in a row.
            size = (min(max(1, round(width * THUMBNAIL_HEIGHT / height)), MOST_WIDTH), THUMBNAIL_HEIGHT)
            images.append(Image.fromarray(frame.image).resize(size))
            times_s.append(frame.time_s)
    width = images[0].width
    strip = Image.new("RGB", (width * len(images), THUMBNAIL_HEIGHT))
    for place, image in enumerate(images):
        strip.paste(image, (place * width, 0))
    written = io.BytesIO()
    strip.save(written, "JPEG", quality=75)
    return written.getvalue(), tuple(times_s), width


def divide(analysis: Analysis, kinds: Sequence[str], threshold: float) -> SegmentedVideo:
    """Return the segments between the changes of some kinds, as `bsp_hf.segment_video` does."""
    return divide_video(
        analysis.video_name,
        analysis.index,
        [change for change in analysis.changes if change.kind in kinds and change.score >= threshold],
        times_s=analysis.times_s,
        scores=analysis.response,
        threshold=threshold,
        encoder=analysis.encoder_name,
        error=analysis.track.record.error,
    )


def write_downloads(
    analysis: Analysis, divided: SegmentedVideo, segment_format: str, folder: Path
) -> tuple[Path, Path]:
    """Write the features with their record and the segments in a format; return both files."""
    stem = Path(analysis.video_name).stem
    features = write_track(analysis.track, folder / f"{stem}.features.npz")
    path = folder / f"{stem}.segments{SEGMENT_FORMATS[segment_format].suffix}"
    return features, write_segments(divided, path, segment_format)
