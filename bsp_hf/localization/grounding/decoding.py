"""Scores and spans of the grounding networks to ranked segments in seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.suppression import ABSENT, Detections, temporal_nms_batch


def rank_tan_spans(probabilities: ArrayLike, durations_s: Sequence[float]) -> list[Detections]:
    """List every span of 2D-TAN's maps, best first (SPEC 5.4).

    All cells with first clip <= last clip take part; those that hold no span (probability 0) come last. Equal
    probabilities keep the order of the map, row by row.

    Args:
        probabilities (`ArrayLike`): `(batch, num_clips, num_clips)`, row = first clip, column = last clip.
        durations_s (`Sequence[float]`): Duration of each video in seconds.

    Returns:
        `list[Detections]`: One per query, segments in seconds, no classes.

    Raises:
        ValueError: If the shapes disagree or a probability is NaN.
    """
    segments_s, scores = _spans_in_seconds(probabilities, durations_s)
    order = np.argsort(-scores, axis=1, kind="stable")
    return [_detections(segments_s[row], scores[row], order[row]) for row in range(len(scores))]


def decode_tan(
    probabilities: ArrayLike, durations_s: Sequence[float], nms_threshold: float, max_segments: int = 5
) -> list[Detections]:
    """Rank 2D-TAN's spans and suppress those that overlap a better one.

    Args:
        probabilities (`ArrayLike`): `(batch, num_clips, num_clips)`, row = first clip, column = last clip.
        durations_s (`Sequence[float]`): Duration of each video in seconds.
        nms_threshold (`float`): tIoU above which a lower-ranked span is dropped (`config.nms_threshold`).
        max_segments (`int`, *optional*, defaults to 5): Segments to keep per query.

    Returns:
        `list[Detections]`: One per query, best first, segments in seconds, no classes.

    Raises:
        ValueError: If the shapes disagree or a probability is NaN.
    """
    segments_s, scores = _spans_in_seconds(probabilities, durations_s)
    kept = temporal_nms_batch(segments_s, scores, nms_threshold, max_segments)
    return [
        _detections(segments_s[row], scores[row], kept[row][kept[row] != ABSENT]) for row in range(len(kept))
    ]


def decode_lgi(spans: ArrayLike, durations_s: Sequence[float]) -> list[Detections]:
    """Turn LGI's fractions into one segment per query (SPEC 6.4).

    Nothing is clipped or put in order: the published evaluation takes the numbers as they come.

    Args:
        spans (`ArrayLike`): `(batch, 2)`, start and end as fractions of the video.
        durations_s (`Sequence[float]`): Duration of each video in seconds.

    Returns:
        `list[Detections]`: One per query with one segment in seconds, score 1, no class.

    Raises:
        ValueError: If the shapes disagree.
    """
    fractions = np.asarray(spans, dtype=np.float64)
    if fractions.shape != (len(durations_s), 2):
        raise ValueError(f"spans have shape {fractions.shape}, expected ({len(durations_s)}, 2).")
    segments_s = fractions * np.asarray(durations_s, dtype=np.float64)[:, None]
    return [_detections(segment[None], np.ones(1), np.zeros(1, dtype=np.int64)) for segment in segments_s]


def _spans_in_seconds(
    probabilities: ArrayLike, durations_s: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    maps = np.asarray(probabilities, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or len(maps) != len(durations_s):
        raise ValueError(
            f"probabilities have shape {maps.shape}, expected ({len(durations_s)}, num_clips, num_clips)."
        )
    if np.isnan(maps).any():
        raise ValueError("probabilities hold NaN; look for a diverged model.")
    first, last = np.triu_indices(maps.shape[1])
    fractions = np.stack([first, last + 1], axis=1) / maps.shape[1]
    return fractions * np.asarray(durations_s, dtype=np.float64)[:, None, None], maps[:, first, last]


def _detections(segments_s: np.ndarray, scores: np.ndarray, order: np.ndarray) -> Detections:
    return Detections(segments_s[order], scores[order], np.full(len(order), ABSENT, dtype=np.int64))
