"""Batches of the grounding networks."""

import numpy as np
import pytest

from bsp_hf.localization.grounding.samples import GroundingSample, collate_grounding_samples


def test_sentence_vectors_are_batched_without_padding():
    samples = [
        GroundingSample(np.ones((4, 2), np.float32), np.full(3, i, dtype=np.float32)) for i in range(2)
    ]
    batch = collate_grounding_samples(samples)
    assert sorted(batch) == ["features", "sentence_vectors"]
    assert batch["sentence_vectors"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_batch_with_some_labels_is_refused():
    features, query = np.ones((4, 2), np.float32), np.array([4])
    samples = [GroundingSample(features, query, np.zeros(2, np.float32)), GroundingSample(features, query)]
    with pytest.raises(ValueError, match="1 of 2 samples have no labels"):
        collate_grounding_samples(samples)
    with pytest.raises(ValueError, match="no sample"):
        collate_grounding_samples([])
