"""`evaluate` metric: accuracy on boundary types, over `bsp_hf.metrics.evaluate_boundary_classification`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import BOUNDARY_TYPE_NAMES, evaluate_boundary_classification

_DESCRIPTION = """
Accuracy, recall of each class and confusion matrix of boundary classification; any number of named classes.
"""

_INPUTS = """
Args:
    predictions: Class number of each clip.
    references: True class number of each clip.
    class_names (`list`): Name of each class. Defaults to the four boundary types.

Returns:
    accuracy, mean_class_recall, class_recall (by name; NaN for a class that does not occur), confusion
    (rows are true classes), num_clips.
"""


class BoundaryTypeAccuracy(evaluate.Metric):
    """Boundary type accuracy with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self, predictions: Any, references: Any, class_names: tuple[str, ...] = BOUNDARY_TYPE_NAMES
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        scores = evaluate_boundary_classification(predictions, references, class_names=class_names)
        return {
            "accuracy": scores.accuracy,
            "mean_class_recall": scores.mean_class_recall,
            "class_recall": dict(zip(scores.class_names, scores.class_recall.tolist(), strict=True)),
            "confusion": scores.confusion.tolist(),
            "num_clips": scores.num_clips,
        }
