"""Generic event boundaries: F1 at a relative distance, by the GEBD challenge's protocol."""

import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .segments import as_thresholds, find_threshold
from .text_files import read_json

# The sweep that the field averages over: 0.05, 0.1, ..., 0.5.
GEBD_RELATIVE_DISTANCES: tuple[float, ...] = tuple((np.arange(1, 11) / 20).tolist())

MISSING_VIDEO_RULES = ("skip", "miss")


@dataclass(frozen=True, eq=False)
class BoundaryAnnotation:
    """The annotated boundaries of one video or trimmed instance.

    Args:
        duration_s (`float`): Its length in seconds, positive; distances are relative to it.
        boundaries_s (`Sequence`): Boundary times in seconds from its start, one list a rater; one rater at
            least. The order inside a list matters for the greedy matching; files have it ascending.
        rater_consistency (`float`, *optional*): How far the raters agree among themselves, in 0 to 1
            (`f1_consis_avg` in Kinetics-GEBD files).
    """

    duration_s: float
    boundaries_s: Sequence[npt.ArrayLike]
    rater_consistency: float | None = None


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """How well detected boundaries meet the raters'; all shares in 0 to 1.

    Args:
        f1 (`np.ndarray`): `(num_distances,)`, of `precision` and `recall`.
        precision (`np.ndarray`): `(num_distances,)`, over the boundaries of all scored videos.
        recall (`np.ndarray`): `(num_distances,)`, over the boundaries of all scored videos.
        relative_distances (`np.ndarray`): `(num_distances,)`, allowed distance as a share of the duration.
        num_matched (`np.ndarray`): int64, `(num_distances,)`, true positives.
        num_annotated (`np.ndarray`): int64, `(num_distances,)`, boundaries of the rater chosen in each video.
        num_detected (`int`): Detected boundaries inside the scored videos.
        num_videos (`int`): Videos of the ground truth.
        num_videos_with_predictions (`int`): Those of them that the predictions name, with boundaries or
            without.
        num_videos_inconsistent (`int`): Videos skipped for their rater consistency.
        num_videos_scored (`int`): Videos that entered the numbers.
        num_videos_outside (`int`): Predicted videos that the ground truth lacks; ignored.
    """

    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    relative_distances: np.ndarray
    num_matched: np.ndarray
    num_annotated: np.ndarray
    num_detected: int
    num_videos: int
    num_videos_with_predictions: int
    num_videos_inconsistent: int
    num_videos_scored: int
    num_videos_outside: int

    @property
    def average_f1(self) -> float:
        """Mean F1 over the distances."""
        return float(self.f1.mean())

    def f1_at(self, relative_distance: float) -> float:
        """Return F1 at one of the distances, in 0 to 1; one that was not evaluated is a `ValueError`."""
        return float(self.f1[find_threshold(self.relative_distances, relative_distance)])


