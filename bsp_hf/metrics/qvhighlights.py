"""QVHighlights: moment retrieval with several moments a query, and highlight detection, by its own rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .detection import activitynet_map
from .segment_table import SegmentTable
from .segments import as_segments, find_threshold, pairwise_tiou, tiou

QVHIGHLIGHTS_TIOU_THRESHOLDS: tuple[float, ...] = tuple((np.arange(10, 20) / 20).tolist())
# Annotated moments by their length in seconds: longer than the first, at most the second.
MOMENT_LENGTHS_S: dict[str, tuple[float, float]] = {
    "short": (0.0, 10.0),
    "middle": (10.0, 30.0),
    "long": (30.0, 150.0),
}
# Smallest score, from 0 to 4, of a clip that is a highlight.
HIGHLIGHT_SCORES: dict[str, int] = {"fair": 2, "good": 3, "very_good": 4}
CLIP_S = 2.0


@dataclass(frozen=True, eq=False)
class MomentRetrievalScores:
    """How well ranked moments find all annotated moments of sentence queries; all shares in 0 to 1.

    Args:
        map_per_threshold (`np.ndarray`): `(num_thresholds,)`, average precision of the moments of a query,
            averaged over the queries.
        recall_at_one (`np.ndarray`): `(num_thresholds,)`, share of queries whose first moment overlaps an
            annotated one enough.
        tiou_thresholds (`np.ndarray`): `(num_thresholds,)`.
        num_queries (`int`): Queries with an annotated moment.
        by_length (`dict`): The same over the annotated moments of one length alone, under the names of
            `MOMENT_LENGTHS_S` that occur.
    """

    map_per_threshold: np.ndarray
    recall_at_one: np.ndarray
    tiou_thresholds: np.ndarray
    num_queries: int
    by_length: dict[str, "MomentRetrievalScores"]

    @property
    def average_map(self) -> float:
        """Mean over the thresholds, the number that QVHighlights ranks by (MR-mAP)."""
        return float(self.map_per_threshold.mean())

    def map_at(self, tiou_threshold: float) -> float:
        """Return the mAP at one of the thresholds, in 0 to 1; any other is a `ValueError`."""
        return float(self.map_per_threshold[find_threshold(self.tiou_thresholds, tiou_threshold)])

    def recall_at(self, tiou_threshold: float) -> float:
        """Return R1 at one of the thresholds, in 0 to 1; any other is a `ValueError`."""
        return float(self.recall_at_one[find_threshold(self.tiou_thresholds, tiou_threshold)])


def evaluate_moment_retrieval(
    predictions_s: Sequence[npt.ArrayLike],
    scores: Sequence[npt.ArrayLike],
    ground_truth_s: Sequence[npt.ArrayLike],
    *,
    max_moments: int = 10,
) -> MomentRetrievalScores:
    """Score ranked moments by the rules of QVHighlights: mAP over tIoU 0.5, 0.55, ..., 0.95, and R1.

    - The first `max_moments` of a query take part in its average precision, by descending score; equal scores
      keep their order. It is the interpolated precision of ActivityNet with the query as the class.
    - R1 is that of the first moment in its list and of the annotated moment that it overlaps most (union by
      lengths); it counts where their tIoU (union by hull) is at or above the threshold.
    - The numbers of one length are over the queries that have such a moment, and over such moments alone.

    Choice: a query without predictions is missed, with precision 0; the official script refuses such a file.

    Args:
        predictions_s (`Sequence` of `ArrayLike`): For each query its moments in seconds, `(num_moments, 2)`,
            best first. A query may have none.
        scores (`Sequence` of `ArrayLike`): Their scores, `(num_moments,)`.
        ground_truth_s (`Sequence` of `ArrayLike`): Annotated moments of each query, `(num_annotated, 2)`, one
            or more.
        max_moments (`int`): How many of the first moments take part in mAP. Defaults to 10, as officially.

    Returns:
        `MomentRetrievalScores`: mAP and R1, over all moments and by their length.

    Raises:
        ValueError: If the sides differ in length or are empty, a query has no annotated moment, or a number
            is not finite.

    Example:
    ```python
    >>> from bsp_hf.metrics import evaluate_moment_retrieval
    >>> found = evaluate_moment_retrieval([[[0, 20], [40, 48]]], [[0.9, 0.8]], [[[0, 20], [40, 50]]])
    >>> found.recall_at(0.7), found.map_at(0.7), found.map_at(0.9), found.by_length["short"].map_at(0.7)
    (1.0, 1.0, 0.5, 0.5)

    ```
    """
    if not len(predictions_s) == len(scores) == len(ground_truth_s) or not len(ground_truth_s):
        raise ValueError(
            f"There are moments for {len(predictions_s)}, scores for {len(scores)} and annotations of "
            f"{len(ground_truth_s)} queries; each query needs all three, in the same order."
        )
    found = [as_segments(moments, f"predictions_s[{n}]") for n, moments in enumerate(predictions_s)]
    truth = [as_segments(moments, f"ground_truth_s[{n}]") for n, moments in enumerate(ground_truth_s)]
    values = [np.asarray(row, dtype=np.float64).reshape(-1) for row in scores]
    for query, (moments, row, annotated) in enumerate(zip(found, values, truth, strict=True)):
        if len(moments) != len(row) or not np.isfinite(row).all():
            raise ValueError(f"Query {query} has {len(moments)} moments and the scores {row.tolist()}.")
        if not len(annotated):
            raise ValueError(f"Query {query} has no annotated moment; drop it on both sides.")
    by_length = {}
    for name, (shortest_s, longest_s) in MOMENT_LENGTHS_S.items():
        lengths_s = [moments[:, 1] - moments[:, 0] for moments in truth]
        inside = [(lengths > shortest_s) & (lengths <= longest_s) for lengths in lengths_s]
        chosen = [query for query, is_inside in enumerate(inside) if is_inside.any()]
        if chosen:
            parts = [truth[query][inside[query]] for query in chosen]
            by_length[name] = _score_retrieval(
                [found[query] for query in chosen], [values[query] for query in chosen], parts, max_moments
            )
    return replace(_score_retrieval(found, values, truth, max_moments), by_length=by_length)


def _score_retrieval(
    found: list[np.ndarray], scores: list[np.ndarray], truth: list[np.ndarray], max_moments: int
) -> MomentRetrievalScores:
    thresholds = np.array(QVHIGHLIGHTS_TIOU_THRESHOLDS)
    first_iou = np.zeros(len(truth))
    for query, (moments, annotated) in enumerate(zip(found, truth, strict=True)):
        if len(moments):
            nearest = annotated[np.nan_to_num(pairwise_tiou(moments[:1], annotated)[0]).argmax()]
            first_iou[query] = np.nan_to_num(tiou(moments[0], nearest, "hull"))
    # Of equal scores the detection metric takes the later row first; here the earlier one goes first.
    rows = [(query, row) for query, moments in enumerate(found) for row in range(len(moments[:max_moments]))]
    rows.reverse()
    queries = [query for query, _ in rows]
    annotated_queries = [query for query, annotated in enumerate(truth) for _ in annotated]
    detection = activitynet_map(
        SegmentTable.from_columns(annotated_queries, annotated_queries, np.concatenate(truth)),
        SegmentTable.from_columns(
            queries,
            queries,
            np.array([found[query][row] for query, row in rows]).reshape(-1, 2),
            [scores[query][row] for query, row in rows],
        ),
        tiou_thresholds=QVHIGHLIGHTS_TIOU_THRESHOLDS,
    )
    recall_at_one = (first_iou[:, None] >= thresholds).mean(axis=0)
    return MomentRetrievalScores(detection.map_per_threshold, recall_at_one, thresholds, len(truth), {})


@dataclass(frozen=True)
class HighlightScores:
    """How well scores of a video's clips find what its raters call highlights; both in 0 to 1.

    Args:
        average_map (`float`): Average precision, averaged over queries and raters (HL-mAP).
        hit_at_one (`float`): Share of queries whose best-scored clip is a highlight to a rater (HIT@1).
        num_queries (`int`): Queries scored.
    """

    average_map: float
    hit_at_one: float
    num_queries: int


def evaluate_highlights(
    predictions: Sequence[npt.ArrayLike], ground_truth: Sequence[npt.ArrayLike], min_score: float = 4
) -> HighlightScores:
    """Score the saliency of clips by the rules of QVHighlights.

    Average precision is interpolated and averaged over the recalls that occur; a query in which no clip is a
    highlight to a rater has 0, one in which all are has 1. Scores of clips that the annotation lacks are cut
    off, and clips without a score get 0; the best-scored clip is that of all scores.

    Choice: a query without scores is missed.

    Args:
        predictions (`Sequence` of `ArrayLike`): For each query the score of every clip, `(num_scores,)`;
            empty where there is none.
        ground_truth (`Sequence` of `ArrayLike`): For each query the raters' scores, `(num_clips,
            num_raters)`, 0 to 4.
        min_score (`float`): Smallest score of a highlight: 2 fair, 3 good, 4 very good. Defaults to 4.

    Returns:
        `HighlightScores`: HL-mAP and HIT@1.

    Raises:
        ValueError: If the sides differ in length or are empty, a shape is another one or a score is NaN.

    Example:
    ```python
    >>> from bsp_hf.metrics import evaluate_highlights
    >>> evaluate_highlights([[0.1, 0.9, 0.5]], [[[0, 1], [4, 4], [0, 4]]])
    HighlightScores(average_map=1.0, hit_at_one=1.0, num_queries=1)

    ```
    """
    if len(predictions) != len(ground_truth) or not len(ground_truth):
        raise ValueError(
            f"There are scores for {len(predictions)} and annotations of {len(ground_truth)} queries; each "
            "query needs both, in the same order (an empty list where nothing was predicted)."
        )
    precisions, hits = [], []
    for query, (row, raters) in enumerate(zip(predictions, ground_truth, strict=True)):
        scores, truth = np.asarray(row, dtype=np.float64), np.asarray(raters, dtype=np.float64)
        if truth.ndim != 2 or not truth.size or scores.ndim != 1 or np.isnan(scores).any():
            raise ValueError(
                f"Query {query}: expected scores (num_scores,) without NaN and annotations (num_clips, "
                f"num_raters), found {scores.shape} and {truth.shape}."
            )
        is_highlight = truth >= min_score
        if not len(scores):
            precisions.append(np.zeros(truth.shape[1]))
            hits.append(False)
            continue
        best = int(scores.argmax())
        hits.append(bool(best < len(truth) and is_highlight[best].any()))
        fitting = np.zeros(len(truth))
        fitting[: len(scores)] = scores[: len(truth)]
        precisions.append(np.array([_mean_precision(column, fitting) for column in is_highlight.T]))
    return HighlightScores(
        average_map=float(np.mean([row.mean() for row in precisions])),
        hit_at_one=float(np.mean(hits)),
        num_queries=len(hits),
    )


def _mean_precision(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean of the interpolated precision over the recalls that occur."""
    if is_positive.all() or not is_positive.any():
        return float(is_positive.all())
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    num_found = np.cumsum(is_positive[order])[last_of_score]
    precision = num_found / (last_of_score + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[np.diff(num_found, prepend=0) > 0].mean())
