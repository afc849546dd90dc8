"""Files of predictions and annotations to the official numbers of a benchmark."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from transformers.utils import logging

from bsp_hf.localization.annotations.layouts import detect_layout, read_annotations
from bsp_hf.localization.annotations.reading import read_durations
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.metrics import (
    GEBD_RELATIVE_DISTANCES,
    BoundaryAnnotation,
    SegmentTable,
    activitynet_map,
    evaluate_actionness,
    evaluate_boundaries,
    evaluate_grounding,
    proposal_recall,
    read_boundary_annotations,
    read_ground_truth,
    read_results,
    thumos_map,
)

from .result_files import pair_moments, read_actionness, read_boundaries, read_moments
from .suppression import Detections, detections_to_json

logger = logging.get_logger(__name__)

EVALUATION_TASKS = ("detection", "thumos", "grounding", "actionness", "boundaries")
SUBSETS = {"detection": "validation", "thumos": "test"}


@dataclass(frozen=True)
class EvaluationOptions:
    """How to score.

    Args:
        subset (`str`, *optional*): Subset to score; by default `"validation"` for detection, `"test"` for
            thumos, and all videos otherwise.
        layout (`str`, *optional*): Layout of the annotations; by default told by their content.
        durations (`Path`, *optional*): Table with a column `id` or `video` and one `length` or `duration`, in
            seconds.
        tasks (`Path`, *optional*): List of tasks, for CrossTask.
        rule (`str`, *optional*, defaults to `"2d-tan"`): Comparison rule of grounding, or `"lgi"`.
        segment_s (`float`, *optional*, defaults to 0.2): Seconds of an actionness segment.
        labelling (`str`, *optional*, defaults to `"any_overlap"`): Which segments hold a step.
        min_consistency (`float`, *optional*): Skip videos whose raters agree less, for boundaries.
        only_predicted (`bool`, *optional*, defaults to `False`): Score the videos with predictions alone.
    """

    subset: str | None = None
    layout: str | None = None
    durations: Path | None = None
    tasks: Path | None = None
    rule: str = "2d-tan"
    segment_s: float = 0.2
    labelling: str = "any_overlap"
    min_consistency: float | None = None
    only_predicted: bool = False


@dataclass(frozen=True)
class EvaluationReport:
    """Official numbers, and what they are over.

    Args:
        task (`str`): One of `EVALUATION_TASKS`.
        metrics (`dict[str, float]`): The numbers; AUC in percent, all others in 0 to 1.
        num_videos (`int`): Annotated videos.
        num_videos_with_predictions (`int`): Those of them that have a prediction.
        only_predicted (`bool`): Whether the numbers are over the latter alone.
        notes (`tuple[str, ...]`): What else there is to know, such as bad rows.
    """

    task: str
    metrics: dict[str, float]
    num_videos: int
    num_videos_with_predictions: int
    only_predicted: bool
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> str:
        """What the numbers are over, `"n of N videos"`."""
        count = f"{self.num_videos_with_predictions} of {self.num_videos} videos"
        return f"scored on {count}" if self.only_predicted else f"predictions for {count}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        return {
            "task": self.task,
            "metrics": self.metrics,
            "num_videos": self.num_videos,
            "num_videos_with_predictions": self.num_videos_with_predictions,
            "only_predicted": self.only_predicted,
            "coverage": self.coverage,
            "notes": list(self.notes),
        }


def evaluate_files(
    predictions: str | Path, annotations: str | Path, task: str, options: EvaluationOptions | None = None
) -> EvaluationReport:
    """Score a file of predictions.

    Args:
        predictions (`str` or `Path`): `results.json` of detection, `.jsonl` of grounding, `.csv` of
            actionness or `.json` of boundaries, see `result_files.py`.
        annotations (`str` or `Path`): The annotations.
        task (`str`): One of `EVALUATION_TASKS`.
        options (`EvaluationOptions`, *optional*): How to score; by default the benchmark's own way.

    Returns:
        `EvaluationReport`: The numbers.

    Raises:
        OSError: If a file cannot be opened.
        ValueError: If the task is unknown, a file has another layout, or nothing can be scored.
    """
    options = options or EvaluationOptions()
    if task not in EVALUATION_TASKS:
        raise ValueError(f"task {task!r} is unknown; choose one of {', '.join(EVALUATION_TASKS)}.")
    if task in SUBSETS:
        return _evaluate_detection(predictions, annotations, task, options)
    if task == "boundaries":
        return _evaluate_boundaries(predictions, annotations, options)
    if task == "grounding":
        return _evaluate_grounding(predictions, _read(annotations, options), options)
    return _evaluate_actionness(predictions, _read(annotations, options), options)


def _read(path: str | Path, options: EvaluationOptions) -> AnnotationSet:
    found = read_annotations(path, options.layout, tasks=options.tasks).of_subset(options.subset)
    return found if options.durations is None else found.with_durations(read_durations(options.durations))


def _problems(annotations: AnnotationSet) -> tuple[str, ...]:
    count = len(annotations.problems)
    return (f"{count} bad rows were left out, first {annotations.problems[0]}",) if count else ()


def _evaluate_detection(
    predictions: str | Path, path: str | Path, task: str, options: EvaluationOptions
) -> EvaluationReport:
    notes: tuple[str, ...] = ()
    layout = options.layout or detect_layout(path)
    subset = options.subset or (SUBSETS[task] if layout == "activitynet" else None)
    if layout == "activitynet":  # every row counts here, zero-length ones too, as in the official evaluator
        truth = read_ground_truth(path, subset or SUBSETS[task])
    else:
        annotations = read_annotations(path, layout, tasks=options.tasks).of_subset(subset)
        truth, notes = annotations.segment_table(), _problems(annotations)
    found = read_results(predictions)
    predicted = set(found.video_ids) & set(truth.video_ids)
    excluded = tuple(set(truth.video_ids) - predicted) if options.only_predicted else ()
    scores = _score_segments(truth, found, task == "thumos", excluded)
    notes = (*notes, *scores.notes)
    num_videos = len(truth.video_ids)
    return EvaluationReport(task, scores.metrics, num_videos, len(predicted), options.only_predicted, notes)


def detection_scores(
    annotations: AnnotationSet,
    detections: Mapping[str, Detections],
    names: Sequence[str] | None = None,
    is_thumos: bool = False,
) -> dict[str, float]:
    """Return the scores of detections by video id, the same as those of the result file they are written to.

    Without `names` of the class indices all segments, true and predicted, count as one class.
    """
    found = read_results(detections_to_json(detections, names))
    scores = _score_segments(annotations.segment_table(), found, is_thumos)
    for note in scores.notes if names is not None else ():
        logger.warning_once(note)
    return scores.metrics


@dataclass(frozen=True)
class _SegmentScores:
    metrics: dict[str, float]
    notes: tuple[str, ...]


def _score_segments(
    truth: SegmentTable, found: SegmentTable, is_thumos: bool, excluded: Collection[Hashable] = ()
) -> _SegmentScores:
    """Score by the benchmark's protocol: mAP over its thresholds, AR@100 and AUC."""
    notes: list[str] = []
    is_one_class = None in found.labels or "" in found.labels
    if is_one_class or set(found.labels) == {"action"} - set(truth.labels):
        notes.append("predictions without a class: all segments count as one class")
        truth, found = (
            table.select_rows(np.arange(len(table)), with_labels=False) for table in (truth, found)
        )
    unknown = [label for label in found.labels if label not in truth.labels]
    known = found
    if unknown:
        if len(unknown) == len(found.labels):
            raise ValueError(
                f"none of the {len(unknown)} predicted classes is annotated, for instance {unknown[0]!r}; "
                f"the annotations to score have {list(truth.labels)[:5]}. Name the classes as they do."
            )
        rows = np.flatnonzero(~np.isin(found.label_index, [found.labels.index(label) for label in unknown]))
        known = found.select_rows(rows)
        notes.append(
            f"{len(found) - len(rows)} predictions of {len(unknown)} classes that the annotations lack were "
            f"left out, first {unknown[0]!r}; the official evaluator stops there"
        )
    metric = thumos_map if is_thumos else activitynet_map
    scores = metric(truth, known, excluded_video_ids=excluded)
    metrics = {"average_map": scores.average_map}
    metrics |= {
        f"map@{threshold:g}": float(value)
        for threshold, value in zip(scores.tiou_thresholds, scores.map_per_threshold, strict=True)
    }
    proposals = _distinct_segments(found)
    if len(proposals) < len(found):
        notes.append(
            f"AR and AUC count {len(found) - len(proposals)} segments that stand under several classes once"
        )
    recall = proposal_recall(truth, proposals, excluded_video_ids=excluded)
    metrics |= {"auc": recall.auc, "ar@100": float(recall.average_recall[-1])}
    return _SegmentScores(metrics, tuple(notes))


