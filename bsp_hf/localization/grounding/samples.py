"""Features, spans and queries of one video to what 2D-TAN and LGI are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature

from bsp_hf.metrics import pairwise_tiou

from .queries import pad_words


@dataclass(frozen=True)
class GroundingSample:
    """One query of one video, ready to be batched.

    Args:
        features (`np.ndarray`): float32 `(num_rows, feature_dim)`.
        query (`np.ndarray`): Word vectors float32 `(num_words, word_dim)`, word numbers int64 `(num_words,)`
            or a sentence vector float32 `(word_dim,)`.
        labels (`np.ndarray`, *optional*): 2D-TAN: float32 `(num_clips, num_clips)`, tIoU of every cell. LGI:
            float32 `(2,)`, start and end as fractions.
        attention_labels (`np.ndarray`, *optional*): LGI: float32 `(num_rows,)`, 1 for rows inside the span.
    """

    features: np.ndarray
    query: np.ndarray
    labels: np.ndarray | None = None
    attention_labels: np.ndarray | None = None


def average_rows(features: ArrayLike, num_rows: int = 256, normalize: bool = True) -> np.ndarray:
    """Average a video's features to exactly `num_rows` rows, as 2D-TAN does.

    With n source rows, edge i is `min(round(i / num_rows * n), n - 1)`, halves rounded to even. Row i is the
    mean of the source rows from edge i up to edge i + 1, or the row at edge i where that is empty. So from
    n = 1.5 * num_rows on the last source row is never used.

    Args:
        features (`ArrayLike`): `(num_snippets, feature_dim)`.
        num_rows (`int`, *optional*, defaults to 256): Rows to return.
        normalize (`bool`, *optional*, defaults to `True`): Scale each source row to length 1 first.

    Returns:
        `np.ndarray`: float32 `(num_rows, feature_dim)` in memory of its own.

    Raises:
        ValueError: If `features` is not a matrix with at least one row.
    """
    rows = _check_features(features)
    if normalize:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    edges = np.minimum(np.rint(np.arange(num_rows + 1) / num_rows * len(rows)), len(rows) - 1).astype(
        np.int64
    )
    # reduceat sums edge to edge and takes the single row at an edge where that is empty; its last entry runs
    # to the end of the video and is not one of ours.
    sums = np.add.reduceat(rows, edges, axis=0, dtype=np.float64)[:-1]
    return (sums / np.maximum(np.diff(edges), 1)[:, None]).astype(np.float32)


def span_ious(segment_s: Sequence[float], duration_s: float, num_clips: int) -> np.ndarray:
    """Return the tIoU of every cell of 2D-TAN's map with an annotated segment.

    Cell `(i, j)` spans `[i, j + 1] * duration_s / num_clips`. All cells are computed, those below the
    diagonal too; the loss masks them.

    Args:
        segment_s (`Sequence[float]`): Start and end in seconds.
        duration_s (`float`): Duration of the video in seconds.
        num_clips (`int`): Side of the map.

    Returns:
        `np.ndarray`: float64 `(num_clips, num_clips)` in [0, 1].

    Raises:
        ValueError: If the duration is not positive or the segment does not end after its start.
    """
    _check_segment(segment_s, duration_s)
    edges_s = np.arange(num_clips + 1) * duration_s / num_clips
    cells_s = np.stack(np.broadcast_arrays(edges_s[:-1, None], edges_s[None, 1:]), axis=-1)
    return pairwise_tiou(cells_s.reshape(-1, 2), [segment_s], "hull").reshape(num_clips, num_clips)


def sample_row_indices(
    num_snippets: int, num_rows: int = 128, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Choose the feature rows that LGI reads.

    All of them if they fit, else row `round(k * num_snippets / num_rows)`, halves rounded to even. In
    training a random whole number below the stride less one half is added in front of the rounding.

    Args:
        num_snippets (`int`): Feature rows of the video.
        num_rows (`int`, *optional*, defaults to 128): Rows to choose at most.
        rng (`np.random.Generator`, *optional*): Source of the training shift; none gives the test rule.

    Returns:
        `np.ndarray`: int64 `(min(num_snippets, num_rows),)`, ascending.
    """
    if num_snippets <= num_rows:
        return np.arange(num_snippets, dtype=np.int64)
    stride = num_snippets / num_rows
    start = 0 if rng is None else rng.integers(0, int(np.ceil(stride - 0.5)))
    return np.rint(start + np.arange(num_rows) * stride).astype(np.int64)


def attention_target(
    segment_s: Sequence[float], duration_s: float, num_snippets: int, num_rows: int = 128
) -> np.ndarray:
    """Mark the rows inside an annotated segment, the target of LGI's temporal attention.

    With n = `min(num_snippets, num_rows)`, the first row is `min(round(start / duration * n), n - 1)` and the
    last `max(round(end / duration * n), first + 1)`, inclusive. As published, the last can be row n, one into
    the padding of a short video.

    Args:
        segment_s (`Sequence[float]`): Start and end in seconds.
        duration_s (`float`): Duration of the video in seconds.
        num_snippets (`int`): Feature rows of the video, before sampling.
        num_rows (`int`, *optional*, defaults to 128): Rows of the network.

    Returns:
        `np.ndarray`: float32 `(num_rows,)`, 0 or 1.

    Raises:
        ValueError: If the duration is not positive or the segment does not end after its start.
    """
    _check_segment(segment_s, duration_s)
    num_real = min(num_snippets, num_rows)
    first = min(round(segment_s[0] / duration_s * num_real), num_real - 1)
    last = max(round(segment_s[1] / duration_s * num_real), first + 1)
    target = np.zeros(num_rows, dtype=np.float32)
    target[first : last + 1] = 1
    return target


