"""`evaluate` metric: framewise average precision of actionness, over `bsp_hf.metrics.evaluate_actionness`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import StepAnnotation, evaluate_actionness
from bsp_hf.metrics.hub.rows import check_same_videos

_DESCRIPTION = """
Average precision of "a step happens here" over short segments of videos, pooled over all segments and
averaged over videos.
"""

_INPUTS = """
Args:
    predictions: One row a video: video_id and scores, one a segment; ceil(duration / segment_s) of them, or
        none where the video was not scored.
    references: One row a video, in the same order: video_id, duration (seconds), steps (start and end in
        seconds).
    segment_s (`float`): Length of a segment in seconds. Defaults to 0.2.
    labelling (`str`): "any_overlap" or "center". Defaults to "any_overlap".

Returns:
    pooled_ap, mean_video_ap, num_videos, num_videos_with_predictions, num_segments, num_positive_segments.
"""


class ActionnessAP(evaluate.Metric):
    """Actionness AP with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.List(datasets.Value("float64"))
        video_id = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": {"video_id": video_id, "scores": numbers},
                    "references": {
                        "video_id": video_id,
                        "duration": datasets.Value("float64"),
                        "steps": datasets.List(numbers),
                    },
                }
            ),
        )

    def _compute(
        self, predictions: Any, references: Any, segment_s: float = 0.2, labelling: str = "any_overlap"
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        check_same_videos(predictions, references)
        scores = evaluate_actionness(
            {row["video_id"]: StepAnnotation(row["duration"], row["steps"]) for row in references},
            {row["video_id"]: row["scores"] for row in predictions if len(row["scores"])},
            segment_s=segment_s,
            labelling=labelling,
        )
        return {
            "pooled_ap": scores.pooled_ap,
            "mean_video_ap": scores.mean_video_ap,
            "num_videos": scores.num_videos,
            "num_videos_with_predictions": scores.num_videos_scored,
            "num_segments": scores.num_segments,
            "num_positive_segments": scores.num_positive_segments,
        }
