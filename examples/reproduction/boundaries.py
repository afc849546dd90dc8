"""Boundaries found in untrimmed videos, with and without a network, scored alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification

import bsp_hf  # noqa: F401  registers the models
from bsp_hf.features import read_track
from bsp_hf.localization.boundaries.response import boundary_response, pick_boundaries
from bsp_hf.metrics import BoundaryAnnotation, evaluate_boundaries

from .signals import Curve

# Two boundaries lie at least so far apart, and one is found if it is at most so far off.
MIN_GAP_S, TOLERANCE_S = 0.4, 0.25
NUM_THRESHOLDS = 60
LONGEST_S = 1e5


# Seconds and heights.
Peaks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class BoundaryVideo:
    """A video and its boundaries; `is_training` says whether a threshold may be chosen on it."""

    video_id: str
    path: Path
    boundaries_s: tuple[float, ...]
    is_training: bool


def feature_curve(track_path: Path) -> Curve:
    """Return how much consecutive snippets differ, as in Figure 4."""
    track = read_track(track_path)
    between = (track.centers_s[1:] + track.centers_s[:-1]) / 2
    return Curve(between, np.abs(np.diff(track.features, axis=0)).mean(1))


def response_reader(folder: Path, find_cuts: bool = False) -> Callable[[Path], Peaks]:
    """Return what slides a boundary classifier over a video, and returns the peaks of its response.

    With `find_cuts`, cuts are looked for in the pictures, too, as the package does by default.
    """
    model = AutoModelForVideoClassification.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)

    def read(path: Path) -> Peaks:
        response = boundary_response(model, extractor, path, stride_frames=2, find_cuts=find_cuts)
        times_s = pick_boundaries(response, threshold=0.0, min_gap_s=MIN_GAP_S)
        return times_s, response.response[np.searchsorted(response.times_s, times_s)]

    return read


def find_peaks(curve: Curve, min_gap_s: float = MIN_GAP_S) -> Peaks:
    """Return times and heights of the peaks, the highest first; of two that are too near the higher stays."""
    values = curve.values
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (values >= padded[:-2]) & (values > padded[2:])
    places = np.flatnonzero(is_peak)
    places = places[np.argsort(-values[places], kind="stable")]
    kept: list[int] = []
    for place in places:
        if all(abs(curve.times_s[place] - curve.times_s[other]) >= min_gap_s for other in kept):
            kept.append(int(place))
    return curve.times_s[kept], values[kept]


def boundary_scores(
    videos: Sequence[BoundaryVideo], peaks: Mapping[str, Peaks], tolerance_s: float = TOLERANCE_S
) -> dict:
    """Return precision, recall and F1 of the peaks above a threshold, over the videos that test.

    The threshold is the best one on the training videos; where there are none, the best one on all other
    videos, video by video.
    """
    tested = [video for video in videos if not video.is_training]
    training = [video for video in videos if video.is_training]
    if training:
        threshold = _best_threshold(training, peaks, tolerance_s)
        thresholds = dict.fromkeys((video.video_id for video in tested), threshold)
    else:
        if len(tested) < 2:
            raise ValueError("a threshold cannot be chosen: there is one video alone.")
        thresholds = {
            video.video_id: _best_threshold([v for v in tested if v is not video], peaks, tolerance_s)
            for video in tested
        }
    return {**_f1(tested, peaks, thresholds, tolerance_s), "num_videos": len(tested)}


def _best_threshold(videos: Sequence[BoundaryVideo], peaks: Mapping[str, Peaks], tolerance_s: float) -> float:
    heights = np.concatenate([peaks[video.video_id][1] for video in videos])
    if not len(heights):
        return float("inf")
    tried = np.unique(np.quantile(heights, np.linspace(0, 1, NUM_THRESHOLDS), method="nearest"))
    names = [video.video_id for video in videos]
    scores = [_f1(videos, peaks, dict.fromkeys(names, float(t)), tolerance_s)["f1"] for t in tried]
    return float(tried[int(np.argmax(scores))])


def _f1(
    videos: Sequence[BoundaryVideo],
    peaks: Mapping[str, Peaks],
    thresholds: Mapping[str, float],
    tolerance_s: float,
) -> dict[str, float]:
    truth, found = {}, {}
    for video in videos:
        times_s, heights = peaks[video.video_id]
        found[video.video_id] = np.sort(times_s[heights >= thresholds[video.video_id]])
        # The protocol's distance is a share of the duration, and must be the same for all videos.
        truth[video.video_id] = BoundaryAnnotation(LONGEST_S, [video.boundaries_s])
    scores = evaluate_boundaries(truth, found, relative_distances=[tolerance_s / LONGEST_S])
    return {
        "f1": float(scores.f1[0]),
        "precision": float(scores.precision[0]),
        "recall": float(scores.recall[0]),
    }
