"""Files of predictions and annotations to the official numbers of a benchmark."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from transformers.utils import logging

from bsp_hf.localization.annotations.layouts import detect_layout, read_annotations
from bsp_hf.localization.annotations.reading import AMBIGUOUS, read_durations, require_files
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet, MomentQuery
from bsp_hf.metrics import (
    GEBD_RELATIVE_DISTANCES,
    BoundaryAnnotation,
    SegmentTable,
    activitynet_map,
    evaluate_actionness,
    evaluate_boundaries,
    evaluate_grounding,
    evaluate_highlights,
    evaluate_moment_retrieval,
    proposal_recall,
    read_boundary_annotations,
    read_ground_truth,
    read_results,
    thumos_map,
)
from bsp_hf.metrics.grounding import RULES as GROUNDING_RULES
from bsp_hf.metrics.qvhighlights import CLIP_S, HIGHLIGHT_SCORES
from bsp_hf.metrics.text_files import read_json

from .evaluation_options import EvaluationOptions
from .result_files import (
    MomentPrediction,
    QueryKey,
    pair_moments,
    read_actionness,
    read_boundaries,
    read_moments,
)
from .suppression import Detections, detections_to_json

logger = logging.get_logger(__name__)

EVALUATION_TASKS = ("detection", "thumos", "grounding", "actionness", "boundaries")
DETECTION_RULES = ("activitynet", "actionformer", "opentad")
RULES = {"detection": DETECTION_RULES, "thumos": DETECTION_RULES, "grounding": GROUNDING_RULES}
_SAME_INSTANCE_S = 1e-3
SUBSETS = {"detection": "validation", "thumos": "test"}


@dataclass(frozen=True)
class EvaluationReport:
    """Official numbers, and what they are over."""

    task: str  # one of `EVALUATION_TASKS`
    metrics: dict[str, float]  # AUC in percent, all others in 0 to 1
    num_videos: int
    num_videos_with_predictions: int
    only_predicted: bool  # whether the numbers are over the videos with predictions alone
    notes: tuple[str, ...] = ()  # what else there is to know, such as bad rows
    rule: str | None = None  # whose scorer the numbers follow, where there are several

    def __post_init__(self) -> None:
        undefined = [name for name, value in self.metrics.items() if not math.isfinite(value)]
        if undefined:
            raise ValueError(
                f"{', '.join(undefined)} cannot be computed: the annotations of the videos with predictions "
                f"({self.num_videos_with_predictions}) name nothing to find; check them and --subset."
            )

    @property
    def coverage(self) -> str:
        """What the numbers are over, `"n of N videos"`."""
        count = f"{self.num_videos_with_predictions} of {self.num_videos} videos"
        return f"scored on {count}" if self.only_predicted else f"predictions for {count}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        return {
            "task": self.task,
            "rule": self.rule,
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
    """Score a file of predictions, in a layout of `result_files.py`; by default as the benchmark does."""
    options = options or EvaluationOptions()
    if task not in EVALUATION_TASKS:
        raise ValueError(f"task {task!r} is unknown; choose one of {', '.join(EVALUATION_TASKS)}.")
    rules = RULES.get(task, ())
    if options.rule is not None and options.rule not in rules:
        choice = f"choose one of {', '.join(rules)}" if rules else "leave it out"
        raise ValueError(f"rule {options.rule!r} is none of the task {task}; {choice}.")
    require_files(options.durations, options.tasks)
    try:
        if task in SUBSETS:
            return _evaluate_detection(predictions, annotations, task, options)
        if task == "boundaries":
            return _evaluate_boundaries(predictions, annotations, options)
        if task == "grounding":
            return _evaluate_grounding(predictions, annotations, options)
        return _evaluate_actionness(predictions, _read(annotations, options), options)
    except ValueError as error:
        if any(Path(path).name in str(error) for path in (predictions, annotations)):
            raise
        # What the metrics refuse; they know no files.
        raise ValueError(f"{predictions} for {annotations}: {error}") from error


def _read(path: str | Path, options: EvaluationOptions) -> AnnotationSet:
    found = read_annotations(path, options.layout, tasks=options.tasks).of_subset(options.subset)
    return found if options.durations is None else found.with_durations(read_durations(options.durations))


def _problems(annotations: AnnotationSet) -> tuple[str, ...]:
    count = len(annotations.problems)
    return (f"{count} bad rows were left out, first {annotations.problems[0]}",) if count else ()


def _evaluate_detection(
    predictions: str | Path, path: str | Path, task: str, options: EvaluationOptions
) -> EvaluationReport:
    layout = options.layout or detect_layout(path)
    subset = options.subset or (SUBSETS[task] if layout == "activitynet" else None)
    official = _official_instances(path, layout, subset)
    if official is None:
        annotations = read_annotations(path, layout, tasks=options.tasks)
        has_subsets = options.subset is not None or annotations.subsets != ("",)
        annotations = annotations.of_subset(subset if has_subsets else None)
        truth, notes = annotations.segment_table(), _problems(annotations)
    else:
        truth, notes = official
    found = _with_text_labels(read_results(predictions))
    foreign = [str(video) for video in found.video_ids if video not in set(truth.video_ids)]
    notes = (*notes, *_name_foreign(foreign, "their segments count as false positives"))
    predicted = set(found.video_ids) & set(truth.video_ids)
    excluded = tuple(set(truth.video_ids) - predicted) if options.only_predicted else ()
    rule = options.rule or DETECTION_RULES[0]
    scores = _score_segments(truth.without_videos(excluded), found, task == "thumos", rule)
    return EvaluationReport(
        task,
        scores.metrics,
        len(truth.video_ids),
        len(predicted),
        options.only_predicted,
        (*notes, *scores.notes),
        rule,
    )


def read_instances(path: str | Path, annotations: AnnotationSet) -> SegmentTable:
    """Return the segments of annotated videos as `bsp-hf eval` counts them, those that cannot be found too.

    `path` is the file that the videos were read from.
    """
    official = _official_instances(path, annotations.layout, None, annotations.by_id)
    return annotations.segment_table() if official is None else official[0]


def _official_instances(
    path: str | Path, layout: str | None, subset: str | None, video_ids: Collection[str] | None = None
) -> tuple[SegmentTable, tuple[str, ...]] | None:
    """Return the segments of a file of ActivityNet's own layout, and what there is to note; else None.

    Every row counts, as in the official evaluator: zero-length ones too. `video_ids` limits them to some
    videos.
    """
    data = read_json(path) if layout == "activitynet" else None
    if not isinstance(data, Mapping) or not isinstance(data.get("database"), Mapping):
        return None
    records = data["database"].items()
    chosen = {video: record for video, record in records if video_ids is None or video in video_ids}
    try:
        truth = _with_text_labels(read_ground_truth({"database": chosen}, subset))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    is_class = np.array([label != AMBIGUOUS for label in truth.labels], dtype=bool)[truth.label_index]
    if is_class.all():
        return truth, ()
    note = f"{(~is_class).sum()} segments of the class {AMBIGUOUS} are left out, as for THUMOS14"
    return truth.select_rows(np.flatnonzero(is_class)), (note,)


def _with_text_labels(table: SegmentTable) -> SegmentTable:
    """Return a table whose classes are text, as annotations are read; no class stays none."""
    labels = [None if label is None else str(label) for label in table.labels]
    return SegmentTable.from_columns(
        [table.video_ids[place] for place in table.video_index],
        [labels[place] for place in table.label_index],
        table.segments_s,
        table.scores,
        table.video_ids,
    )


def _name_foreign(video_ids: Sequence[str], consequence: str) -> tuple[str, ...]:
    if not video_ids:
        return ()
    return (f"{len(video_ids)} predicted videos are not annotated, first {video_ids[0]!r}: {consequence}",)


def detection_scores(
    annotations: AnnotationSet | SegmentTable,
    detections: Mapping[str, Detections],
    names: Sequence[str] | None = None,
    is_thumos: bool = False,
) -> dict[str, float]:
    """Return the scores of detections by video id, the same as those of the result file they are written to.

    Without `names` of the class indices all segments, true and predicted, count as one class.
    """
    found = read_results(detections_to_json(detections, names))
    truth = annotations if isinstance(annotations, SegmentTable) else annotations.segment_table()
    scores = _score_segments(truth, found, is_thumos)
    for note in scores.notes if names is not None else ():
        logger.warning_once(note)
    return scores.metrics


@dataclass(frozen=True)
class Scores:
    """Metrics by name, and what else there is to know about them."""

    metrics: dict[str, float]
    notes: tuple[str, ...]


def _score_segments(
    truth: SegmentTable,
    found: SegmentTable,
    is_thumos: bool,
    rule: str = DETECTION_RULES[0],
) -> Scores:
    """Score by the benchmark's protocol: mAP over its thresholds by a rule, AR@100 and AUC."""
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
    instances = truth if rule == DETECTION_RULES[0] else _distinct_instances(truth, rule)
    if len(instances) < len(truth):
        notes.append(
            f"mAP leaves out {len(truth) - len(instances)} repeated or empty instances, as {rule} does"
        )
    metric = thumos_map if is_thumos else activitynet_map
    scores = metric(instances, known)
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
    recall = proposal_recall(truth, proposals)
    metrics |= {"auc": recall.auc, "ar@100": float(recall.average_recall[-1])}
    return Scores(metrics, tuple(notes))