def make_tan_sample(
    features: ArrayLike,
    word_vectors: np.ndarray,
    duration_s: float,
    segment_s: Sequence[float] | None = None,
    num_rows: int = 256,
    num_clips: int = 16,
    normalize: bool = True,
) -> GroundingSample:
    """Prepare one query for [`~bsp_hf.localization.tan.modeling_tan.TANForVideoGrounding`] (SPEC 5.1).

    Args:
        features (`ArrayLike`): `(num_snippets, feature_dim)`.
        word_vectors (`np.ndarray`): float32 `(num_words, word_dim)`, or `(word_dim,)` for a sentence vector.
        duration_s (`float`): Duration of the video in seconds.
        segment_s (`Sequence[float]`, *optional*): Annotated start and end in seconds.
        num_rows (`int`, *optional*, defaults to 256): The config's `num_rows`.
        num_clips (`int`, *optional*, defaults to 16): The config's `num_clips`.
        normalize (`bool`, *optional*, defaults to `True`): Scale feature rows to length 1 first.

    Returns:
        `GroundingSample`: The sample, with `labels` if a segment was given.
    """
    labels = None if segment_s is None else span_ious(segment_s, duration_s, num_clips).astype(np.float32)
    return GroundingSample(average_rows(features, num_rows, normalize), np.asarray(word_vectors), labels)


def make_lgi_sample(
    features: ArrayLike,
    word_ids: np.ndarray,
    duration_s: float,
    segment_s: Sequence[float] | None = None,
    num_rows: int = 128,
    rng: np.random.Generator | None = None,
) -> GroundingSample:
    """Prepare one query for [`~bsp_hf.localization.lgi.modeling_lgi.LGIForVideoGrounding`] (SPEC 6.1).

    Args:
        features (`ArrayLike`): `(num_snippets, feature_dim)`, not normalised.
        word_ids (`np.ndarray`): int64 `(num_words,)`, or word vectors `(num_words, word_dim)`.
        duration_s (`float`): Duration of the video in seconds.
        segment_s (`Sequence[float]`, *optional*): Annotated start and end in seconds; the end may pass the
            duration, as it does in Charades-STA.
        num_rows (`int`, *optional*, defaults to 128): The config's `num_rows`.
        rng (`np.random.Generator`, *optional*): Source of the training shift; none gives the test rule.

    Returns:
        `GroundingSample`: The sample, with both labels if a segment was given.
    """
    rows = _check_features(features)
    sampled = rows[sample_row_indices(len(rows), num_rows, rng)]
    if segment_s is None:
        return GroundingSample(sampled, np.asarray(word_ids))
    target = attention_target(segment_s, duration_s, len(rows), num_rows)
    fractions = np.asarray(segment_s, dtype=np.float32) / np.float32(duration_s)
    return GroundingSample(sampled, np.asarray(word_ids), fractions, target)


def collate_grounding_samples(
    samples: Sequence[GroundingSample], num_words: int | None = None
) -> BatchFeature:
    """Batch samples; the keys are the arguments of the networks' `forward`.

    Args:
        samples (`Sequence[GroundingSample]`): Samples of one kind.
        num_words (`int`, *optional*): Pad queries to this length rather than to the longest one.

    Returns:
        `BatchFeature`: `features` and `feature_mask` (only if videos differ in rows), `word_vectors` or
        `word_ids` with `word_mask`, or `sentence_vectors`; `labels` and `attention_labels` where the samples
        have them.

    Raises:
        ValueError: If there is no sample, or only some of them have labels.
    """
    if not samples:
        raise ValueError("no sample to batch.")
    rows = [torch.from_numpy(sample.features) for sample in samples]
    batch = BatchFeature({"features": pad_sequence(rows, batch_first=True)})
    if len({len(row) for row in rows}) > 1:
        ones = [torch.ones(len(row)) for row in rows]
        batch["feature_mask"] = pad_sequence(ones, batch_first=True)
    queries = [sample.query for sample in samples]
    is_ids = np.issubdtype(queries[0].dtype, np.integer)
    if queries[0].ndim == 1 and not is_ids:
        batch["sentence_vectors"] = torch.from_numpy(np.stack(queries))
    else:
        padded = pad_words(queries, num_words)
        batch["word_ids" if is_ids else "word_vectors"] = padded.words
        batch["word_mask"] = padded.mask
    for name in ("labels", "attention_labels"):
        values = [getattr(sample, name) for sample in samples]
        num_missing = sum(value is None for value in values)
        if 0 < num_missing < len(values):
            raise ValueError(
                f"{num_missing} of {len(values)} samples have no {name}; give all of them or none."
            )
        if not num_missing:
            batch[name] = torch.from_numpy(np.stack(values))
    return batch


def _check_features(features: ArrayLike) -> np.ndarray:
    rows = np.asarray(features, dtype=np.float32)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(
            f"features have shape {rows.shape}, expected (num_snippets, feature_dim), 1 row or more."
        )
    return rows


def _check_segment(segment_s: Sequence[float], duration_s: float) -> None:
    if not duration_s > 0:
        raise ValueError(f"duration_s={duration_s} must be positive.")
    if not segment_s[0] < segment_s[1]:
        raise ValueError(f"segment {list(segment_s)} must end after its start. Drop the annotation.")
