"""2D-TAN's maps of scores to ranked segments in seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.suppression import ABSENT, Detections, temporal_nms_batch


def decode_tan(
    probabilities: ArrayLike, durations_s: Sequence[float], nms_threshold: float, max_segments: int = 5
) -> list[Detections]:
    """Return the best spans of every query in seconds, less those that overlap a better one (SPEC 5.4).

    `probabilities` are `(batch, num_clips, num_clips)`, row = first clip, column = last clip. All cells with
    first clip <= last clip take part; those that hold no span (probability 0) come last. A span whose tIoU
    with a better one exceeds `nms_threshold` is dropped.
    """
    maps = np.asarray(probabilities, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or len(maps) != len(durations_s):
        raise ValueError(
            f"probabilities have shape {maps.shape}, expected ({len(durations_s)}, num_clips, num_clips)."
        )
    if np.isnan(maps).any():
        raise ValueError("probabilities hold NaN; look for a diverged model.")
    first, last = np.triu_indices(maps.shape[1])
    fractions = np.stack([first, last + 1], axis=1) / maps.shape[1]
    segments_s = fractions * np.asarray(durations_s, dtype=np.float64)[:, None, None]
    scores = maps[:, first, last]
    found = []
    for row, kept in enumerate(temporal_nms_batch(segments_s, scores, nms_threshold, max_segments)):
        order = kept[kept != ABSENT]
        no_class = np.full(len(order), ABSENT, dtype=np.int64)
        found.append(Detections(segments_s[row][order], scores[row][order], no_class))
    return found
