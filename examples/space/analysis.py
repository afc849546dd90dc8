"""What the page does with one video: its boundaries, features, thumbnails, and the files to take home."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from steps import Report
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification, pipeline
from uploads import Limits, format_length, refusal

import bsp_hf  # registers everything with transformers
from bsp_hf import FeatureTrack, VideoReader
from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.features import write_track
from bsp_hf.localization.boundaries.response import (
    NO_BOUNDARY,
    BoundaryResponse,
    boundary_response,
    pick_boundaries,
)

NUM_THUMBNAILS = 96
THUMBNAIL_HEIGHT, MOST_WIDTH = 72, 640
_BATCH_SIZE = 16
# What reading for the response takes of the whole, for the progress bar.
_RESPONSE_SHARE = 0.85


@dataclass(frozen=True)
class Encoder:
    """A boundary classifier with its preprocessing; shared by all visitors and never changed."""

    classifier: object
    extractor: object
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that the page shows of one video, kept for the session of the visitor who brought it."""

    video_name: str
    response: BoundaryResponse
    labels: tuple[str, ...]
    track: FeatureTrack
    sprite: bytes  # JPEG, the thumbnails side by side
    thumbnail_times_s: tuple[float, ...]
    thumbnail_width: int


@dataclass(frozen=True)
class Boundary:
    """A moment at which the video changes."""

    time_s: float
    score: float
    kind: str


def load_encoder(name: str) -> Encoder:
    """Load a folder or a Hub id; say what is wrong with a model that cannot tell boundaries."""
    classifier = AutoModelForVideoClassification.from_pretrained(name).eval()
    labels = tuple(classifier.config.id2label[number] for number in sorted(classifier.config.id2label))
    if NO_BOUNDARY not in labels:
        raise ValueError(
            f"{name} tells {', '.join(labels)} apart; BSP_MODEL needs an encoder with boundaries."
        )
    return Encoder(classifier, AutoFeatureExtractor.from_pretrained(name), labels)


class _ReportingExtraction(VideoFeatureExtractionPipeline):
    """The feature pipeline, which reports every batch."""

    report: Callable[[], None]

    def _forward(self, model_inputs: dict) -> dict:
        self.report()
        return super()._forward(model_inputs)


def analyse(
    path: Path, encoder: Encoder, limits: Limits, report: Report = lambda share, text: None
) -> Analysis:
    """Slide the classifier over a video, extract its features and take thumbnails; nothing is written.

    What `report` raises stops the work.
    """
    try:
        with VideoReader(path) as video:
            about = video.metadata
        length_s = min(about.duration_declared_s or limits.longest_s, limits.longest_s)
        num_batches = 0

        def reached(time_s: float) -> None:
            # A header may lie about the frames or not state them, so they are counted here.
            nonlocal num_batches
            num_batches += 1
            limits.check_work(path.name, num_batches * _BATCH_SIZE, about.width * about.height)
            share = _RESPONSE_SHARE * min(1.0, time_s / length_s)
            report(share, f"{format_length(time_s)} of {format_length(length_s)} seen")

        report(0.0, "reading the video")
        response = boundary_response(
            encoder.classifier,
            encoder.extractor,
            path,
            batch_size=_BATCH_SIZE,
            end_s=limits.longest_s + 1,
            progress=reached,
        )
        limits.check_length(path.name, response.duration_s)
        extract = pipeline(
            "video-feature-extraction",
            model=encoder.classifier.base_model,
            feature_extractor=encoder.extractor,
            pipeline_class=_ReportingExtraction,
        )
        extract.report = lambda: report(_RESPONSE_SHARE, "extracting features")
        result = extract(str(path), batch_size=8)
        report(0.95, "taking thumbnails")
        sprite, times_s, width = take_thumbnails(path, response.duration_s)
    except (bsp_hf.VideoDecodeError, OSError, ValueError) as error:
        raise refusal(error, path) from error
    track = FeatureTrack.from_pipeline(result, video_id=path.stem)
    return Analysis(path.name, response, encoder.labels, track, sprite, times_s, width)


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


def find_boundaries(
    analysis: Analysis, kinds: Sequence[str], threshold: float
) -> tuple[np.ndarray, list[Boundary]]:
    """Return the response to `kinds` `(num_windows,)` and its peaks, with the likeliest kind of each."""
    columns = [analysis.labels.index(kind) for kind in kinds]
    whole = analysis.response
    values = whole.probabilities[:, columns].sum(1) if columns else np.zeros(len(whole.times_s), np.float32)
    narrowed = BoundaryResponse(whole.times_s, whole.probabilities, values, whole.window_s, whole.duration_s)
    found = []
    for time_s in pick_boundaries(narrowed, threshold) if columns else ():
        window = int(np.abs(whole.times_s - time_s).argmin())
        kind = kinds[int(whole.probabilities[window, columns].argmax())]
        found.append(Boundary(float(time_s), float(values[window]), kind))
    return values, found


def write_downloads(
    analysis: Analysis, found: Sequence[Boundary], threshold: float, folder: Path
) -> tuple[Path, Path]:
    """Write the features with their record and the segments between the boundaries; return both files."""
    stem = Path(analysis.video_name).stem
    features = write_track(analysis.track, folder / f"{stem}.features.npz")
    duration_s = analysis.response.duration_s
    edges_s = [0.0, *(boundary.time_s for boundary in found), duration_s]
    content = {
        "video": analysis.video_name,
        "duration_s": round(duration_s, 3),
        "encoder": analysis.track.record.encoder.to_dict(),
        "threshold": threshold,
        "boundaries": [
            {"time_s": round(b.time_s, 3), "score": round(b.score, 4), "kind": b.kind} for b in found
        ],
        "segments": [
            {"start_s": round(start_s, 3), "end_s": round(end_s, 3)} for start_s, end_s in pairwise(edges_s)
        ],
    }
    segments = folder / f"{stem}.segments.json"
    segments.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return features, segments
