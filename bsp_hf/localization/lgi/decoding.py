"""LGI's fractions of a video to segments in seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.suppression import ABSENT, Detections


def decode_lgi(spans: ArrayLike, durations_s: Sequence[float]) -> list[Detections]:
    """Return fractions `(batch, 2)` as one segment per query in seconds, with score 1 (SPEC 6.4).

    Nothing is clipped or put in order: the published evaluation takes the numbers as they come.
    """
    fractions = np.asarray(spans, dtype=np.float64)
    if fractions.shape != (len(durations_s), 2):
        raise ValueError(f"spans have shape {fractions.shape}, expected ({len(durations_s)}, 2).")
    if not np.isfinite(fractions).all():
        raise ValueError("spans must be finite; look for a diverged model.")
    segments_s = fractions * np.asarray(durations_s, dtype=np.float64)[:, None]
    no_class = np.full(1, ABSENT, dtype=np.int64)
    return [Detections(segment[None], np.ones(1), no_class) for segment in segments_s]