def read_boundary_annotations(
    source: Mapping[str, Any] | str | os.PathLike[str],  # Any: parsed JSON
) -> dict[str, BoundaryAnnotation]:
    """Read boundary annotations from JSON, a record a video.

    A record holds `duration` and `boundaries` (a list of times a rater), or the names of the Kinetics-GEBD
    files: `video_duration`, `substages_timestamps` and `f1_consis_avg`. Those files are pickles, which are
    not opened here; convert them once where you trust them.

    Args:
        source (`dict` or path): The parsed file or its path (`.json` or `.json.gz`); times in seconds.

    Returns:
        `dict`: [`BoundaryAnnotation`] by video id, in file order.

    Raises:
        ValueError: If a record lacks one of these or holds something else.
    """
    data = source if isinstance(source, Mapping) else read_json(source)
    if not isinstance(data, Mapping):
        raise ValueError(
            f"{source} holds a {type(data).__name__}; expected a mapping from video id to record."
        )
    origin = "" if isinstance(source, Mapping) else f"{source}: "
    annotations = {}
    for video, record in data.items():
        try:
            duration = record["duration"] if "duration" in record else record["video_duration"]
            boundaries = record["boundaries"] if "boundaries" in record else record["substages_timestamps"]
            consistency = record.get("f1_consis_avg", record.get("rater_consistency"))
            annotations[video] = BoundaryAnnotation(
                duration_s=float(duration),
                boundaries_s=[[float(time) for time in rater] for rater in boundaries],
                rater_consistency=None if consistency is None else float(consistency),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{origin}Video {video!r} has a record that cannot be read ({type(error).__name__}: "
                f"{error}); "
                'expected {"duration": seconds, "boundaries": [[seconds, ...] for each rater]}.'
            ) from error
    return annotations


def evaluate_boundaries(
    ground_truth: Mapping[Hashable, BoundaryAnnotation],
    predictions: Mapping[Hashable, npt.ArrayLike],
    *,
    relative_distances: Sequence[float] = (0.05,),
    min_rater_consistency: float | None = None,
    missing_videos: str = "miss",
) -> BoundaryScores:
    """Score detected boundaries by the protocol of the GEBD challenge.

    Per video and distance d:

    1. Detections outside `[0, duration]` are dropped. If none is left, all boundaries of the first rater
       are missed.
    2. Against each rater, greedily and one to one: each annotated boundary in its order takes the nearest
       detection still free (the first of equally near ones) if that is at most d times the duration away.
    3. The rater with the best F1 counts (the first of equals); matched, annotated and detected boundaries
       are added up over videos, and precision, recall and F1 follow from the sums.

    Nearest free detection, not the best assignment: an early boundary may take the detection that a later
    one would need. A video that the predictions do not name is scored like one with an empty list of
    detections, by 1., as the challenge's script does. `missing_videos="skip"` leaves it out, which flatters
    incomplete results: report `num_videos_scored` beside the number. Predicted videos that are not annotated
    are ignored and counted.

    Args:
        ground_truth (`Mapping`): Annotation of each video by id, see [`read_boundary_annotations`].
        predictions (`Mapping`): Detected boundaries of each video by id, `(num_boundaries,)` in seconds.
        relative_distances (`Sequence[float]`): Allowed distances as shares of the duration, in `(0, 1]`.
            Defaults to `(0.05,)`; [`GEBD_RELATIVE_DISTANCES`] is the usual sweep.
        min_rater_consistency (`float`, *optional*): Skip videos whose raters agree less than this; the
            challenge uses 0.3. Defaults to `None`, which skips none.
        missing_videos (`str`): `"miss"` (official) or `"skip"`. Defaults to `"miss"`.

    Returns:
        `BoundaryScores`: Precision, recall and F1 at each distance, and the counts behind them.

    Raises:
        ValueError: If no video is left to score, an annotation is malformed or lacks the consistency that
            is asked for, a time is not finite, or a setting is out of range.

    Example:
    ```python
    >>> from bsp_hf.metrics import BoundaryAnnotation, evaluate_boundaries
    >>> truth = {"v": BoundaryAnnotation(duration_s=10.0, boundaries_s=[[2.0, 7.0], [2.0]])}
    >>> scores = evaluate_boundaries(truth, {"v": [2.4, 9.0]})  # the second rater fits better
    >>> scores.precision, scores.recall, round(scores.f1_at(0.05), 3)
    (array([0.5]), array([1.]), 0.667)

    ```
    """
    distances = as_thresholds(relative_distances, "relative_distances")
    if missing_videos not in MISSING_VIDEO_RULES:
        raise ValueError(f"missing_videos is {missing_videos!r}; expected one of {MISSING_VIDEO_RULES}.")
    num_matched = np.zeros(len(distances), dtype=np.int64)
    num_annotated = np.zeros(len(distances), dtype=np.int64)
    num_detected = num_inconsistent = num_scored = 0
    for video, annotation in ground_truth.items():
        raters = _check_annotation(video, annotation)
        if min_rater_consistency is not None:
            if annotation.rater_consistency is None:
                raise ValueError(
                    f"Video {video!r} has no rater_consistency, but min_rater_consistency is "
                    f"{min_rater_consistency}. Add it to the annotation or pass None."
                )
            if annotation.rater_consistency < min_rater_consistency:
                num_inconsistent += 1
                continue
        if video not in predictions and missing_videos == "skip":
            continue
        num_scored += 1
        detected = _as_times(predictions.get(video, ()), f"The predictions of video {video!r}")
        detected = detected[(detected >= 0) & (detected <= annotation.duration_s)]
        num_detected += len(detected)
        if not len(detected):
            num_annotated += len(raters[0])
            continue
        matched = np.stack(
            [_match_rater(rater, detected, distances * annotation.duration_s) for rater in raters]
        )
        annotated = np.array([len(rater) for rater in raters])
        f1 = _f1(_ratio(matched, len(detected), 0.0), _ratio(matched, annotated[:, None], 1.0))
        best = f1.argmax(axis=0)
        num_matched += matched[best, np.arange(len(distances))]
        num_annotated += annotated[best]
    if not num_scored or (predictions and not any(video in predictions for video in ground_truth)):
        raise ValueError(
            f"No video is left to score: {len(ground_truth)} annotated, {num_inconsistent} of them below the "
            f"rater consistency, {len(predictions)} predicted. Check that both sides name videos alike."
        )
    precision = _ratio(num_matched, num_detected, 0.0)
    recall = _ratio(num_matched, num_annotated, 1.0)
    return BoundaryScores(
        f1=_f1(precision, recall),
        precision=precision,
        recall=recall,
        relative_distances=distances,
        num_matched=num_matched,
        num_annotated=num_annotated,
        num_detected=num_detected,
        num_videos=len(ground_truth),
        num_videos_with_predictions=sum(video in predictions for video in ground_truth),
        num_videos_inconsistent=num_inconsistent,
        num_videos_scored=num_scored,
        num_videos_outside=sum(video not in ground_truth for video in predictions),
    )


def _match_rater(annotated_s: np.ndarray, detected_s: np.ndarray, allowed_s: np.ndarray) -> np.ndarray:
    """Count greedy one-to-one matches at each allowed distance, `(num_distances,)`."""
    offsets = np.abs(annotated_s[:, None] - detected_s)
    free_offsets = np.zeros((len(allowed_s), len(detected_s)))  # infinite where the detection is taken
    every = np.arange(len(allowed_s))
    num_matched = np.zeros(len(allowed_s), dtype=np.int64)
    for offset in offsets:
        available = offset + free_offsets
        nearest = available.argmin(axis=1)
        hit = available[every, nearest] <= allowed_s
        free_offsets[every[hit], nearest[hit]] = np.inf
        num_matched += hit
    return num_matched


def _ratio(part: np.ndarray, whole: np.ndarray | int, if_none: float) -> np.ndarray:
    """Return part / whole, and `if_none` where the whole is 0."""
    whole = np.broadcast_to(whole, part.shape)
    return np.where(whole > 0, part / np.maximum(whole, 1), if_none)


def _f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    total = precision + recall
    return np.where(total > 0, 2 * recall * precision / np.where(total > 0, total, 1.0), 0.0)


def _check_annotation(video: Hashable, annotation: BoundaryAnnotation) -> list[np.ndarray]:
    """Return the boundaries of each rater as arrays."""
    if not (math.isfinite(annotation.duration_s) and annotation.duration_s > 0):
        raise ValueError(
            f"Video {video!r} has duration_s {annotation.duration_s}; expected a positive number of seconds."
        )
    if not len(annotation.boundaries_s):
        raise ValueError(f"Video {video!r} has no rater; boundaries_s needs one list of times a rater.")
    return [
        _as_times(rater, f"Rater {place} of video {video!r}")
        for place, rater in enumerate(annotation.boundaries_s)
    ]


def _as_times(times_s: npt.ArrayLike, name: str) -> np.ndarray:
    times = np.asarray(times_s, dtype=np.float64)
    if times.size == 0:
        return times.reshape(0)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError(f"{name}: expected a list of finite times in seconds, found {times_s!r}.")
    return times