def _distinct_segments(found: SegmentTable) -> SegmentTable:
    """Return each segment of a video once, under its best score."""
    by_score = np.argsort(-found.require_scores(), kind="stable")
    keys = np.column_stack([found.video_index, found.segments_s])[by_score]
    _, first = np.unique(keys, axis=0, return_index=True)
    return found.select_rows(np.sort(by_score[first]), with_labels=False)


def _evaluate_grounding(
    predictions: str | Path, annotations: AnnotationSet, options: EvaluationOptions
) -> EvaluationReport:
    found = read_moments(predictions)
    known = {(video.video_id, query.query_id) for video in annotations.videos for query in video.queries}
    known_ids = {query_id for _, query_id in known}
    foreign = [key for key in found if key[1] not in known_ids]
    wrong = [key for key in found if key not in known and key[1] in known_ids]
    if wrong or len(foreign) == len(found):
        examples = ", ".join(f"{query_id} of {video_id}" for video_id, query_id in (wrong or foreign)[:3])
        raise ValueError(
            f"{predictions} numbers its queries otherwise than {len(known)} annotated ones, for instance "
            f"{examples}; its qid must be that of the annotations, or the place in the file."
        )
    predicted = {video_id for video_id, query_id in found if (video_id, query_id) in known}
    num_videos = sum(bool(video.queries) for video in annotations.videos)
    if options.only_predicted:
        absent = set(annotations.by_id) - predicted
        annotations = annotations.without_videos(absent)
    cut_notes: tuple[str, ...] = ()
    if options.rule == "2d-tan":
        whole, annotations = annotations, annotations.cut_to_videos()
        cut_notes = _describe_cut(whole, annotations)
    pairs = pair_moments(annotations, found)
    scores = evaluate_grounding(pairs.predicted_s, pairs.annotated_s, rule=options.rule)
    metrics = {
        f"recall@{rank},{threshold}": scores.recall_at(rank, threshold)
        for rank in (1, 5)
        for threshold in (0.3, 0.5, 0.7)
    }
    notes = (
        f"{scores.num_queries_with_predictions} of {scores.num_queries} queries have predictions",
        *((f"{len(foreign)} predicted queries are not annotated",) if foreign else ()),
        *cut_notes,
        *_problems(annotations),
    )
    metrics["mean_iou"] = scores.mean_iou
    return EvaluationReport("grounding", metrics, num_videos, len(predicted), options.only_predicted, notes)


