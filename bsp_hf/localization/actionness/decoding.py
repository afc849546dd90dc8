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
    """Join neighbouring segments that are likely a step.

    Args:
        probabilities (`ArrayLike`): `(num_segments,)` in [0, 1], as
            [`~bsp_hf.localization.actionness.modeling_actionness.ActionnessModel`] gives them.
        segment_s (`float`): Length of a segment in seconds.
        duration_s (`float`): Where the last segment ends at the latest, in seconds.
        threshold (`float`, *optional*, defaults to 0.5): Smallest probability inside a step.
        max_gap_s (`float`, *optional*, defaults to 0.4): Gaps of at most so many seconds are bridged.
        min_step_s (`float`, *optional*, defaults to 0.4): Shorter runs, gaps bridged, are dropped.

    Returns:
        `Detections`: Ascending in time, class 0. A score is the mean probability over the run, gaps included.

    Raises:
        ValueError: If a number is out of range, or the probabilities are not a vector.
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
