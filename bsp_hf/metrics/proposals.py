"""Temporal proposals: average recall against the average number of proposals (AR@AN) and its area (AUC)."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .detection import ACTIVITYNET_TIOU_THRESHOLDS
from .segment_table import SegmentSource, SegmentTable, read_ground_truth, read_results
from .segments import as_thresholds, pairwise_tiou

_NUM_POINTS = 100  # of the curve, whatever the number of proposals


@dataclass(frozen=True, eq=False)
class ProposalScores:
    """How much of the ground truth a number of proposals finds.

    Args:
        auc (`float`): Area under average recall against number of proposals, in percent of the last number.
            The curve starts at its first point, not at 0, so perfect proposals reach 99.
        average_recall (`np.ndarray`): `(100,)`, in 0 to 1, mean over the thresholds.
        proposals_per_video (`np.ndarray`): `(100,)`, average number of proposals at each point.
        recall (`np.ndarray`): `(num_thresholds, 100)`, in 0 to 1.
        tiou_thresholds (`np.ndarray`): `(num_thresholds,)`.
        num_videos (`int`): Videos of the ground truth that hold an instance.
        num_videos_with_proposals (`int`): Those of them that have at least one proposal.
        num_instances (`int`): Segments of the ground truth.
        num_proposals (`int`): Proposals given, those of other videos included.
    """

    auc: float
    average_recall: np.ndarray
    proposals_per_video: np.ndarray
    recall: np.ndarray
    tiou_thresholds: np.ndarray
    num_videos: int
    num_videos_with_proposals: int
    num_instances: int
    num_proposals: int

    def average_recall_at(self, num_proposals: float) -> float:
        """Return AR@AN, in 0 to 1, read off the curve (linear between two points), which must reach there."""
        low, high = float(self.proposals_per_video[0]), float(self.proposals_per_video[-1])
        slack = 1e-9 * high
        if not low - slack <= num_proposals <= high + slack:
            raise ValueError(
                f"AR@{num_proposals} is not on the curve, which runs from {low:g} to {high:g} proposals."
            )
        return float(np.interp(num_proposals, self.proposals_per_video, self.average_recall))


def proposal_recall(
    ground_truth: SegmentSource,
    proposals: SegmentSource,
    *,
    subset: str = "validation",
    max_proposals_per_video: float = 100,
    tiou_thresholds: Sequence[float] = ACTIVITYNET_TIOU_THRESHOLDS,
    excluded_video_ids: Collection[Hashable] = (),
) -> ProposalScores:
    """Score class-agnostic proposals by the ActivityNet proposal protocol.

    The rules of the official `eval_proposal`, on which the field's AR@100 and AUC rest:

    - Only videos with an instance count. With V of them, P proposals in the whole file and an allowance A
      (`max_proposals_per_video`), each video keeps the best `floor(n * A * V / P)` of its n proposals, at
      most all: videos with many proposals keep many, and A is met on average. K is the number kept in
      total.
    - The curve has 100 points j = 1..100. At point j a video with k kept proposals uses its best
      `floor(k * (j / 100 * (A * V / K)))`, at most all. The product is a float and is cut, not rounded, so
      that a whole number may come out one lower; that is kept.
    - An instance is found if any used proposal has tIoU at or above the threshold; one proposal may find
      several. tIoU 0/0 = NaN finds nothing (in detection it does). Recall is over the instances of all
      videos.
    - A video without proposals has its instances missed.
    - Area by trapezoids over (j / 100 * A * V / K) * K / V, divided by the last of these.

    Choice: equal scores go later entry first, as in [`activitynet_map`]; the official order is open. If no
    proposal is kept, recall is 0, where the official code divides by zero.

    Args:
        ground_truth (`dict`, path or `SegmentTable`): ActivityNet-layout annotations; labels play no part.
        proposals (`dict`, path or `SegmentTable`): ActivityNet-layout results; labels play no part.
        subset (`str`): Subset of the annotations to score. Defaults to `"validation"`.
        max_proposals_per_video (`float`): A, the average number of proposals at the end of the curve.
            Defaults to 100.
        tiou_thresholds (`Sequence[float]`): In `(0, 1]`. Defaults to 0.5, 0.55, ..., 0.95.
        excluded_video_ids (`Collection`): Videos left out of both sides. Defaults to none.

    Returns:
        `ProposalScores`: The curve and its area.

    Raises:
        ValueError: If the ground truth has no segment, `max_proposals_per_video` is not positive, a time is
            not finite, or a score is NaN or missing.

    Example:
    ```python
    >>> from bsp_hf.metrics import SegmentTable, proposal_recall
    >>> truth = SegmentTable.from_columns(["v", "w"], ["jump", "run"], [[0.0, 10.0], [5.0, 9.0]])
    >>> found = SegmentTable.from_columns(["v"], None, [[0.0, 8.0]], scores=[0.9])
    >>> scores = proposal_recall(truth, found, max_proposals_per_video=1)
    >>> round(scores.average_recall_at(1), 3)  # one of two instances, at 7 of 10 thresholds
    0.35

    ```
    """
    thresholds = as_thresholds(tiou_thresholds)
    if not (np.isfinite(max_proposals_per_video) and max_proposals_per_video > 0):
        raise ValueError(f"max_proposals_per_video is {max_proposals_per_video}; expected a positive number.")
    truth = read_ground_truth(ground_truth, subset).without_videos(excluded_video_ids)
    if not len(truth):
        raise ValueError("The ground truth has no segment to find; check subset and excluded_video_ids.")
    found = read_results(proposals).without_videos(excluded_video_ids)

    truth_rows = _rows_per_video(truth)
    num_videos = len(truth_rows)
    ratio = max_proposals_per_video * float(num_videos) / len(found) if len(found) else 0.0
    kept_rows = {}
    for video, rows in _rows_per_video(found, found.require_scores()).items():
        if video in truth_rows:
            kept_rows[video] = rows[: min(int(len(rows) * ratio), len(rows))]
    num_kept = sum(map(len, kept_rows.values()))
    share = np.arange(1, _NUM_POINTS + 1) / 100.0
    if num_kept:
        share = share * (max_proposals_per_video * float(num_videos) / num_kept)
        proposals_per_video = share * (float(num_kept) / num_videos)
    else:
        proposals_per_video = share * float(max_proposals_per_video)

    num_hits = np.zeros((len(thresholds), _NUM_POINTS), dtype=np.int64)
    for video, rows in kept_rows.items():
        num_used = np.minimum((len(rows) * share).astype(np.int64), len(rows))
        overlap = pairwise_tiou(truth.segments_s[truth_rows[video]], found.segments_s[rows])
        num_hits += _count_hits(overlap, thresholds, num_used)
    recall = num_hits / len(truth)
    average_recall = recall.mean(axis=0)
    steps = np.diff(proposals_per_video) * (average_recall[1:] + average_recall[:-1]) / 2.0
    return ProposalScores(
        auc=float(100.0 * steps.sum() / proposals_per_video[-1]),
        average_recall=average_recall,
        proposals_per_video=proposals_per_video,
        recall=recall,
        tiou_thresholds=thresholds,
        num_videos=num_videos,
        num_videos_with_proposals=len(kept_rows),
        num_instances=len(truth),
        num_proposals=len(found),
    )


def _rows_per_video(table: SegmentTable, scores: np.ndarray | None = None) -> dict[Hashable, np.ndarray]:
    """Return the rows of each video that has any, by descending score (later first among equals) if given."""
    order = np.arange(len(table)) if scores is None else np.argsort(scores, kind="stable")[::-1]
    order = order[np.argsort(table.video_index[order], kind="stable")]
    places, first = np.unique(table.video_index[order], return_index=True)
    return {
        table.video_ids[place]: rows for place, rows in zip(places, np.split(order, first)[1:], strict=True)
    }


def _count_hits(overlap: np.ndarray, thresholds: np.ndarray, num_used: np.ndarray) -> np.ndarray:
    """Count the instances that the best `num_used` proposals find, int `(num_thresholds, num_points)`.

    `overlap` is `(num_instances, num_proposals)`, best proposal first; `num_used` does not decrease.
    """
    reaches = overlap[None] >= thresholds[:, None, None]
    num_proposals = overlap.shape[1]
    if not num_proposals:
        return np.zeros((len(thresholds), len(num_used)), dtype=np.int64)
    first_hit = np.where(reaches.any(axis=2), reaches.argmax(axis=2), num_proposals)
    return (first_hit[:, :, None] < num_used).sum(axis=1)
