"""Features, a span and a query of one video to what 2D-TAN is trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.grounding.samples import GroundingSample, check_features, check_segment
from bsp_hf.metrics import pairwise_tiou

from .configuration_tan import TANConfig


def average_rows(features: ArrayLike, num_rows: int = 256, normalize: bool = True) -> np.ndarray:
    """Average a video's features to float32 `(num_rows, feature_dim)`, as 2D-TAN does.

    With n source rows, edge i is `min(round(i / num_rows * n), n - 1)`, halves rounded to even. Row i is the
    mean of the source rows from edge i up to edge i + 1, or the row at edge i where that is empty. So from
    n = 1.5 * num_rows on the last source row is never used. `normalize` scales each source row to length 1
    first.
    """
    rows = check_features(features)
    if normalize:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    edges = np.rint(np.arange(num_rows + 1) / num_rows * len(rows))
    edges = np.minimum(edges, len(rows) - 1).astype(np.int64)
    # reduceat sums edge to edge and takes the single row at an edge where that is empty; its last entry runs
    # to the end of the video and is not one of ours.
    sums = np.add.reduceat(rows, edges, axis=0, dtype=np.float64)[:-1]
    return (sums / np.maximum(np.diff(edges), 1)[:, None]).astype(np.float32)


def span_ious(segment_s: Sequence[float], duration_s: float, num_clips: int) -> np.ndarray:
    """Return the tIoU of every cell of 2D-TAN's map with an annotated segment, `(num_clips, num_clips)`.

    Cell `(i, j)` spans `[i, j + 1] * duration_s / num_clips`. All cells are computed, those below the
    diagonal too; the loss masks them.
    """
    check_segment(segment_s, duration_s)
    edges_s = np.arange(num_clips + 1) * duration_s / num_clips
    cells_s = np.stack(np.broadcast_arrays(edges_s[:-1, None], edges_s[None, 1:]), axis=-1)
    return pairwise_tiou(cells_s.reshape(-1, 2), [segment_s], "hull").reshape(num_clips, num_clips)


def make_tan_sample(
    config: TANConfig,
    features: ArrayLike,
    query: np.ndarray,
    duration_s: float,
    segment_s: Sequence[float] | None = None,
    rng: np.random.Generator | None = None,
) -> GroundingSample:
    """Prepare one query for [`TANForVideoGrounding`], with labels if a segment is given (SPEC 5.1).

    `query` is float32 `(num_words, word_dim)`, or `(word_dim,)` for a sentence vector. Nothing is drawn from
    `rng`.
    """
    rows = average_rows(features, config.num_rows, config.normalize_features)
    if segment_s is None:
        return GroundingSample(rows, np.asarray(query))
    if segment_s[0] < duration_s:  # as published, a moment is cut at the end of the video
        segment_s = (segment_s[0], min(segment_s[1], duration_s))
    labels = span_ious(segment_s, duration_s, config.num_clips).astype(np.float32)
    return GroundingSample(rows, np.asarray(query), labels)