def _distinct_instances(truth: SegmentTable, rule: str) -> SegmentTable:
    """Return the instances that ActionFormer and OpenTAD score.

    Both leave out an instance within 1 ms of an earlier one of its class and video; OpenTAD also those that
    do not end after their start.
    """
    kept: dict[tuple[int, int], list[int]] = {}
    rows = []
    for row, segment in enumerate(truth.segments_s):
        earlier = kept.setdefault((int(truth.video_index[row]), int(truth.label_index[row])), [])
        is_repeated = (np.abs(truth.segments_s[earlier] - segment) <= _SAME_INSTANCE_S).all(axis=1).any()
        if not is_repeated and (rule != "opentad" or segment[0] < segment[1]):
            earlier.append(row)
            rows.append(row)
    return truth.select_rows(np.array(rows, dtype=np.int64))


def _distinct_segments(found: SegmentTable) -> SegmentTable:
    """Return each segment of a video once, under its best score."""
    by_score = np.argsort(-found.require_scores(), kind="stable")
    keys = np.column_stack([found.video_index, found.segments_s])[by_score]
    _, first = np.unique(keys, axis=0, return_index=True)
    return found.select_rows(np.sort(by_score[first]), with_labels=False)


def _evaluate_grounding(
    predictions: str | Path, path: str | Path, options: EvaluationOptions
) -> EvaluationReport:
    annotations = _read(path, options)
    rule = options.rule or grounding_rule(annotations, GROUNDING_RULES[0])
    found = read_moments(predictions)
    known = {(video.video_id, query.query_id) for video in annotations.videos for query in video.queries}
    known_ids = {query_id for _, query_id in known}
    foreign = [key for key in found if key[1] not in known_ids]
    wrong = [key for key in found if key not in known and key[1] in known_ids]
    if wrong or len(foreign) == len(found):
        examples = ", ".join(f"{query_id} of {video_id}" for video_id, query_id in (wrong or foreign)[:3])
        raise ValueError(
            f"{predictions} numbers its queries otherwise than the {len(known)} of {path}, for instance "
            f"{examples}; its qid must be that of the annotations, or the place in the file."
        )
    predicted = {video_id for video_id, query_id in found if (video_id, query_id) in known}
    num_videos = sum(bool(video.queries) for video in annotations.videos)
    if options.only_predicted:
        absent = set(annotations.by_id) - predicted
        annotations = annotations.without_videos(absent)
    notes = [f"{len(foreign)} predicted queries are not annotated"] if foreign else []
    if rule == "2d-tan":
        whole, annotations = annotations, annotations.cut_to_videos()
        notes.extend(_describe_cut(whole, annotations))
    scores = grounding_scores(annotations, found, rule)
    return EvaluationReport(
        "grounding",
        scores.metrics,
        num_videos,
        len(predicted),
        options.only_predicted,
        (*scores.notes, *notes, *_problems(annotations)),
        rule,
    )


