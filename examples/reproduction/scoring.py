"""Scores of a localizer on the videos that test it, and differences of two by drawing videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.annotations.reading import read_durations
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.localization.evaluation import EvaluationOptions, evaluate_files
from bsp_hf.localization.result_files import pair_moments, read_actionness, read_moments
from bsp_hf.metrics import (
    SegmentTable,
    activitynet_map,
    evaluate_actionness,
    evaluate_grounding,
    read_results,
)

# Of each localizer: its result file, the task of `bsp-hf eval`, the rule, and the metric of comparisons.
RESULT_FILES = {
    "gtad": ("results.json", "detection", None, "average_map"),
    "tan": ("predictions.jsonl", "grounding", "2d-tan", "recall@1,0.5"),
    "lgi": ("predictions.jsonl", "grounding", "lgi", "mean_iou"),
    "actionness": ("actionness.csv", "actionness", None, "pooled_ap"),
}

ScoreDrawn = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Truth:
    """Annotations that a localizer is scored by, as `bsp-hf eval` reads them."""

    annotations: Path
    subset: str | None = None
    durations: Path | None = None
    tasks: Path | None = None

    @cached_property
    def videos(self) -> AnnotationSet:
        found = read_annotations(self.annotations, tasks=self.tasks).of_subset(self.subset)
        return found if self.durations is None else found.with_durations(read_durations(self.durations))


def score(localizer: str, folder: Path, truth: Truth, only_predicted: bool) -> dict:
    """Return the metrics of a localizer's predictions, and how many videos they are over."""
    name, task, rule, _ = RESULT_FILES[localizer]
    options = EvaluationOptions(
        subset=truth.subset,
        rule=rule,
        durations=truth.durations,
        tasks=truth.tasks,
        only_predicted=only_predicted,
    )
    report = evaluate_files(folder / name, truth.annotations, task, options)
    return {
        "metrics": report.metrics,
        "num_videos": report.num_videos_with_predictions,
        "coverage": report.coverage,
        "rule": report.rule,
    }


def predicted_videos(localizer: str, folder: Path, truth: Truth) -> list[str]:
    """Return the annotated videos that a localizer has predictions for, in the order of the annotations."""
    path = folder / RESULT_FILES[localizer][0]
    if localizer == "gtad":
        found = {str(video) for video in read_results(path).video_ids}
    elif localizer == "actionness":
        found = set(read_actionness(path))
    else:
        found = {video for video, _ in read_moments(path)}
    return [video.video_id for video in truth.videos.videos if video.video_id in found]


def score_of_draws(localizer: str, folder: Path, truth: Truth, videos: Sequence[str]) -> ScoreDrawn:
    """Return what scores drawn videos, by their places in `videos`; one that is drawn twice counts twice."""
    path = folder / RESULT_FILES[localizer][0]
    if localizer == "gtad":
        return _detection_scorer(path, truth, videos)
    if localizer == "actionness":
        return _actionness_scorer(path, truth, videos)
    return _grounding_scorer(localizer, path, truth, videos)


def _detection_scorer(path: Path, truth: Truth, videos: Sequence[str]) -> ScoreDrawn:
    annotated, found = truth.videos.segment_table(), read_results(path)
    has_classes = set(found.labels) <= set(annotated.labels)
    rows = [_rows_by_video(table, videos) for table in (annotated, found)]

    def draw(table: SegmentTable, by_video: list[np.ndarray], drawn: np.ndarray) -> SegmentTable:
        names = [f"{place} {number}" for number, place in enumerate(drawn)]
        chosen = [by_video[place] for place in drawn]
        every = np.concatenate(chosen)
        return SegmentTable.from_columns(
            np.repeat(names, [len(part) for part in chosen]).tolist(),
            [table.labels[place] for place in table.label_index[every]] if has_classes else None,
            table.segments_s[every],
            None if table.scores is None else table.scores[every],
            names,
        )

    def score_drawn(drawn: np.ndarray) -> float:
        true, predicted = draw(annotated, rows[0], drawn), draw(found, rows[1], drawn)
        # Classes that no drawn video shows have no average precision.
        known = [place for place, label in enumerate(predicted.labels) if label in true.labels]
        kept = np.flatnonzero(np.isin(predicted.label_index, known))
        return activitynet_map(true, predicted.select_rows(kept)).average_map

    return score_drawn


