"""Samples of a grounding network, one query each, and their batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature

from .queries import pad_words


@dataclass(frozen=True)
class GroundingSample:
    """One query of one video, ready to be batched.

    `features` is float32 `(num_rows, feature_dim)`. `query` is word vectors float32 `(num_words, word_dim)`,
    word numbers int64 `(num_words,)` or a sentence vector float32 `(word_dim,)`. `labels` are for 2D-TAN the
    tIoU of every cell, for LGI start and end as fractions; `attention_labels` are 1 for rows in the span.
    """

    features: np.ndarray
    query: np.ndarray
    labels: np.ndarray | None = None
    attention_labels: np.ndarray | None = None


def collate_grounding_samples(
    samples: Sequence[GroundingSample], num_words: int | None = None
) -> BatchFeature:
    """Batch samples of one kind; the keys are the arguments of the networks' `forward`.

    `feature_mask` is there only if videos differ in rows. Queries are padded to the longest one, or to
    `num_words`.
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
        words = "word_ids" if is_ids else "word_vectors"
        batch[words], batch["word_mask"] = pad_words(queries, num_words)
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


def check_features(features: ArrayLike) -> np.ndarray:
    """Return features as float32 `(num_snippets, feature_dim)`; anything else and no row are refused."""
    rows = np.asarray(features, dtype=np.float32)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(
            f"features have shape {rows.shape}, expected (num_snippets, feature_dim), 1 row or more."
        )
    return rows


def check_segment(segment_s: Sequence[float], duration_s: float) -> None:
    """Check that a segment ends after its start, and that the duration is positive."""
    if not duration_s > 0:
        raise ValueError(f"duration_s={duration_s} must be positive.")
    if not segment_s[0] < segment_s[1]:
        raise ValueError(f"segment {list(segment_s)} must end after its start. Drop the annotation.")