def grounding_rule(annotations: AnnotationSet, default: str) -> str:
    """Return whose scorer moments follow where the user names none: the layout's own, else the default."""
    return "qvhighlights" if annotations.layout == "qvhighlights" else default


def grounding_scores(
    annotations: AnnotationSet,
    found: Mapping[QueryKey, MomentPrediction],
    rule: str,
    ranks: Sequence[int] = (1, 5),
) -> Scores:
    """Return the scores of ranked moments by a rule, in training as for a file of them."""
    pairs = pair_moments(annotations, found)
    scores = evaluate_grounding(pairs.predicted_s, pairs.annotated_s, ranks=ranks, rule=rule)
    notes = [f"{scores.num_queries_with_predictions} of {scores.num_queries} queries have predictions"]
    metrics = {} if rule != "qvhighlights" else _score_qvhighlights(annotations, found, notes)
    metrics |= {
        f"recall@{rank},{threshold}": scores.recall_at(rank, threshold)
        for rank in ranks
        for threshold in (0.3, 0.5, 0.7)
    }
    return Scores({**metrics, "mean_iou": scores.mean_iou}, tuple(notes))


def _score_qvhighlights(
    annotations: AnnotationSet, found: Mapping[QueryKey, MomentPrediction], notes: list[str]
) -> dict[str, float]:
    """Return mAP over all moments of a query, by their lengths too, and the scores of highlights if any."""
    queries = [(video, query) for video in annotations.videos for query in video.queries]
    answers = [found.get((video.video_id, query.query_id)) for video, query in queries]
    scores = evaluate_moment_retrieval(
        [() if answer is None else answer.windows_s for answer in answers],
        [() if answer is None else answer.scores for answer in answers],
        [query.windows_s for _, query in queries],
    )
    metrics = {"mr_map": scores.average_map}
    metrics |= {f"mr_map@{threshold}": scores.map_at(threshold) for threshold in (0.5, 0.75)}
    metrics |= {f"mr_map_{name}": part.average_map for name, part in scores.by_length.items()}
    rated = [
        (answer, _rate_clips(video, query))
        for answer, (video, query) in zip(answers, queries, strict=True)
        if query.saliency
    ]
    saliency = [() if answer is None or answer.saliency is None else answer.saliency for answer, _ in rated]
    num_answered = sum(len(row) > 0 for row in saliency)
    if num_answered:
        notes.append(f"{num_answered} of {len(rated)} queries with rated clips have saliency scores")
        for name, min_score in HIGHLIGHT_SCORES.items():
            highlights = evaluate_highlights(saliency, [raters for _, raters in rated], min_score)
            metrics[f"hl_map_{name}"] = highlights.average_map
            metrics[f"hit@1_{name}"] = highlights.hit_at_one
    return metrics


def _rate_clips(video: AnnotatedVideo, query: MomentQuery) -> np.ndarray:
    """Return the scores of every clip of a video for a query, `(num_clips, num_raters)`, 0 where unrated."""
    num_clips = int((video.duration_s or 0) / CLIP_S)
    raters = np.zeros((num_clips, len(query.saliency[0][1])))
    for clip, scores in query.saliency:
        if not 0 <= clip < num_clips or len(scores) != raters.shape[1]:
            raise ValueError(
                f"query {query.query_id} of video {video.video_id} has {len(scores)} scores for clip {clip}; "
                f"expected {raters.shape[1]} for each of {num_clips} clips of {CLIP_S:g} s."
            )
        raters[clip] = scores
    return raters


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
    foreign = [video_id for video_id in found if video_id not in annotations.by_id]
    notes = (*_name_foreign(foreign, "they are left out"), *_problems(annotations))
    return EvaluationReport("actionness", metrics, len(annotations), len(scored), True, notes)


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
        _name_foreign([str(video) for video in found if video not in truth], "they are left out"),
    )
