"""Actionness: average precision of "some step happens here" over short segments of a video."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .segments import as_segments

LABELLINGS = ("any_overlap", "center")

_MIN_OVERLAP_S = 1e-9  # what a segment must share with a step, so that touching ends do not count by rounding


@dataclass(frozen=True, eq=False)
class StepAnnotation:
    """The annotated steps of one video.

    Args:
        duration_s (`float`): Length of the video in seconds, positive.
        steps_s (`ArrayLike`): Start and end of each step in seconds, `(num_steps, 2)`; may be empty.
    """

    duration_s: float
    steps_s: npt.ArrayLike


@dataclass(frozen=True, eq=False)
class ActionnessScores:
    """How well scores separate segments with a step from those without.

    Args:
        pooled_ap (`float`): AP over the segments of all scored videos together, in 0 to 1; NaN without
            positives.
        mean_video_ap (`float`): Mean AP of the scored videos that have a positive segment; NaN if none has.
        video_ap (`dict`): AP of each scored video by id; NaN for one without a positive segment.
        num_videos (`int`): Videos of the ground truth.
        num_videos_scored (`int`): Those with scores; the numbers above are over these alone.
        num_segments (`int`): Segments of the scored videos.
        num_positive_segments (`int`): Those of them that hold a step.
    """

    pooled_ap: float
    mean_video_ap: float
    video_ap: dict[str, float]
    num_videos: int
    num_videos_scored: int
    num_segments: int
    num_positive_segments: int


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return binary average precision without interpolation.

    The sum over distinct scores, descending, of recall step times precision; equal scores enter together, so
    their order never matters. This is what scikit-learn's `average_precision_score` computes.

    Args:
        labels (`ArrayLike`): 0 or 1 each, `(num_segments,)`.
        scores (`ArrayLike`): Higher is more confident, `(num_segments,)`; not NaN.

    Returns:
        `float`: In 0 to 1; NaN if no label is 1 (scikit-learn warns and gives 0, which would be averaged in).

    Raises:
        ValueError: If lengths differ, a label is neither 0 nor 1, or a score is NaN.

    Example:
    ```python
    >>> from bsp_hf.metrics import average_precision
    >>> average_precision([1, 0], [0.5, 0.5])
    0.5

    ```
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(
            f"labels has shape {truth.shape} and scores {values.shape}; expected two equal 1-D arrays."
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels holds {np.setdiff1d(truth, (0, 1))[:3].tolist()}; each must be 0 or 1.")
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN. Correct the model's output."
        )
    num_positives = int(truth.sum())
    if num_positives == 0:
        return math.nan
    order = np.argsort(-values, kind="stable")
    values = values[order]
    last_of_score = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    num_found = np.cumsum(truth[order].astype(np.float64))[last_of_score]
    precision = num_found / (last_of_score + 1)
    recall = num_found / num_positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def label_segments(
    annotation: StepAnnotation, *, segment_s: float = 0.2, labelling: str = "any_overlap"
) -> np.ndarray:
    """Cut a video into equal segments and return which hold a step (Sec. 4.3 of the paper).

    Segment i covers `[i * segment_s, (i + 1) * segment_s)`; there are `ceil(duration / segment_s)`, so the
    last may run past the end of the video. A tail shorter than 1e-9 s makes no segment: 0.6 / 0.2 is 3 of
    them, however the division rounds.

    The paper fixes no labelling, so there are two: `"any_overlap"` counts a segment that shares more than
    1e-9 s with a step; `"center"` one whose centre lies in `[start, end)` of a step.

    Args:
        annotation (`StepAnnotation`): Duration and steps of the video. A step of no or negative length
            holds nothing.
        segment_s (`float`): Length of a segment in seconds. Defaults to 0.2.
        labelling (`str`): `"any_overlap"` or `"center"`. Defaults to `"any_overlap"`.

    Returns:
        `np.ndarray`: int64, `(num_segments,)`, 1 where a step is.

    Raises:
        ValueError: If the duration or the segment length is not a positive number, a step is not finite, or
            `labelling` is another word.

    Example:
    ```python
    >>> from bsp_hf.metrics import StepAnnotation, label_segments
    >>> video = StepAnnotation(duration_s=1.0, steps_s=[[0.35, 0.65]])
    >>> label_segments(video), label_segments(video, labelling="center")
    (array([0, 1, 1, 1, 0]), array([0, 0, 1, 0, 0]))

    ```
    """
    if labelling not in LABELLINGS:
        raise ValueError(f"labelling is {labelling!r}; expected one of {LABELLINGS}.")
    if not (math.isfinite(segment_s) and segment_s > 0):
        raise ValueError(f"segment_s is {segment_s}; expected a positive number of seconds.")
    if not (math.isfinite(annotation.duration_s) and annotation.duration_s > 0):
        raise ValueError(f"duration_s is {annotation.duration_s}; expected a positive number of seconds.")
    steps = as_segments(annotation.steps_s, "steps_s")
    num_segments = max(1, math.ceil((annotation.duration_s - _MIN_OVERLAP_S) / segment_s))
    starts = np.arange(num_segments) * segment_s
    positive = np.zeros(num_segments, dtype=bool)
    for (
        step_start,
        step_end,
    ) in steps:  # one step at a time: a long video times all its steps need not fit in memory
        if labelling == "center":
            centers = starts + segment_s / 2
            positive |= (centers >= step_start) & (centers < step_end)
        else:
            shared_s = np.minimum(starts + segment_s, step_end) - np.maximum(starts, step_start)
            positive |= shared_s > _MIN_OVERLAP_S
    return positive.astype(np.int64)


def evaluate_actionness(
    ground_truth: Mapping[str, StepAnnotation],
    scores: Mapping[str, npt.ArrayLike],
    *,
    segment_s: float = 0.2,
    labelling: str = "any_overlap",
) -> ActionnessScores:
    """Score segment-wise actionness: AP pooled over all segments, and averaged over videos.

    The paper reports one AP and does not say which of the two, nor how segments are labelled; state both
    choices beside a number. Choice: a video without scores is left out of the numbers, since no segment of
    it has a place in the order, and shows in `num_videos_scored`.

    Args:
        ground_truth (`Mapping`): Annotation of each video by id.
        scores (`Mapping`): Scores of each video by id, `(num_segments,)` as [`label_segments`] cuts it.
        segment_s (`float`): Length of a segment in seconds. Defaults to 0.2.
        labelling (`str`): `"any_overlap"` or `"center"`, see [`label_segments`]. Defaults to `"any_overlap"`.

    Returns:
        `ActionnessScores`: Both averages, the AP of each video, and how many videos had scores.

    Raises:
        ValueError: If no video has scores, a scored video has no annotation, the number of scores is not the
            number of segments, a score is NaN, or an annotation is malformed.
    """
    unknown = [video for video in scores if video not in ground_truth]
    if unknown:
        raise ValueError(f"{len(unknown)} scored videos have no annotation, first {unknown[0]!r}.")
    if not scores:
        raise ValueError(f"None of the {len(ground_truth)} annotated videos has scores.")
    all_labels, all_scores, video_ap = [], [], {}
    for video, annotation in ground_truth.items():
        if video not in scores:
            continue
        try:
            labels = label_segments(annotation, segment_s=segment_s, labelling=labelling)
            values = np.asarray(scores[video], dtype=np.float64)
            if values.shape != labels.shape:
                raise ValueError(
                    f"scores have shape {values.shape}, but {annotation.duration_s} s make {len(labels)} "
                    f"segments of {segment_s} s. Resample the scores to one a segment."
                )
            video_ap[video] = average_precision(labels, values)
        except ValueError as error:
            raise ValueError(f"Video {video!r}: {error}") from error
        all_labels.append(labels)
        all_scores.append(values)
    pooled_labels = np.concatenate(all_labels)
    defined = [ap for ap in video_ap.values() if not math.isnan(ap)]
    return ActionnessScores(
        pooled_ap=average_precision(pooled_labels, np.concatenate(all_scores)),
        mean_video_ap=float(np.mean(defined)) if defined else math.nan,
        video_ap=video_ap,
        num_videos=len(ground_truth),
        num_videos_scored=len(video_ap),
        num_segments=len(pooled_labels),
        num_positive_segments=int(pooled_labels.sum()),
    )
