"""From scored candidate segments to final ones: greedy and Gaussian suppression, and video-level classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.metrics import tiou

ABSENT = -1  # index of an empty slot in batched results


@dataclass(frozen=True)
class SoftSuppression:
    """The candidates of one video that soft suppression kept, in the order they were picked."""

    indices: np.ndarray  # int64 `(num_kept,)`, positions in the input
    scores: np.ndarray  # float64 `(num_kept,)`, decayed


@dataclass(frozen=True)
class Detections:
    """The final segments of one video."""

    segments: np.ndarray  # float64 `(num_detections, 2)`, in seconds
    scores: np.ndarray  # float64 `(num_detections,)`
    class_indices: np.ndarray  # int64 `(num_detections,)`; -1 where no class was attached

    def __len__(self) -> int:
        return len(self.scores)


def temporal_nms_batch(
    segments: ArrayLike, scores: ArrayLike, iou_threshold: float, max_num: int | None = None
) -> np.ndarray:
    """Suppress candidates greedily: keep the best, drop what overlaps it by more than the threshold, repeat.

    The rule of 2D-TAN: a candidate whose tIoU *equals* the threshold stays, and of equal scores the earlier
    candidate ranks first. Pass the times that will be reported (seconds): equality is decided in float64.

    Segments are `(num_videos, n, 2)`, or `(n, 2)` shared by all, and scores `(num_videos, n)`, `-inf` where a
    list is padded. Returned are the positions of the kept ones, int64 `(num_videos, min(max_num, n))`, best
    first; -1 in empty slots, which come last.
    """
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold={iou_threshold} must be in [0, 1].")
    candidates, values = _check_candidates(segments, scores)
    order = np.argsort(-values, axis=1, kind="stable")
    candidates = np.take_along_axis(candidates, order[:, :, None], axis=1)
    alive = np.take_along_axis(values, order, axis=1) > -np.inf
    num_videos, num_candidates = values.shape
    num_slots = num_candidates if max_num is None else min(_check_max_num(max_num), num_candidates)
    kept = np.full((num_videos, num_slots), ABSENT, dtype=np.int64)
    videos = np.arange(num_videos)
    for slot in range(num_slots):
        found = alive.any(axis=1)
        if not found.any():
            break
        best = alive.argmax(axis=1)
        kept[found, slot] = order[videos, best][found]
        # 2D-TAN adds the lengths up. The value is that of the hull form, the rounding is not, and on a grid
        # of clips tIoUs of exactly 1/2 are common: only this form drops the same ones as the reference.
        alive &= _overlap(candidates[videos, best], candidates, "lengths") <= iou_threshold
        alive[videos, best] = False
    return kept


def _overlap(picked: np.ndarray, candidates: np.ndarray, union: str) -> np.ndarray:
    """Return the tIoU of the picked candidate of each video with all of that video; 0 where it is 0 / 0."""
    return np.nan_to_num(tiou(picked[:, None], candidates, union))


def soft_nms(
    segments: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    sigma: float,
    max_num: int,
    zero_length: float | None = None,
) -> list[SoftSuppression]:
    """Decay the scores of overlapping candidates by a Gaussian of their tIoU, as G-TAD does.

    Repeats: pick the highest remaining score (first of equals) and multiply every other candidate of
    tIoU > 0 by `exp(-tIoU^2 / sigma)`; until `max_num` are picked, one is left, or the highest score is not
    positive. So the last remaining candidate is always dropped: n candidates give at most n - 1.

    Each video has segments `(n, 2)`, in any unit, and scores `(n,)`. `sigma` is 0.8 on ActivityNet and 0.46
    on THUMOS14, where segments of at least `zero_length` (300 frames) start with score 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} must be above 0.")
    candidates, values = _check_candidates(*_pad(segments, scores))
    present = values > -np.inf
    if zero_length is not None:
        too_long = candidates[..., 1] - candidates[..., 0] >= zero_length
        values = np.where(present & too_long, 0.0, values)
    picked: list[list[int]] = [[] for _ in values]
    decayed: list[list[float]] = [[] for _ in values]
    num_left = present.sum(axis=1)
    videos = np.arange(len(values))
    for _ in range(min(_check_max_num(max_num), values.shape[1])):
        best = values.argmax(axis=1)
        best_values = values[videos, best]
        active = (num_left > 1) & (best_values > 0)
        if not active.any():
            break
        for video in np.flatnonzero(active):
            picked[video].append(int(best[video]))
            decayed[video].append(float(best_values[video]))
        overlap = _overlap(candidates[videos, best], candidates, "hull")
        # Absent entries are left alone: a factor that underflows to 0 would turn their -inf into NaN.
        decays = (values > -np.inf) & active[:, None]
        np.multiply(values, np.exp(-np.square(overlap) / sigma), out=values, where=decays)
        values[videos[active], best[active]] = -np.inf
        num_left = num_left - active
    return [
        SoftSuppression(np.array(indices, dtype=np.int64), np.array(row, dtype=np.float64))
        for indices, row in zip(picked, decayed, strict=True)
    ]


