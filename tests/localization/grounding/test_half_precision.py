"""The grounding networks in bfloat16 and float16 on a processor: numbers close to those of float32."""

import numpy as np
import pytest
import torch
from support.tiny_localizers import SENTENCE, TASKS, companions_of, tiny_localizer, tiny_track
from transformers import pipeline

from bsp_hf import save_localizer_folder

HALVES = {torch.bfloat16: 0.03, torch.float16: 0.004}
NETWORKS = {
    "tan": {},
    "tan-conv": {"proposals": "conv"},
    "tan-sentence": {"query_encoder": "sentence"},
    "lgi": {},
    "lgi-vectors": {"query_input": "word_vectors"},
}


def make(name: str) -> torch.nn.Module:
    return tiny_localizer(name.partition("-")[0], **NETWORKS[name])


def inputs_of(model, scale: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    config = model.config
    inputs = {"features": scale * torch.randn(3, config.num_rows, config.feature_dim, generator=generator)}
    if config.vocabulary_size is not None:
        return inputs | {"word_ids": torch.tensor([[4, 5, 6], [7, 0, 0], [8, 1, 0]])}
    if config.reads_sentence_vectors:
        return inputs | {"sentence_vectors": torch.randn(3, config.word_dim, generator=generator)}
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0], [1, 1, 0]])
    words = torch.randn(3, 3, config.word_dim, generator=generator) * mask[:, :, None]
    return inputs | {"word_vectors": words, "word_mask": mask}


def labels_of(model) -> dict[str, torch.Tensor]:
    if model.config.model_type == "tan":
        return {"labels": torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))}
    rows = torch.zeros(3, model.config.num_rows)
    rows[:, 2:6] = 1
    return {"labels": torch.tensor([[0.1, 0.4]] * 3), "attention_labels": rows}


def outputs_of(output) -> dict[str, torch.Tensor]:
    names = ("loss", "logits", "probabilities", "spans", "temporal_attention")
    return {name: output[name].float() for name in names if output.get(name) is not None}


def check_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_in_half_precision_take_inputs_of_any_type(name, dtype):
    model = make(name)
    inputs, labels = inputs_of(model), labels_of(model)
    with torch.no_grad():
        expected = outputs_of(model(**inputs, **labels))
        model = model.to(dtype)
        check_close(outputs_of(model(**inputs, **labels)), expected, HALVES[dtype])
        halved = {
            key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()
        }
        check_close(outputs_of(model(**halved, **labels)), expected, 2 * HALVES[dtype])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_under_autocast_has_the_gradients_of_float32(name, dtype):
    model = make(name)
    inputs, labels = inputs_of(model), labels_of(model)
    expected = model(**inputs, **labels).loss
    wanted = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    with torch.autocast("cpu", dtype):
        loss = model(**inputs, **labels).loss
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert loss.item() == pytest.approx(expected.item(), rel=HALVES[dtype])
    for mine, other in zip(found, wanted, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None and other.norm() > 1e-3 * expected:
            assert torch.cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_that_overflow_or_vanish_in_half_precision_stay_finite(name, dtype):
    model = make(name).to(dtype)
    for scale in (0.0, 1e-5, 100.0):
        output = model(**inputs_of(model, scale), **labels_of(model))
        assert all(bool(value.isfinite().all()) for value in outputs_of(output).values()), scale


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", ["tan", "lgi"])
def test_the_pipeline_runs_in_the_type_asked_for(kind, dtype, tmp_path):
    folder = save_localizer_folder(tiny_localizer(kind), tmp_path / kind, **companions_of(kind))
    expected = pipeline(TASKS[kind], model=str(folder))(tiny_track(), SENTENCE, top_k=36)
    find = pipeline(TASKS[kind], model=str(folder), dtype=dtype)
    assert find.model.dtype == dtype
    found = find(tiny_track(), SENTENCE, top_k=36)
    scores = [sorted(moment["score"] for moment in moments) for moments in (found, expected)]
    if kind == "lgi":
        times = [[moment["start_s"], moment["end_s"]] for moments in (found, expected) for moment in moments]
        np.testing.assert_allclose(times[0], times[1], atol=HALVES[dtype])
    else:
        np.testing.assert_allclose(scores[0][-3:], scores[1][-3:], atol=HALVES[dtype])
