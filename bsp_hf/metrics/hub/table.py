"""What each metric of the `evaluate` library reads and computes, over the functions of `bsp_hf.metrics`.

The docstring of each function is what `evaluate` shows of its metric.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bsp_hf.metrics.actionness import StepAnnotation, evaluate_actionness
from bsp_hf.metrics.boundary_classification import BOUNDARY_TYPE_NAMES, evaluate_boundary_classification
from bsp_hf.metrics.detection import ACTIVITYNET_TIOU_THRESHOLDS, activitynet_map
from bsp_hf.metrics.generic_boundaries import BoundaryAnnotation, evaluate_boundaries
from bsp_hf.metrics.grounding import evaluate_grounding
from bsp_hf.metrics.proposals import proposal_recall
from bsp_hf.metrics.segment_table import SegmentTable

Row = Mapping[str, Any]  # Any: a row of a table with mixed columns
Result = dict[str, Any]  # Any: numbers, lists and names, as `evaluate` returns them


def actionness_ap(
    predictions: Sequence[Row],
    references: Sequence[Row],
    segment_s: float = 0.2,
    labelling: str = "any_overlap",
) -> Result:
    """Compute the average precision of "a step happens here" over short segments of videos.

    Args:
        predictions: One row a video: video_id and scores, one a segment; ceil(duration / segment_s) of them,
            or none where the video was not scored.
        references: One row a video, in the same order: video_id, duration (seconds), steps (start and end in
            seconds).
        segment_s (`float`): Length of a segment in seconds. Defaults to 0.2.
        labelling (`str`): "any_overlap" or "center". Defaults to "any_overlap".

    Returns:
        pooled_ap (over all segments), mean_video_ap (averaged over videos), num_videos,
        num_videos_with_predictions, num_segments, num_positive_segments.
    """
    check_same_videos(predictions, references)
    scores = evaluate_actionness(
        {row["video_id"]: StepAnnotation(row["duration"], row["steps"]) for row in references},
        {row["video_id"]: row["scores"] for row in predictions if len(row["scores"])},
        segment_s=segment_s,
        labelling=labelling,
    )
    names = ("pooled_ap", "mean_video_ap", "num_videos", "num_segments", "num_positive_segments")
    return {**to_plain(scores, *names), "num_videos_with_predictions": scores.num_videos_scored}


def boundary_type_accuracy(
    predictions: Sequence[int],
    references: Sequence[int],
    class_names: Sequence[str] = BOUNDARY_TYPE_NAMES,
) -> Result:
    """Compute accuracy and confusion matrix of boundary classification; any number of named classes.

    Args:
        predictions: Class number of each clip.
        references: True class number of each clip.
        class_names (`list`): Name of each class. Defaults to the four boundary types.

    Returns:
        accuracy, mean_class_recall, class_recall (by name; None for a class that does not occur), confusion
        (rows are true classes), num_clips.
    """
    return evaluate_boundary_classification(predictions, references, class_names=class_names).to_dict()


def event_boundary_f1(
    predictions: Sequence[Row],
    references: Sequence[Row],
    relative_distances: Sequence[float] = (0.05,),
    min_rater_consistency: float | None = None,
) -> Result:
    """Compute precision, recall and F1 of detected event boundaries, by the rules of the GEBD challenge.

    A boundary is found within a distance relative to the duration; the best fitting rater of each video
    counts.

    Args:
        predictions: One row a video: video_id and boundaries (seconds), possibly empty. Every row is scored:
            a video that was not run is better left out on both sides.
        references: One row a video, in the same order: video_id, duration (seconds), boundaries (one list of
            seconds a rater) and rater_consistency (a number, or None where unknown).
        relative_distances (`list`): In (0, 1]. Defaults to [0.05].
        min_rater_consistency (`float`): Skip videos whose raters agree less; 0.3 in the challenge. Defaults
            to none.

    Returns:
        f1, precision and recall (a list, one number a distance), average_f1, relative_distances, num_videos,
        num_videos_scored.
    """
    check_same_videos(predictions, references)
    scores = evaluate_boundaries(
        {
            row["video_id"]: BoundaryAnnotation(row["duration"], row["boundaries"], row["rater_consistency"])
            for row in references
        },
        {row["video_id"]: row["boundaries"] for row in predictions},
        relative_distances=relative_distances,
        min_rater_consistency=min_rater_consistency,
    )
    names = ("f1", "precision", "recall", "average_f1", "relative_distances")
    return to_plain(scores, *names, "num_videos", "num_videos_scored")


def moment_retrieval(
    predictions: Sequence[Any],  # Any: nested lists of seconds
    references: Sequence[Any],
    ranks: Sequence[int] = (1, 5),
    tiou_thresholds: Sequence[float] = (0.3, 0.5, 0.7),
    rule: str = "2d-tan",
) -> Result:
    """Compute R@n at tIoU thresholds and mean tIoU of moments found by a sentence.

    Args:
        predictions: For each query its moments, best first: a list of (start, end) in seconds, possibly
            empty.
        references: For each query the annotated (start, end) in seconds.
        ranks (`list`): n of R@n. Defaults to [1, 5].
        tiou_thresholds (`list`): In (0, 1]. Defaults to [0.3, 0.5, 0.7].
        rule (`str`): "2d-tan" counts a tIoU above the threshold, "lgi" and "qvhighlights" also one that
            equals it. Defaults to "2d-tan".

    Returns:
        A share for each rank and threshold, for instance "R@1,IoU=0.5", mean_iou, rule, num_queries,
        num_queries_with_predictions.
    """
    scores = evaluate_grounding(
        predictions, references, ranks=ranks, tiou_thresholds=tiou_thresholds, rule=rule
    )
    recalls = {
        f"R@{rank},IoU={threshold:g}": scores.recall_at(rank, threshold)
        for rank in scores.ranks
        for threshold in scores.tiou_thresholds.tolist()
    }
    names = ("mean_iou", "rule", "num_queries", "num_queries_with_predictions")
    return {**recalls, **to_plain(scores, *names)}


def temporal_detection_map(
    predictions: Sequence[Row], references: Sequence[Row], tiou_thresholds: Sequence[float] | None = None
) -> Result:
    """Compute interpolated mAP of temporal action detection, by the rules of the official evaluator.

    Pass tiou_thresholds=[0.3, 0.4, 0.5, 0.6, 0.7] for THUMOS14.

    Args:
        predictions: One row a video: video_id, labels, scores and segments (start and end in seconds), all
            equally long and possibly empty.
        references: One row a video, in the same order: video_id, labels, segments.
        tiou_thresholds (`list`): In (0, 1]. Defaults to 0.5, 0.55, ..., 0.95.

    Returns:
        average_map, map (at each threshold), tiou_thresholds, ap_per_class (mean over the thresholds, by
        label), num_videos, num_videos_with_predictions. Equal scores: the later row goes first, so gathering
        over processes can move a result only where scores are equal.
    """
    check_same_videos(predictions, references)
    scores = activitynet_map(
        table_from_rows(references),
        table_from_rows(predictions),
        tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS if tiou_thresholds is None else tiou_thresholds,
    )
    names = ("average_map", "tiou_thresholds", "num_videos", "num_videos_with_predictions")
    return {
        **to_plain(scores, *names),
        "map": scores.map_per_threshold.tolist(),
        "ap_per_class": scores.average_ap_per_class,
    }


def temporal_proposal_recall(
    predictions: Sequence[Row],
    references: Sequence[Row],
    tiou_thresholds: Sequence[float] | None = None,
    max_proposals_per_video: float = 100,
) -> Result:
    """Compute average recall of temporal proposals against their average number a video, and its area.

    By the rules of the ActivityNet proposal task.

    Args:
        predictions: One row a video: video_id, scores and segments (start and end in seconds), equally long
            and possibly empty.
        references: One row a video, in the same order: video_id, segments.
        tiou_thresholds (`list`): In (0, 1]. Defaults to 0.5, 0.55, ..., 0.95.
        max_proposals_per_video (`float`): Average number of proposals at the end of the curve. Defaults to
            100.

    Returns:
        auc (0 to 100), average_recall and proposals_per_video (100 points each), average_recall_at_max,
        num_videos, num_videos_with_predictions.
    """
    check_same_videos(predictions, references)
    scores = proposal_recall(
        table_from_rows(references, with_labels=False),
        table_from_rows(predictions, with_labels=False),
        tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS if tiou_thresholds is None else tiou_thresholds,
        max_proposals_per_video=max_proposals_per_video,
    )
    return {
        **to_plain(scores, "auc", "average_recall", "proposals_per_video", "num_videos"),
        "average_recall_at_max": float(scores.average_recall[-1]),
        "num_videos_with_predictions": scores.num_videos_with_proposals,
    }


def to_plain(scores: object, *names: str) -> Result:
    """Return some fields of a result, arrays as lists."""
    values = {name: getattr(scores, name) for name in names}
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values.items()}


def check_same_videos(predictions: Iterable[Row], references: Iterable[Row]) -> None:
    """Check that each prediction stands beside the reference of its own video, and each video once.

    Samplers that pad the last batch repeat videos over processes, which would count instances twice.
    """
    seen = set()
    for predicted, true in zip(predictions, references, strict=True):
        video = true["video_id"]
        if predicted["video_id"] != video:
            raise ValueError(
                f"A prediction of video {predicted['video_id']!r} stands beside the reference of {video!r}."
            )
        if video in seen:
            raise ValueError(
                f"Video {video!r} was added twice. Use a sampler that does not pad, or drop the repeats."
            )
        seen.add(video)


def table_from_rows(rows: Iterable[Row], with_labels: bool = True) -> SegmentTable:
    """Return the segments of rows of videos, which have `scores` in all rows or in none."""
    videos: list[str] = []
    labels: list[str | None] = []
    segments: list[list[float]] = []
    scores: list[float] = []
    with_scores = False
    all_videos = []
    for row in rows:
        num_segments = len(row["segments"])
        all_videos.append(row["video_id"])
        with_scores = "scores" in row
        for column, needed in (("labels", with_labels), ("scores", with_scores)):
            if needed and len(row[column]) != num_segments:
                raise ValueError(
                    f"Video {row['video_id']!r} has {num_segments} segments and {len(row[column])} {column}; "
                    "each segment needs one."
                )
        videos.extend([row["video_id"]] * num_segments)
        segments.extend(row["segments"])
        labels.extend(row["labels"] if with_labels else [None] * num_segments)
        scores.extend(row["scores"] if with_scores else ())
    return SegmentTable.from_columns(videos, labels, segments, scores if with_scores else None, all_videos)


@dataclass(frozen=True)
class HubMetric:
    """A metric of the table."""

    compute: Callable[..., Result]
    # a type of `datasets`, `[type]` for a list of it, or a dict of columns
    predictions: Any  # Any: nested lists and dicts of names
    references: Any


_NUMBERS, _SEGMENTS = ["float64"], [["float64"]]
_VIDEO = {"video_id": "string"}
_STEPS = {**_VIDEO, "duration": "float64", "steps": _SEGMENTS}
_RATERS = {
    **_VIDEO,
    "duration": "float64",
    "boundaries": _SEGMENTS,  # one list of times a rater
    "rater_consistency": "float64",
}
_PROPOSALS = {**_VIDEO, "segments": _SEGMENTS}
_DETECTIONS = {**_PROPOSALS, "labels": ["string"]}

METRICS: dict[str, HubMetric] = {
    "actionness_ap": HubMetric(actionness_ap, {**_VIDEO, "scores": _NUMBERS}, _STEPS),
    "boundary_type_accuracy": HubMetric(boundary_type_accuracy, "int64", "int64"),
    "event_boundary_f1": HubMetric(event_boundary_f1, {**_VIDEO, "boundaries": _NUMBERS}, _RATERS),
    "moment_retrieval": HubMetric(moment_retrieval, _SEGMENTS, _NUMBERS),
    "temporal_detection_map": HubMetric(
        temporal_detection_map, {**_DETECTIONS, "scores": _NUMBERS}, _DETECTIONS
    ),
    "temporal_proposal_recall": HubMetric(
        temporal_proposal_recall, {**_PROPOSALS, "scores": _NUMBERS}, _PROPOSALS
    ),
}
