"""Features, targets and batches of 2D-TAN and LGI."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from bsp_hf.localization.grounding.samples import (
    GroundingSample,
    attention_target,
    average_rows,
    collate_grounding_samples,
    make_lgi_sample,
    make_tan_sample,
    sample_row_indices,
    span_ious,
)
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding


def test_averaged_rows_are_the_published_ones(golden):
    case = golden("tan/dataset")
    for index in range(5):
        case.check(f"clips{index}", average_rows(case.inputs[f"feat{index}"], 256, normalize=False))


def test_samples_are_the_published_ones(golden):
    case = golden("tan/dataset")
    for index, annotation in enumerate(case.meta["config"]["kept_annotations"]):
        features = case.inputs[f"video_{annotation['video']}"]
        duration_s, segment_s = annotation["duration"], annotation["times"]
        sample = make_tan_sample(features, np.zeros((2, 4)), duration_s, segment_s)
        case.check(f"item{index}_clips", sample.features)
        case.check(f"item{index}_gt_map", sample.labels)
        ious = span_ious(segment_s, duration_s, num_clips=16)
        case.check(f"item{index}_gt_map", ious)
        case.check(f"item{index}_gt_cell", np.unravel_index(ious.argmax(), ious.shape))


@pytest.mark.parametrize(("num_snippets", "num_rows"), [(1, 4), (3, 8), (8, 8), (11, 4), (100, 7)])
def test_each_averaged_row_is_the_mean_between_two_edges(num_snippets, num_rows):
    features = np.random.default_rng(0).normal(size=(num_snippets, 3)).astype(np.float32)
    edges = [min(round(i / num_rows * num_snippets), num_snippets - 1) for i in range(num_rows + 1)]
    expected = [
        features[start:stop].mean(axis=0) if start < stop else features[start]
        for start, stop in pairwise(edges)
    ]
    np.testing.assert_allclose(average_rows(features, num_rows, normalize=False), expected, atol=1e-6)


def test_rows_are_scaled_to_length_one_before_they_are_averaged():
    features = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    found = average_rows(features, num_rows=2)
    # Edges 0, 2, 3: the last row is never used, and a zero row stays zero.
    np.testing.assert_allclose(found, [[0.3, 0.4], [0.0, 1.0]], atol=1e-7)
    assert found.dtype == np.float32


def test_features_stay_as_they_were():
    features = np.ones((4, 2), dtype=np.float32)
    average_rows(features, 4, normalize=False)[:] = 7
    average_rows(features, 2)
    assert (features == 1).all()


@pytest.mark.parametrize("features", [np.zeros((0, 4)), np.zeros(4), np.zeros((2, 3, 4))])
def test_features_of_another_shape_are_refused(features):
    with pytest.raises(ValueError, match="num_snippets, feature_dim"):
        average_rows(features)
    with pytest.raises(ValueError, match="num_snippets, feature_dim"):
        make_lgi_sample(features, np.array([4]), 10.0)


def test_span_ious_by_hand():
    found = span_ious([2.0, 6.0], duration_s=8.0, num_clips=4)
    # Cells in seconds: row = start 0, 2, 4, 6; column = end 2, 4, 6, 8.
    expected = [[0, 2 / 6, 4 / 6, 4 / 8], [0, 0.5, 1.0, 4 / 6], [0, 0, 0.5, 2 / 6], [0, 0, 0, 0]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("make", [span_ious, attention_target])
def test_impossible_annotations_are_refused(make):
    with pytest.raises(ValueError, match="must end after its start"):
        make([5.0, 5.0], 10.0, 16)
    with pytest.raises(ValueError, match="duration_s=0"):
        make([1.0, 5.0], 0.0, 16)


def test_sampled_rows_are_the_published_ones(golden_json):
    expected = golden_json("lgi/evaluation")["fixed_length_rows_test_split"]
    for case in expected["cases"]:
        found = sample_row_indices(case["features"], expected["segments"])
        assert found.tolist() == case["rows"]
        assert expected["segments"] - len(found) == case["zero_rows"]


def test_attention_targets_are_the_published_ones(golden_json):
    for case in golden_json("lgi/evaluation")["attention_target_index"]:
        target = attention_target([case["start"], case["end"]], case["duration"], case["features"])
        inside = np.flatnonzero(target)
        # At 128 rows the last index may be 128, one behind the array.
        assert (inside[0], inside[-1]) == (case["first"], min(case["last"], 127))
        assert len(inside) == inside[-1] - inside[0] + 1


def test_training_shift_moves_all_rows_together_and_stays_inside():
    rng = np.random.default_rng(0)
    # Stride 3.125: shifts 0, 1 and 2 occur; the largest whole number below 3.125 - 0.5 is 2.
    seen = {tuple(sample_row_indices(400, 128, rng)) for _ in range(60)}
    assert seen == {tuple(np.rint(start + np.arange(128) * 3.125).astype(int)) for start in range(3)}
    assert max(max(rows) for rows in seen) <= 399
    # Stride 1.5: 1.5 - 0.5 is whole, so 1 itself is not drawn.
    assert {tuple(sample_row_indices(192, 128, rng)) for _ in range(30)} == {tuple(sample_row_indices(192))}
    assert sample_row_indices(128, 128, rng).tolist() == list(range(128))


def test_tan_batch_feeds_the_network():
    rng = np.random.default_rng(1)
    samples = [
        make_tan_sample(
            rng.normal(size=(length, 6)), rng.normal(size=(words, 5)).astype(np.float32), 20.0, [2, 9]
        )
        for length, words in ((300, 4), (11, 2))
    ]
    batch = collate_grounding_samples(samples)
    assert sorted(batch) == ["features", "labels", "word_mask", "word_vectors"]
    config = TANConfig(feature_dim=6, hidden_dim=8, word_dim=5, text_hidden_dim=8)
    assert TANForVideoGrounding(config)(**batch).loss.isfinite()


def test_sentence_vectors_are_batched_without_padding():
    samples = [
        GroundingSample(np.ones((4, 2), np.float32), np.full(3, i, dtype=np.float32)) for i in range(2)
    ]
    batch = collate_grounding_samples(samples)
    assert sorted(batch) == ["features", "sentence_vectors"]
    assert batch["sentence_vectors"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_lgi_batch_feeds_the_network():
    rng = np.random.default_rng(1)
    samples = [
        make_lgi_sample(rng.normal(size=(length, 6)), np.arange(4, 4 + words), 20.0, [2.0, 9.0], rng=rng)
        for length, words in ((300, 4), (11, 2))
    ]
    batch = collate_grounding_samples(samples, num_words=10)
    assert batch["features"].shape == (2, 128, 6) and batch["word_ids"].shape == (2, 10)
    assert batch["feature_mask"].sum(dim=1).tolist() == [128, 11]
    torch.testing.assert_close(batch["labels"], torch.tensor([[0.1, 0.45], [0.1, 0.45]]))
    config = LGIConfig(feature_dim=6, hidden_dim=8, vocab_size=20, word_dim=5, attention_dim=4)
    output = LGIForVideoGrounding(config)(**batch)
    assert output.loss.isfinite()
    # Short videos alone are padded by the network to the same effect.
    alone = collate_grounding_samples(samples[1:])
    assert alone["features"].shape == (1, 11, 6) and "feature_mask" not in alone


def test_the_end_of_a_segment_may_pass_the_duration_in_lgi():
    sample = make_lgi_sample(np.zeros((200, 3)), np.array([4]), 10.0, [8.0, 11.0])
    np.testing.assert_allclose(sample.labels, [0.8, 1.1], rtol=1e-6)
    assert np.flatnonzero(sample.attention_labels).tolist() == list(range(102, 128))


def test_a_batch_with_some_labels_is_refused():
    features, query = np.ones((4, 2), np.float32), np.array([4])
    samples = [GroundingSample(features, query, np.zeros(2, np.float32)), GroundingSample(features, query)]
    with pytest.raises(ValueError, match="1 of 2 samples have no labels"):
        collate_grounding_samples(samples)
    with pytest.raises(ValueError, match="no sample"):
        collate_grounding_samples([])
