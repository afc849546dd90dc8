"""`evaluate` metric: recall and mean tIoU of moment retrieval, over `bsp_hf.metrics.evaluate_grounding`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import evaluate_grounding

_DESCRIPTION = """
R@n at tIoU thresholds and mean tIoU of moments found by a sentence. rule="2d-tan" counts tIoU above the
threshold, rule="lgi" also one that equals it.
"""

_INPUTS = """
Args:
    predictions: For each query its moments, best first: a list of (start, end) in seconds, possibly empty.
    references: For each query the annotated (start, end) in seconds.
    ranks (`list`): n of R@n. Defaults to [1, 5].
    tiou_thresholds (`list`): In (0, 1]. Defaults to [0.3, 0.5, 0.7].
    rule (`str`): "2d-tan" or "lgi". Defaults to "2d-tan".

Returns:
    A share for each rank and threshold, for instance "R@1,IoU=0.5", mean_iou, rule, num_queries,
    num_queries_with_predictions.
"""


class MomentRetrieval(evaluate.Metric):
    """R@n and mean tIoU with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        moment = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.List(moment), "references": moment}),
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        ranks: tuple[int, ...] = (1, 5),
        tiou_thresholds: tuple[float, ...] = (0.3, 0.5, 0.7),
        rule: str = "2d-tan",
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        scores = evaluate_grounding(
            predictions, references, ranks=ranks, tiou_thresholds=tiou_thresholds, rule=rule
        )
        result: dict[str, Any] = {
            f"R@{rank},IoU={threshold:g}": scores.recall_at(rank, threshold)
            for rank in scores.ranks
            for threshold in scores.tiou_thresholds.tolist()
        }
        result.update(
            mean_iou=scores.mean_iou,
            rule=scores.rule,
            num_queries=scores.num_queries,
            num_queries_with_predictions=scores.num_queries_with_predictions,
        )
        return result
