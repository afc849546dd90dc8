"""Features, targets and batches of LGI."""

import numpy as np
import torch

from bsp_hf.localization.grounding.samples import collate_grounding_samples
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.lgi.samples import attention_target, make_lgi_sample, sample_row_indices


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


def test_lgi_batch_feeds_the_network():
    config = LGIConfig(feature_dim=6, hidden_dim=8, vocab_size=20, word_dim=5, attention_dim=4)
    rng = np.random.default_rng(1)
    samples = [
        make_lgi_sample(
            config, rng.normal(size=(length, 6)), np.arange(4, 4 + words), 20.0, [2.0, 9.0], rng=rng
        )
        for length, words in ((300, 4), (11, 2))
    ]
    batch = collate_grounding_samples(samples, num_words=10)
    assert batch["features"].shape == (2, 128, 6) and batch["word_ids"].shape == (2, 10)
    assert batch["feature_mask"].sum(dim=1).tolist() == [128, 11]
    torch.testing.assert_close(batch["labels"], torch.tensor([[0.1, 0.45], [0.1, 0.45]]))
    output = LGIForVideoGrounding(config)(**batch)
    assert output.loss.isfinite()
    # Short videos alone are padded by the network to the same effect.
    alone = collate_grounding_samples(samples[1:])
    assert alone["features"].shape == (1, 11, 6) and "feature_mask" not in alone


def test_the_end_of_a_segment_may_pass_the_duration_in_lgi():
    sample = make_lgi_sample(LGIConfig(), np.zeros((200, 3)), np.array([4]), 10.0, [8.0, 11.0])
    np.testing.assert_allclose(sample.labels, [0.8, 1.1], rtol=1e-6)
    assert np.flatnonzero(sample.attention_labels).tolist() == list(range(102, 128))
