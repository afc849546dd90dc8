"""Features, a span and a query of one video to what LGI is trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.localization.grounding.samples import GroundingSample, check_features, check_segment

from .configuration_lgi import LGIConfig


def sample_row_indices(
    num_snippets: int, num_rows: int = 128, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Return the feature rows that LGI reads, int64 `(min(num_snippets, num_rows),)`, ascending.

    All of them if they fit, else row `round(k * num_snippets / num_rows)`, halves rounded to even. In
    training, with `rng`, a random whole number below the stride less one half is added in front of the
    rounding.
    """
    if num_snippets <= num_rows:
        return np.arange(num_snippets, dtype=np.int64)
    stride = num_snippets / num_rows
    start = 0 if rng is None else rng.integers(0, int(np.ceil(stride - 0.5)))
    return np.rint(start + np.arange(num_rows) * stride).astype(np.int64)


def attention_target(
    segment_s: Sequence[float], duration_s: float, num_snippets: int, num_rows: int = 128
) -> np.ndarray:
    """Return 1 for the rows inside an annotated segment, else 0: the target of the temporal attention.

    With n = `min(num_snippets, num_rows)`, the first row is `min(round(start / duration * n), n - 1)` and the
    last `max(round(end / duration * n), first + 1)`, inclusive. As published, the last can be row n, one into
    the padding of a short video.
    """
    check_segment(segment_s, duration_s)
    num_real = min(num_snippets, num_rows)
    first = min(round(segment_s[0] / duration_s * num_real), num_real - 1)
    last = max(round(segment_s[1] / duration_s * num_real), first + 1)
    target = np.zeros(num_rows, dtype=np.float32)
    target[first : last + 1] = 1
    return target


def make_lgi_sample(
    config: LGIConfig,
    features: ArrayLike,
    query: np.ndarray,
    duration_s: float,
    segment_s: Sequence[float] | None = None,
    rng: np.random.Generator | None = None,
) -> GroundingSample:
    """Prepare one query for [`LGIForVideoGrounding`], with both labels if a segment is given (SPEC 6.1).

    `query` is int64 `(num_words,)`, or word vectors `(num_words, word_dim)`. The end of the segment may pass
    the duration, as it does in Charades-STA. Without `rng` rows are sampled by the test rule.
    """
    rows = check_features(features)
    sampled = rows[sample_row_indices(len(rows), config.num_rows, rng)]
    if segment_s is None:
        return GroundingSample(sampled, np.asarray(query))
    target = attention_target(segment_s, duration_s, len(rows), config.num_rows)
    fractions = np.asarray(segment_s, dtype=np.float32) / np.float32(duration_s)
    return GroundingSample(sampled, np.asarray(query), fractions, target)
