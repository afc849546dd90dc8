"""The script that `evaluate.load` takes: every metric of the table, by its name as the configuration.

`evaluate` copies it away from its package, so it imports by full names and one module a line.
"""

import inspect
from typing import Any

import datasets
import evaluate

from bsp_hf.metrics.hub.table import METRICS


def to_features(columns: Any) -> Any:  # Any: nested lists and dicts of names, and the same of features
    """Return the `datasets` features of columns as the table describes them."""
    if isinstance(columns, dict):
        return {name: to_features(column) for name, column in columns.items()}
    if isinstance(columns, list):
        return datasets.List(to_features(columns[0]))
    return datasets.Value(columns)


class BSPMetric(evaluate.Metric):
    """A metric of the table with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in METRICS:
            raise ValueError(f"There is no metric {self.config_name!r}; there are {tuple(METRICS)}.")
        metric = METRICS[self.config_name]
        description = inspect.getdoc(metric.compute) or ""
        features = {"predictions": metric.predictions, "references": metric.references}
        return evaluate.MetricInfo(
            description=description.partition("\nArgs:")[0],
            citation="",
            inputs_description=description,
            features=datasets.Features(to_features(features)),
        )

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        # Any: rows in and a result dict out, as evaluate asks
        return METRICS[self.config_name].compute(predictions, references, **options)
