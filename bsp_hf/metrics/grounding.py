"""Moment retrieval by a sentence: recall R@n at a tIoU, and mean tIoU, by the rules of several systems."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .segments import as_segments, as_thresholds, find_threshold, tiou

RULES = ("2d-tan", "lgi", "qvhighlights")


@dataclass(frozen=True, eq=False)
class GroundingScores:
    """How well ranked moments answer sentence queries.

    Args:
        recall (`np.ndarray`): `(num_ranks, num_thresholds)`, in 0 to 1, share of queries answered.
        ranks (`tuple`): How many of the first moments count, for each row.
        tiou_thresholds (`np.ndarray`): `(num_thresholds,)`.
        mean_iou (`float`): Mean tIoU of the first moment, in 0 to 1.
        rule (`str`): `"2d-tan"`, `"lgi"` or `"qvhighlights"`.
        num_queries (`int`): Queries of the ground truth.
        num_queries_with_predictions (`int`): Those with at least one moment; the others count as missed.
    """

    recall: np.ndarray
    ranks: tuple[int, ...]
    tiou_thresholds: np.ndarray
    mean_iou: float
    rule: str
    num_queries: int
    num_queries_with_predictions: int

    def recall_at(self, rank: int, tiou_threshold: float) -> float:
        """Return R@rank at a tIoU, in 0 to 1; what was not evaluated is a `ValueError`."""
        if rank not in self.ranks:
            raise ValueError(f"R@{rank} was not evaluated; there are ranks {self.ranks}.")
        return float(
            self.recall[self.ranks.index(rank), find_threshold(self.tiou_thresholds, tiou_threshold)]
        )


def evaluate_grounding(
    predictions_s: Sequence[npt.ArrayLike],
    ground_truth_s: npt.ArrayLike,
    *,
    ranks: Sequence[int] = (1, 5),
    tiou_thresholds: Sequence[float] = (0.3, 0.5, 0.7),
    rule: str = "2d-tan",
) -> GroundingScores:
    """Score ranked moments against one annotated moment a query.

    The rules in use differ where a tIoU equals its threshold: `"2d-tan"` counts tIoU > threshold, `"lgi"` and
    `"qvhighlights"` tIoU >= threshold. All take the hull as union, and a reversed moment overlaps nothing.
    2D-TAN drops queries whose annotation does not start before it ends, so here they are an error; LGI keeps
    them and so do we, unless its formula divides by zero. Its loader also cuts annotations at the end of the
    video, which is the caller's business.

    Suppression of near-duplicates, part of 2D-TAN's protocol before R@5, is the predictor's business: pass
    the moments that are left.

    Choice: a query without any moment is missed, with tIoU 0, and stays in the mean.

    Args:
        predictions_s (`Sequence` of `ArrayLike`): For each query its moments, best first, `(num_moments,
            2)` in seconds. A query may have none.
        ground_truth_s (`ArrayLike`): The annotated moment of each query in seconds, `(num_queries, 2)`.
        ranks (`Sequence[int]`): n of R@n, each 1 or more. Defaults to `(1, 5)`.
        tiou_thresholds (`Sequence[float]`): In `(0, 1]`. Defaults to `(0.3, 0.5, 0.7)`.
        rule (`str`): `"2d-tan"`, `"lgi"` or `"qvhighlights"`. Defaults to `"2d-tan"`.

    Returns:
        `GroundingScores`: Recall, mean tIoU, and how many queries had predictions.

    Raises:
        ValueError: If the two sides differ in length or are empty, a time is not finite, an annotation is
            degenerate under the rule, or a setting is out of range.

    Example:
    ```python
    >>> from bsp_hf.metrics import evaluate_grounding
    >>> moments = [[[0.0, 5.0], [0.0, 9.0]], [[2.0, 4.0]]]
    >>> truth = [[0.0, 10.0], [2.0, 4.0]]
    >>> evaluate_grounding(moments, truth, rule="2d-tan").recall_at(1, 0.5)
    0.5
    >>> evaluate_grounding(moments, truth, rule="lgi").recall_at(1, 0.5)
    1.0

    ```
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; expected one of {RULES}.")
    thresholds = as_thresholds(tiou_thresholds)
    if not len(ranks) or any(int(rank) != rank or rank < 1 for rank in ranks):
        raise ValueError(
            f"ranks is {tuple(ranks)}; expected one or more whole numbers from 1 up, for example (1, 5)."
        )
    truth = as_segments(ground_truth_s, "ground_truth_s")
    if len(predictions_s) != len(truth) or not len(truth):
        raise ValueError(
            f"There are predictions for {len(predictions_s)} queries and {len(truth)} annotated moments; "
            "each query needs one of each, in the same order (an empty list where nothing was predicted)."
        )
    if rule == "2d-tan" and not (truth[:, 0] < truth[:, 1]).all():
        query = int(np.argmin(truth[:, 0] < truth[:, 1]))
        raise ValueError(
            f"ground_truth_s[{query}] is {truth[query].tolist()}, which does not start before it ends. "
            "2D-TAN drops such queries before training and test: drop it on both sides."
        )

    best_rank_hits = np.full((len(truth), len(thresholds)), np.inf)
    first_iou = np.zeros(len(truth))
    num_with_predictions = 0
    for query, moments in enumerate(predictions_s):
        segments = as_segments(moments, f"predictions_s[{query}]")
        if not len(segments):
            continue
        num_with_predictions += 1
        overlap = tiou(segments, truth[query], union="hull")
        if np.isnan(overlap).any():
            raise ValueError(
                f"Query {query}: annotation {truth[query].tolist()} and moment number "
                f"{int(np.argmax(np.isnan(overlap)))} have a union of length 0, so their tIoU is undefined. "
                "Drop the query."
            )
        first_iou[query] = overlap[0]
        reached = overlap[:, None] > thresholds if rule == "2d-tan" else overlap[:, None] >= thresholds
        best_rank_hits[query] = np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, np.inf)
    recall = np.stack([(best_rank_hits <= rank).mean(axis=0) for rank in ranks])
    return GroundingScores(
        recall=recall,
        ranks=tuple(int(rank) for rank in ranks),
        tiou_thresholds=thresholds,
        mean_iou=float(first_iou.mean()),
        rule=rule,
        num_queries=len(truth),
        num_queries_with_predictions=num_with_predictions,
    )