def _describe_cut(whole: AnnotationSet, cut: AnnotationSet) -> tuple[str, ...]:
    """Return how many queries were lost by cutting moments, and how many videos could not be cut."""
    notes = []
    num_lost = whole.num_queries - cut.num_queries
    if num_lost:
        notes.append(f"{num_lost} queries were left out: their moment starts after the end of the video")
    num_unknown = sum(bool(video.queries) and video.duration_s is None for video in whole.videos)
    if num_unknown:
        notes.append(
            f"the duration of {num_unknown} videos is unknown: their moments are not cut at the end of the "
            "video, as 2D-TAN does; give a table of durations"
        )
    return tuple(notes)


def _evaluate_actionness(
    predictions: str | Path, annotations: AnnotationSet, options: EvaluationOptions
) -> EvaluationReport:
    found = read_actionness(predictions)
    absent = set(annotations.by_id) - set(found)
    scored = annotations.without_videos(absent)
    if not len(scored):
        raise ValueError(f"{predictions} names none of the {len(annotations)} annotated videos.")
    scores = evaluate_actionness(
        scored.step_annotations(),
        {video_id: values for video_id, values in found.items() if video_id in scored.by_id},
        segment_s=options.segment_s,
        labelling=options.labelling,
    )
    metrics = {
        "pooled_ap": scores.pooled_ap,
        "mean_video_ap": scores.mean_video_ap,
        "positive_share": scores.num_positive_segments / scores.num_segments,
    }
    return EvaluationReport(
        "actionness", metrics, len(annotations), len(scored), True, _problems(annotations)
    )


def _evaluate_boundaries(
    predictions: str | Path, path: str | Path, options: EvaluationOptions
) -> EvaluationReport:
    truth: dict[Hashable, BoundaryAnnotation] = {}
    truth.update(read_boundary_annotations(path).items())
    found: dict[Hashable, ArrayLike] = {}
    found.update(read_boundaries(predictions).items())
    scores = evaluate_boundaries(
        truth,
        found,
        relative_distances=GEBD_RELATIVE_DISTANCES,
        min_rater_consistency=options.min_consistency,
        missing_videos="skip" if options.only_predicted else "miss",
    )
    metrics = {
        "f1@0.05": scores.f1_at(0.05),
        "precision@0.05": float(scores.precision[0]),
        "recall@0.05": float(scores.recall[0]),
        "average_f1": scores.average_f1,
    }
    return EvaluationReport(
        "boundaries",
        metrics,
        scores.num_videos,
        scores.num_videos_with_predictions,
        options.only_predicted,
    )
