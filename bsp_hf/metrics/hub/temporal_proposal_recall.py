"""`evaluate` metric: AR@AN and its area for temporal proposals, over `bsp_hf.metrics.proposal_recall`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import ACTIVITYNET_TIOU_THRESHOLDS, proposal_recall
from bsp_hf.metrics.hub.rows import check_same_videos, table_from_rows

_DESCRIPTION = """
Average recall of temporal proposals against their average number a video, and the area under that curve in
percent, by the rules of the ActivityNet proposal task.
"""

_INPUTS = """
Args:
    predictions: One row a video: video_id, scores and segments (start and end in seconds), equally long and
        possibly empty.
    references: One row a video, in the same order: video_id, segments.
    tiou_thresholds (`list`): In (0, 1]. Defaults to 0.5, 0.55, ..., 0.95.
    max_proposals_per_video (`float`): Average number of proposals at the end of the curve. Defaults to 100.

Returns:
    auc (0 to 100), average_recall and proposals_per_video (100 points each), average_recall_at_max,
    num_videos, num_videos_with_predictions.
"""


class TemporalProposalRecall(evaluate.Metric):
    """AR@AN and AUC with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.List(datasets.Value("float64"))
        row = {"video_id": datasets.Value("string"), "segments": datasets.List(numbers)}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": {**row, "scores": numbers}, "references": row}),
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        tiou_thresholds: list[float] | None = None,
        max_proposals_per_video: float = 100,
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        check_same_videos(predictions, references)
        scores = proposal_recall(
            table_from_rows(references, with_labels=False),
            table_from_rows(predictions, with_labels=False),
            tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS if tiou_thresholds is None else tiou_thresholds,
            max_proposals_per_video=max_proposals_per_video,
        )
        return {
            "auc": scores.auc,
            "average_recall": scores.average_recall.tolist(),
            "proposals_per_video": scores.proposals_per_video.tolist(),
            "average_recall_at_max": float(scores.average_recall[-1]),
            "num_videos": scores.num_videos,
            "num_videos_with_predictions": scores.num_videos_with_proposals,
        }
