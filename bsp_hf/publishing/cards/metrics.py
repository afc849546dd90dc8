"""The metrics of a model card: those that a record lists, or those of its last or kept evaluation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CardMetric:
    """One measured number, and what makes it traceable."""

    name: str  # for instance "accuracy"
    value: float  # a share, not per cent
    data: str  # what it was measured on, and on how much of it
    seed: int | None
    command: str  # that printed it
    commit: str  # of the code, or "Not recorded"
    metric_type: str  # the Hub's name of the metric, for instance "accuracy"
    task: str  # what was evaluated, for instance "Boundary classification"


def collect_metrics(record: Mapping[str, Any], task: str | None = None) -> tuple[CardMetric, ...]:
    """Return the finite numbers that a record lists, else those of its evaluation; no task for an encoder."""
    if "metrics" in record:
        common = {**_describe_run(record), "task": _as_title(task) if task else "Boundary classification"}
        return tuple(CardMetric(**{"metric_type": row["name"], **common, **row}) for row in record["metrics"])
    return _metrics_of_encoder(record) if task is None else _metrics_of_localizer(record, task)


def _describe_run(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seed": (record.get("arguments") or {}).get("seed"),
        "command": record.get("command") or "",
        "commit": record.get("commit") or "Not recorded",
    }


def _as_title(task: str) -> str:
    return task.replace("-", " ").capitalize()


def _metrics_of_encoder(record: Mapping[str, Any]) -> tuple[CardMetric, ...]:
    evaluations = [entry for entry in record.get("history") or () if "eval_loss" in entry]
    if not evaluations:
        return ()
    last = evaluations[-1]
    num_sources = (record.get("num_sources") or {}).get("held_out")
    data = f"{last.get('eval_num_clips', 'the')} clips out of {num_sources or 'the'} held-out videos"
    recalls = last.get("eval_class_recall") or {}
    numbers = [
        ("accuracy", "accuracy", last.get("eval_accuracy")),
        ("loss", "loss", last.get("eval_loss")),
        *((f"recall of {label}", "recall", recall) for label, recall in recalls.items()),
    ]
    common = {**_describe_run(record), "data": data, "task": f"Pretext {record.get('task') or 'boundary'}"}
    return tuple(
        CardMetric(name=name, value=value, metric_type=metric_type, **common)
        for name, metric_type, value in numbers
        if isinstance(value, float) and math.isfinite(value)
    )


def _metrics_of_localizer(record: Mapping[str, Any], task: str) -> tuple[CardMetric, ...]:
    arguments = record.get("arguments") or {}
    file = arguments.get("eval_annotations") or arguments.get("annotations")
    parts = [Path(file).name if file else None, arguments.get("eval_subset"), record.get("evaluated")]
    common = {
        **_describe_run(record),
        "data": ", ".join(str(part) for part in parts if part),
        "task": _as_title(task),
    }
    # The metric by which the epoch was chosen comes first.
    results = sorted((record.get("results") or {}).items(), key=lambda item: item[0] != record.get("metric"))
    return tuple(
        CardMetric(name=name, value=float(value), metric_type=name, **common)
        for name, value in results
        # The card's text gives the share of positive segments, which is not a metric.
        if name != "positive_share" and isinstance(value, int | float) and math.isfinite(value)
    )