def _pad(segments: Sequence[ArrayLike], scores: Sequence[ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """Return the candidates of all videos in one array each, absent ones with the score -inf."""
    pairs = [
        _check_candidates(np.asarray(s)[None], np.asarray(v)[None])
        for s, v in zip(segments, scores, strict=True)
    ]
    longest = max((values.shape[1] for _, values in pairs), default=0)
    padded_segments = np.zeros((len(pairs), longest, 2))
    padded_scores = np.full((len(pairs), longest), -np.inf)
    for row, (candidates, values) in enumerate(pairs):
        padded_segments[row, : values.shape[1]] = candidates[0]
        padded_scores[row, : values.shape[1]] = values[0]
    return padded_segments, padded_scores


def attach_classes(
    segments: ArrayLike,
    scores: ArrayLike,
    class_scores: ArrayLike | None,
    top_classes: int = 2,
    max_num: int = 100,
    interleave: bool = False,
) -> Detections:
    """Return class-agnostic segments with the best classes of a video-level classifier.

    A segment's score is multiplied by the class's. ActivityNet lists all segments with the best class and
    then all with the second; THUMOS14 lists both classes of a segment next to each other (`interleave`).

    Segments are `(n, 2)` in seconds, best first, of which at most `max_num` are used; without `class_scores`,
    `(num_classes,)`, they stay without a class.
    """
    candidates, values = _check_candidates(np.asarray(segments)[None], np.asarray(scores)[None])
    candidates, values = candidates[0, :max_num], values[0, :max_num]
    if class_scores is None:
        return Detections(candidates, values, np.full(len(values), ABSENT, dtype=np.int64))
    classes = np.asarray(class_scores, dtype=np.float64)
    if classes.ndim != 1 or not len(classes):
        raise ValueError(f"class_scores must have the shape (num_classes,), got {classes.shape}.")
    best = np.argsort(-classes, kind="stable")[:top_classes]
    if interleave:
        rows, class_indices = np.repeat(np.arange(len(values)), len(best)), np.tile(best, len(values))
    else:
        rows, class_indices = np.tile(np.arange(len(values)), len(best)), np.repeat(best, len(values))
    return Detections(candidates[rows], values[rows] * classes[class_indices], class_indices)


def detections_to_json(
    detections: Mapping[str, Detections],
    class_names: Sequence[str] | None = None,
    version: str = "VERSION 1.3",
) -> dict[str, Any]:
    """Return detections by video id (without `v_`) as the ActivityNet and THUMOS14 evaluators read them.

    `class_names` holds the name of every class index, needed if classes were attached; `version` is the
    layout's entry of that name.
    """
    results = {}
    for video_id, found in detections.items():
        if (found.class_indices != ABSENT).any() and class_names is None:
            raise ValueError(f"detections of {video_id} carry class indices; pass class_names to name them.")
        results[video_id] = [
            {"label": _class_name(index, class_names), "score": float(score), "segment": span.tolist()}
            for span, score, index in zip(found.segments, found.scores, found.class_indices, strict=True)
        ]
    return {"version": version, "results": results, "external_data": {}}


def _class_name(index: int, class_names: Sequence[str] | None) -> str:
    if index == ABSENT or class_names is None:
        return ""
    if not 0 <= index < len(class_names):
        raise ValueError(f"class index {index} has no name; class_names holds {len(class_names)}.")
    return class_names[index]


def _check_candidates(segments: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    candidates = np.asarray(segments, dtype=np.float64)
    values = np.asarray(scores, dtype=np.float64)
    if not values.size and not candidates.size:
        candidates = candidates.reshape(*values.shape, 2)
    if values.ndim != 2 or candidates.ndim not in (2, 3):
        raise ValueError(
            "segments need the shape (n, 2) and scores (n,) per video, "
            f"got {candidates.shape} and {values.shape}."
        )
    if candidates.shape[-2:] != (values.shape[1], 2) or (
        candidates.ndim == 3 and candidates.shape[0] != values.shape[0]
    ):
        raise ValueError(f"segments of shape {candidates.shape} do not fit scores of shape {values.shape}.")
    if np.isnan(values).any() or np.isposinf(values).any() or not np.isfinite(candidates).all():
        raise ValueError("segments must be finite, scores neither NaN nor inf; look for a diverged model.")
    return np.broadcast_to(candidates, (*values.shape, 2)), values


def _check_max_num(max_num: int) -> int:
    if max_num < 0:
        raise ValueError(f"max_num={max_num} must not be negative.")
    return max_num
