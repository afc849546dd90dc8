"""Features, targets and batches of 2D-TAN."""

from itertools import pairwise

import numpy as np
import pytest

from bsp_hf.localization.grounding.samples import collate_grounding_samples
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.samples import attention_target, make_lgi_sample
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding
from bsp_hf.localization.tan.samples import average_rows, make_tan_sample, span_ious


def test_averaged_rows_are_the_published_ones(golden):
    case = golden("tan/dataset")
    for index in range(5):
        case.check(f"clips{index}", average_rows(case.inputs[f"feat{index}"], 256, normalize=False))


def test_samples_are_the_published_ones(golden):
    case = golden("tan/dataset")
    for index, annotation in enumerate(case.meta["config"]["kept_annotations"]):
        features = case.inputs[f"video_{annotation['video']}"]
        duration_s, segment_s = annotation["duration"], annotation["times"]
        sample = make_tan_sample(TANConfig(), features, np.zeros((2, 4)), duration_s, segment_s)
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
        make_lgi_sample(LGIConfig(), features, np.array([4]), 10.0)


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


def test_tan_batch_feeds_the_network():
    config = TANConfig(feature_dim=6, hidden_dim=8, word_dim=5, text_hidden_dim=8)
    rng = np.random.default_rng(1)
    samples = [
        make_tan_sample(
            config, rng.normal(size=(length, 6)), rng.normal(size=(words, 5)).astype(np.float32), 20.0, [2, 9]
        )
        for length, words in ((300, 4), (11, 2))
    ]
    batch = collate_grounding_samples(samples)
    assert sorted(batch) == ["features", "labels", "word_mask", "word_vectors"]
    assert TANForVideoGrounding(config)(**batch).loss.isfinite()