def _rows_by_video(table: SegmentTable, videos: Sequence[str]) -> list[np.ndarray]:
    names = [str(name) for name in table.video_ids]
    return [np.flatnonzero(table.video_index == names.index(video)) for video in videos]


def _actionness_scorer(path: Path, truth: Truth, videos: Sequence[str]) -> ScoreDrawn:
    others = set(truth.videos.by_id) - set(videos)  # whose lengths may be unknown
    found, steps = read_actionness(path), truth.videos.without_videos(others).step_annotations()

    def score_drawn(drawn: np.ndarray) -> float:
        chosen = {f"{number}": videos[place] for number, place in enumerate(drawn)}
        return evaluate_actionness(
            {name: steps[video] for name, video in chosen.items()},
            {name: found[video] for name, video in chosen.items()},
        ).pooled_ap

    return score_drawn


def _grounding_scorer(localizer: str, path: Path, truth: Truth, videos: Sequence[str]) -> ScoreDrawn:
    rule = RESULT_FILES[localizer][2] or "2d-tan"
    annotations = truth.videos.cut_to_videos() if rule == "2d-tan" else truth.videos
    pairs = pair_moments(annotations, read_moments(path))
    owners = np.array([video.video_id for video in annotations.videos for _ in video.queries])
    rows = [np.flatnonzero(owners == video) for video in videos]

    def score_drawn(drawn: np.ndarray) -> float:
        every = np.concatenate([rows[place] for place in drawn])
        scores = evaluate_grounding(
            [pairs.predicted_s[row] for row in every], [pairs.annotated_s[row] for row in every], rule=rule
        )
        return scores.mean_iou if localizer == "lgi" else scores.recall_at(1, 0.5)

    return score_drawn


@dataclass(frozen=True)
class Difference:
    """How far one lies above another, mean over seeds.

    Args:
        difference (`float`): On all videos.
        low (`float`): Lower end of the 95 % interval over drawn videos.
        high (`float`): Its upper end.
        p (`float`): Share of draws in which the difference is not above 0, and at least one in so many
            draws; one-sided.
        num_videos (`int`): Videos.
        num_seeds (`int`): Seeds.
    """

    difference: float
    low: float
    high: float
    p: float
    num_videos: int
    num_seeds: int


def paired_difference(
    ours: Sequence[ScoreDrawn], theirs: Sequence[ScoreDrawn], num_videos: int, num_draws: int = 500
) -> Difference:
    """Compare two rows, each with a scorer for every seed, by drawing the same videos for both.

    Draws in which a score is undefined, because what is looked for is in none of the videos, are left out.
    """
    rng = np.random.default_rng(0)
    everything = np.arange(num_videos)

    def gap(drawn: np.ndarray) -> float:
        return float(np.mean([one(drawn) for one in ours]) - np.mean([one(drawn) for one in theirs]))

    gaps = np.array([gap(rng.integers(num_videos, size=num_videos)) for _ in range(num_draws)])
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        raise ValueError(f"{num_draws} draws of {num_videos} videos hold nothing to find.")
    low, high = np.percentile(gaps, [2.5, 97.5])
    p = max(float((gaps <= 0).mean()), 1 / len(gaps))
    return Difference(gap(everything), float(low), float(high), p, num_videos, len(ours))


def rank_correlation(ours: Sequence[float], papers: Sequence[float]) -> float:
    """Return Spearman's correlation, equal numbers sharing the mean of their ranks; NaN where one side is
    constant or fewer than two rows are compared.
    """
    # Rounded, so that means that differ by the order of summation are equal.
    ranks = [_ranks(np.round(np.asarray(values, dtype=float), 9)) for values in (ours, papers)]
    if len(ranks[0]) != len(ranks[1]):
        raise ValueError(f"{len(ours)} numbers cannot be compared with {len(papers)}.")
    if len(ranks[0]) < 2 or any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
