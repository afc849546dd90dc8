"""What all localizers' models have in common."""

import pytest
import torch
from support.tiny_localizers import DIM, tiny_localizer

INPUTS = {
    "tan": {"features": torch.randn(2, 16, DIM), "word_vectors": torch.randn(2, 3, 6)},
    "lgi": {"features": torch.randn(2, 16, DIM), "word_ids": torch.tensor([[4, 5], [6, 7]])},
    "actionness": {"features": torch.randn(2, 5, DIM)},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_misspelt_arguments_are_refused_by_name(kind):
    model = tiny_localizer(kind)
    with pytest.raises(TypeError, match=rf"{type(model).__name__} takes no argument label, output_hidden"):
        model(**INPUTS[kind], output_hidden=True, label=torch.zeros(2))


@pytest.mark.parametrize("kind", INPUTS)
def test_arguments_that_trainers_pass_to_every_model_are_passed_over(kind):
    model = tiny_localizer(kind)
    generic = {"output_attentions": False, "num_items_in_batch": torch.tensor(2), "use_cache": False}
    found, expected = model(**INPUTS[kind], **generic), model(**INPUTS[kind])
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    # A trainer that took it for scaled would not divide the loss by the batches it accumulates.
    assert model.accepts_loss_kwargs is False
