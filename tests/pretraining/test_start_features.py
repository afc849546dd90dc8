"""The second loss that keeps the features a model starts with."""

import pytest
import torch
from support.tiny import random_clips, randomize, tiny_backbone

from bsp_hf import BSPConfig, BSPForBoundaryClassification
from bsp_hf.pretraining.choices import FEATURE_ERRORS
from bsp_hf.pretraining.start_features import StartFeatures

CLIPS = random_clips(3, 4, 3, 32, 32)


def tiny_model(family="efficientnet-lite", **fields):
    config = BSPConfig(backbone_config=tiny_backbone(family), classifier_dropout=0.0, **fields)
    return randomize(BSPForBoundaryClassification(config))


def still(model):
    """The model in training, with batch norms as in evaluation: what it computes is what the start does."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return model


@pytest.mark.parametrize("family", ["efficientnet-lite", "resnet", "videomae"])
@pytest.mark.parametrize("error", FEATURE_ERRORS)
def test_a_model_without_shift_starts_without_error(family, error):
    model = tiny_model(family, shift_place="none")
    clips = random_clips(2, 8, 3, 32, 32)
    start = StartFeatures(model, error)
    still(model)(clips)
    assert start.loss(clips).item() == pytest.approx(0, abs=1e-6)


def test_errors_equal_those_that_are_written_out():
    model = tiny_model()
    with torch.no_grad():
        unshifted = tiny_model(shift_place="none").eval().bsp(CLIPS).last_hidden_state
        shifted = model.eval().bsp(CLIPS).last_hidden_state
    products = (unshifted * shifted).sum(-1) / unshifted.norm(dim=-1) / shifted.norm(dim=-1)
    expected = {"mse": ((unshifted - shifted) ** 2).mean(), "cosine": 1 - products.mean()}
    for error in FEATURE_ERRORS:
        start = StartFeatures(model, error)
        still(model)(CLIPS)
        assert expected[error] > 1e-4
        torch.testing.assert_close(start.loss(CLIPS), expected[error])


def test_the_start_stays_what_it_was_and_belongs_to_no_checkpoint():
    model = tiny_model()
    names = list(model.state_dict())
    start = StartFeatures(model)
    assert list(model.state_dict()) == names and model.config.shift_place == "blockres"
    kept = {name: value.clone() for name, value in start.start.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    loss = model(CLIPS, labels=torch.tensor([0, 1, 2])).loss
    (loss + start.loss(CLIPS)).backward()
    assert all(p.grad is None for p in start.start.parameters())
    optimizer.step()
    for name, value in start.start.state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert not torch.equal(
        model.bsp.backbone.head.convolution.weight, kept["backbone.head.convolution.weight"]
    )


def test_the_loss_draws_features_back_to_the_start():
    distances = {}
    for weight in (0.0, 100.0):
        model = still(tiny_model())
        start = StartFeatures(model, "mse")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = model(CLIPS, labels=torch.tensor([0, 1, 2])).loss
            (loss + weight * start.loss(CLIPS)).backward()
            optimizer.step()
        model(CLIPS)
        distances[weight] = start.loss(CLIPS).item()
    assert distances[100.0] < 0.5 * distances[0.0]


def test_features_of_other_clips_are_never_compared():
    model = tiny_model()
    start = StartFeatures(model)
    with pytest.raises(RuntimeError, match="found nothing; run the model on them in training mode"):
        start.loss(CLIPS)
    model.train()(CLIPS)
    start.loss(CLIPS)
    with pytest.raises(RuntimeError, match="found nothing"):  # once for each pass
        start.loss(CLIPS)
    model.eval()(CLIPS)
    with pytest.raises(RuntimeError, match="found nothing"):
        start.loss(CLIPS)
    model.train()(CLIPS[:2])
    with pytest.raises(RuntimeError, match=r"\(3, 4, 48\) of these clips, found \(2, 4, 48\)"):
        start.loss(CLIPS)
    with pytest.raises(ValueError, match="error='l1' is not one of cosine, mse"):
        StartFeatures(model, "l1")
