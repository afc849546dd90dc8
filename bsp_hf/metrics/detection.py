"""Temporal action detection: mean average precision by the ActivityNet protocol, also used for THUMOS14."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .detection_matching import match_detections
from .segment_table import SegmentSource, read_ground_truth, read_results
from .segments import as_thresholds, find_threshold

# The official values as floats: the ninth is 0.8999999999999999. The paper's "0.05:0.95" is a slip for this.
ACTIVITYNET_TIOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
THUMOS_TIOU_THRESHOLDS: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, eq=False)
class DetectionScores:
    """What a detection result scores; every precision lies in 0 to 1.

    Args:
        average_map (`float`): Mean of `map_per_threshold`, the number that ActivityNet ranks by.
        map_per_threshold (`np.ndarray`): `(num_thresholds,)`, mean over all classes of the ground truth.
        ap (`np.ndarray`): `(num_thresholds, num_classes)`, average precision of each class.
        tiou_thresholds (`np.ndarray`): `(num_thresholds,)`.
        labels (`tuple`): The classes, in order of first appearance in the ground truth.
        num_videos (`int`): Videos of the ground truth.
        num_videos_with_predictions (`int`): Those of them that have at least one prediction.
        num_videos_outside (`int`): Predicted videos that the ground truth lacks; all they hold is false.
        num_instances (`int`): Segments of the ground truth.
        num_predictions (`int`): Predicted segments, those outside included.
    """

    average_map: float
    map_per_threshold: np.ndarray
    ap: np.ndarray
    tiou_thresholds: np.ndarray
    labels: tuple[Hashable, ...]
    num_videos: int
    num_videos_with_predictions: int
    num_videos_outside: int
    num_instances: int
    num_predictions: int

    @property
    def average_ap_per_class(self) -> dict[Hashable, float]:
        """Average precision of each class by its label, averaged over the thresholds."""
        return dict(zip(self.labels, self.ap.mean(axis=0).tolist(), strict=True))

    def map_at(self, tiou_threshold: float) -> float:
        """Return the mAP at one of the thresholds, in 0 to 1; any other is a `ValueError`."""
        return float(self.map_per_threshold[find_threshold(self.tiou_thresholds, tiou_threshold)])


def activitynet_map(
    ground_truth: SegmentSource,
    predictions: SegmentSource,
    *,
    subset: str = "validation",
    tiou_thresholds: Sequence[float] = ACTIVITYNET_TIOU_THRESHOLDS,
    excluded_video_ids: Collection[Hashable] = (),
) -> DetectionScores:
    """Score detections by the ActivityNet protocol: interpolated mAP over tIoU thresholds.

    The official evaluator's outcome, corners included:

    - A tIoU equal to the threshold matches. An instance is matched once per threshold; a prediction whose
      best instance is taken falls through to its next best one at or above the threshold.
    - A prediction and an instance whose union is 0 (both of length 0, or a reversed prediction whose negative
      length cancels the instance's) have tIoU 0/0 = NaN, which comes first and matches at every threshold.
    - Predictions in videos outside the subset are false positives; a class without predictions has AP 0 and
      stays in the mean; an unpredicted video's instances are missed.

    Choice: equal scores. The official sort leaves their order open; here a stable ascending sort is
    reversed, so the later entry of the file goes first. Equal tIoUs of one prediction with several
    instances go the same way. Unlike the official evaluator this one asks no server for blocked videos;
    pass `excluded_video_ids`.

    Args:
        ground_truth (`dict`, path or `SegmentTable`): ActivityNet-layout annotations, see
            [`read_ground_truth`].
        predictions (`dict`, path or `SegmentTable`): ActivityNet-layout results, see [`read_results`].
        subset (`str`): Subset of the annotations to score; a `SegmentTable` is taken whole. Defaults to
            `"validation"`.
        tiou_thresholds (`Sequence[float]`): In `(0, 1]`. Defaults to 0.5, 0.55, ..., 0.95.
        excluded_video_ids (`Collection`): Videos left out of both sides. Defaults to none.

    Returns:
        `DetectionScores`: mAP, AP of each class, and how many videos had predictions.

    Raises:
        ValueError: If a predicted label is not in the subset's ground truth (a `KeyError` in the official
            code), the ground truth has no segment, a time is not finite, a score is NaN or missing, or a
            layout is foreign.

    Example:
    ```python
    >>> from bsp_hf.metrics import SegmentTable, activitynet_map
    >>> truth = SegmentTable.from_columns(["v", "w"], ["jump", "jump"], [[0.0, 10.0], [5.0, 9.0]])
    >>> found = SegmentTable.from_columns(["v"], ["jump"], [[0.0, 8.0]], scores=[0.9])
    >>> scores = activitynet_map(truth, found)
    >>> scores.map_at(0.5), scores.map_at(0.95), scores.num_videos_with_predictions, scores.num_videos
    (0.5, 0.0, 1, 2)

    ```
    """
    thresholds = as_thresholds(tiou_thresholds)
    truth = read_ground_truth(ground_truth, subset).without_videos(excluded_video_ids)
    if not len(truth):
        raise ValueError("The ground truth has no segment to find; check subset and excluded_video_ids.")
    found = read_results(predictions).without_videos(excluded_video_ids)
    places = {label: place for place, label in enumerate(truth.labels)}
    unknown = [label for label in found.labels if label not in places]
    if unknown:
        raise ValueError(
            f"{len(unknown)} predicted labels are not in the ground truth, first {unknown[0]!r}; it has "
            f"{len(places)}, among them {list(places)[:5]}. Use the benchmark's names, or drop these."
        )
    found_class = np.array([places[label] for label in found.labels], dtype=np.int64)[found.label_index]
    videos = {video: place for place, video in enumerate(truth.video_ids)}
    found_video = np.array([videos.get(video, -1) for video in found.video_ids], dtype=np.int64)[
        found.video_index
    ]

    # Highest score first: stable ascending, reversed. The second sort gathers classes and keeps that order.
    order = np.argsort(found.require_scores(), kind="stable")[::-1]
    order = order[np.argsort(found_class[order], kind="stable")]
    found_class, found_video = found_class[order], found_video[order]
    is_match = match_detections(truth, found_video, found_class, found.segments_s[order], thresholds)

    num_instances = np.bincount(truth.label_index, minlength=len(places))
    first_row = np.searchsorted(found_class, np.arange(len(places) + 1))
    ap = np.zeros((len(thresholds), len(places)))
    for place in range(len(places)):
        matches_of_class = is_match[first_row[place] : first_row[place + 1]]
        ap[:, place] = _average_precisions(matches_of_class, int(num_instances[place]))
    map_per_threshold = ap.mean(axis=1)
    return DetectionScores(
        average_map=float(map_per_threshold.mean()),
        map_per_threshold=map_per_threshold,
        ap=ap,
        tiou_thresholds=thresholds,
        labels=truth.labels,
        num_videos=len(truth.video_ids),
        num_videos_with_predictions=len(np.unique(found_video[found_video >= 0])),
        num_videos_outside=len({video for video in found.video_ids if video not in videos}),
        num_instances=len(truth),
        num_predictions=len(found),
    )


def thumos_map(
    ground_truth: SegmentSource,
    predictions: SegmentSource,
    *,
    subset: str = "test",
    tiou_thresholds: Sequence[float] = THUMOS_TIOU_THRESHOLDS,
    excluded_video_ids: Collection[Hashable] = (),
) -> DetectionScores:
    """Score detections on THUMOS14: the evaluator of [`activitynet_map`] at tIoU 0.3, 0.4, 0.5, 0.6, 0.7.

    This is what G-TAD and its successors print for THUMOS14; the challenge's own Matlab evaluator is
    another one.

    Args:
        ground_truth (`dict`, path or `SegmentTable`): Annotations in ActivityNet layout.
        predictions (`dict`, path or `SegmentTable`): Results in ActivityNet layout.
        subset (`str`): Subset to score. Defaults to `"test"`.
        tiou_thresholds (`Sequence[float]`): In `(0, 1]`. Defaults to 0.3, 0.4, 0.5, 0.6, 0.7.
        excluded_video_ids (`Collection`): Videos left out of both sides. Defaults to none.

    Returns:
        `DetectionScores`: As from [`activitynet_map`].

    Raises:
        ValueError: As [`activitynet_map`].
    """
    return activitynet_map(
        ground_truth,
        predictions,
        subset=subset,
        tiou_thresholds=tiou_thresholds,
        excluded_video_ids=excluded_video_ids,
    )


def interpolated_average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return the area under the precision-recall staircase, precision made non-increasing (Pascal VOC 2011).

    Args:
        precision (`np.ndarray`): `(num_predictions,)`, in 0 to 1, highest score first.
        recall (`np.ndarray`): `(num_predictions,)`, in 0 to 1, non-decreasing.

    Returns:
        `float`: Sum over recall steps of step times the best precision at its right end or beyond.

    Raises:
        ValueError: If the two are not one-dimensional and equally long.
    """
    precision, recall = np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64)
    if precision.ndim != 1 or precision.shape != recall.shape:
        raise ValueError(
            f"precision has shape {precision.shape} and recall {recall.shape}; expected two equal 1-D."
        )
    precision = np.concatenate([[0.0], precision, [0.0]])
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * precision[steps]))


def _average_precisions(is_match: np.ndarray, num_instances: int) -> np.ndarray:
    """Return the AP of one class at each threshold; matches are `(num_predictions, num_thresholds)`."""
    num_found = np.cumsum(is_match, axis=0, dtype=np.float64)
    precision = num_found / np.arange(1, len(is_match) + 1)[:, None]
    recall = num_found / num_instances
    return np.array(
        [interpolated_average_precision(p, r) for p, r in zip(precision.T, recall.T, strict=True)]
    )
