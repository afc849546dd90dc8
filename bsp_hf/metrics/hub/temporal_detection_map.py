"""`evaluate` metric: ActivityNet and THUMOS14 detection mAP, over `bsp_hf.metrics.activitynet_map`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import ACTIVITYNET_TIOU_THRESHOLDS, activitynet_map
from bsp_hf.metrics.hub.rows import check_same_videos, table_from_rows

_DESCRIPTION = """
Interpolated mean average precision of temporal action detection over tIoU thresholds, by the rules of the
official ActivityNet evaluator. Pass tiou_thresholds=[0.3, 0.4, 0.5, 0.6, 0.7] for THUMOS14.
"""

_INPUTS = """
Args:
    predictions: One row a video: video_id, labels, scores and segments (start and end in seconds), all
        equally long and possibly empty.
    references: One row a video, in the same order: video_id, labels, segments.
    tiou_thresholds (`list`): In (0, 1]. Defaults to 0.5, 0.55, ..., 0.95.

Returns:
    average_map, map (at each threshold), tiou_thresholds, ap_per_class (mean over the thresholds, by label),
    num_videos, num_videos_with_predictions. Equal scores: the later row goes first, so gathering over
    processes can move a result only where scores are equal.
"""


class TemporalDetectionMap(evaluate.Metric):
    """Detection mAP with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.List(datasets.Value("float64"))
        row = {
            "video_id": datasets.Value("string"),
            "labels": datasets.List(datasets.Value("string")),
            "segments": datasets.List(numbers),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": {**row, "scores": numbers}, "references": row}),
        )

    def _compute(
        self, predictions: Any, references: Any, tiou_thresholds: list[float] | None = None
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        check_same_videos(predictions, references)
        scores = activitynet_map(
            table_from_rows(references),
            table_from_rows(predictions),
            tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS if tiou_thresholds is None else tiou_thresholds,
        )
        return {
            "average_map": scores.average_map,
            "map": scores.map_per_threshold.tolist(),
            "tiou_thresholds": scores.tiou_thresholds.tolist(),
            "ap_per_class": scores.average_ap_per_class,
            "num_videos": scores.num_videos,
            "num_videos_with_predictions": scores.num_videos_with_predictions,
        }
