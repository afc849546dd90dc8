"""`evaluate` metric: F1 of generic event boundaries, over `bsp_hf.metrics.evaluate_boundaries`."""

from typing import Any

import datasets
import evaluate

from bsp_hf.metrics import BoundaryAnnotation, evaluate_boundaries
from bsp_hf.metrics.hub.rows import check_same_videos

_DESCRIPTION = """
Precision, recall and F1 of detected event boundaries within a distance relative to the duration, against
the best fitting rater of each video, by the rules of the GEBD challenge.
"""

_INPUTS = """
Args:
    predictions: One row a video: video_id and boundaries (seconds), possibly empty. Every row is scored: a
        video that was not run is better left out on both sides.
    references: One row a video, in the same order: video_id, duration (seconds), boundaries (one list of
        seconds a rater) and rater_consistency (a number, or None where unknown).
    relative_distances (`list`): In (0, 1]. Defaults to [0.05].
    min_rater_consistency (`float`): Skip videos whose raters agree less; 0.3 in the challenge. Defaults to
        none.

Returns:
    f1, precision and recall (a list, one number a distance), average_f1, relative_distances, num_videos,
    num_videos_scored.
"""


class EventBoundaryF1(evaluate.Metric):
    """Event boundary F1 with the add, gather and compute of `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.List(datasets.Value("float64"))
        video_id = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": {"video_id": video_id, "boundaries": numbers},
                    "references": {
                        "video_id": video_id,
                        "duration": datasets.Value("float64"),
                        "boundaries": datasets.List(numbers),
                        "rater_consistency": datasets.Value("float64"),
                    },
                }
            ),
        )

    def _compute(
        self,
        predictions: Any,
        references: Any,
        relative_distances: tuple[float, ...] = (0.05,),
        min_rater_consistency: float | None = None,
    ) -> dict[str, Any]:  # Any: rows in and a result dict out, as evaluate asks
        check_same_videos(predictions, references)
        scores = evaluate_boundaries(
            {
                row["video_id"]: BoundaryAnnotation(
                    row["duration"], row["boundaries"], row["rater_consistency"]
                )
                for row in references
            },
            {row["video_id"]: row["boundaries"] for row in predictions},
            relative_distances=relative_distances,
            min_rater_consistency=min_rater_consistency,
        )
        return {
            "f1": scores.f1.tolist(),
            "precision": scores.precision.tolist(),
            "recall": scores.recall.tolist(),
            "average_f1": scores.average_f1,
            "relative_distances": scores.relative_distances.tolist(),
            "num_videos": scores.num_videos,
            "num_videos_scored": scores.num_videos_scored,
        }
