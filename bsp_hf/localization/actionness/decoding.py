"""From framewise actionness to segments: runs above a threshold, small gaps bridged, short runs dropped."""

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.suppression import Detections

# Far below a segment, far above what rounding does to a time.
_SAME_TIME_S = 1e-9


def find_step_segments(
    probabilities: ArrayLike,
    segment_s: float,
    duration_s: float,
    threshold: float = 0.5,
    max_gap_s: float = 0.4,
    min_step_s: float = 0.4,
) -> Detections:
    """Join adjacent segments that are likely a step; ascending in time, class 0.

    `probabilities` are `(num_segments,)`, each of a segment of `segment_s` seconds; the last one ends at
    `duration_s` at the latest. Gaps of at most `max_gap_s` inside a step are bridged, and steps shorter than
    `min_step_s`, gaps included, are dropped. A score is the mean probability over the step, gaps included.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(f"probabilities must be a vector without NaN, got shape {values.shape}.")
    if not (segment_s > 0 and duration_s >= 0 and max_gap_s >= 0 and min_step_s >= 0):
        raise ValueError(
            f"segment_s={segment_s} must be positive; duration_s={duration_s}, max_gap_s={max_gap_s} and "
            f"min_step_s={min_step_s} must not be negative."
        )
    edges = np.flatnonzero(np.diff(np.pad(values >= threshold, 1).astype(np.int8)))
    first, end = edges[::2], edges[1::2]
    if len(first):
        apart = (first[1:] - end[:-1]) * segment_s > max_gap_s + _SAME_TIME_S
        first, end = first[np.append(True, apart)], end[np.append(apart, True)]
    segments_s = np.stack([first, end], axis=1) * segment_s
    segments_s = np.minimum(segments_s, duration_s)
    kept = np.diff(segments_s, axis=1)[:, 0] >= min(min_step_s, duration_s) - _SAME_TIME_S
    scores = [values[low:high].mean() for low, high in zip(first[kept], end[kept], strict=True)]
    return Detections(
        segments_s[kept].reshape(-1, 2), np.array(scores, dtype=np.float64), np.zeros(kept.sum(), np.int64)
    )
