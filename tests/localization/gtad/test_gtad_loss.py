"""The losses of both published branches, their gradients, and batches the reference cannot handle."""

import math

import numpy as np
import pytest
import torch

from bsp_hf.localization.gtad.loss import (
    anchor_mask,
    gtad_loss,
    map_classification_loss,
    map_regression_loss,
    node_loss,
)

SETTINGS = {
    "anet": {"weights": (1.0, 10.0, 1.0), "smoothing": 0.0},
    "thumos": {"weights": (1.0, 1.0, 10.0), "smoothing": 10.0},
}


def brute_balanced(scores, positive, negative, smoothing=0.0):
    n = sum(positive) + smoothing
    total = n + sum(negative) + smoothing
    ratio = total / n
    pos, neg = 0.5 * ratio, 0.5 * ratio / (ratio - 1)
    terms = (
        pos * p * math.log(s + 1e-6) + neg * q * math.log(1 - s + 1e-6)
        for s, p, q in zip(scores, positive, negative, strict=True)
    )
    return -sum(terms) / total


@pytest.mark.parametrize("branch", ["anet", "thumos"])
def test_losses_and_gradients_match_the_reference(golden, branch):
    case = golden(f"gtad/loss_{branch}")
    inputs = {name: torch.from_numpy(value) for name, value in case.inputs.items()}
    leaves = [inputs[name].requires_grad_() for name in ("pred_map", "pred_start", "pred_end")]
    labels = [inputs[name] for name in ("gt_iou_map", "gt_start", "gt_end")]
    rng = np.random.RandomState(case.meta["seed"])
    drawn = [rng.rand(*labels[0].shape) for _ in range(2)]
    for name, values in zip(("medium", "low"), drawn, strict=True):
        case.check(f"noise_{name}_first8", values.ravel()[:8])
    noise = torch.from_numpy(np.stack(drawn)).float()
    loss = gtad_loss(*leaves, *labels, noise, **SETTINGS[branch])
    loss.total.backward()
    case.check("total", loss.total.detach())
    case.check("node", loss.node.detach())
    case.check("map_regression", loss.regression.detach())
    case.check("map_classification", loss.classification.detach())
    for name, leaf in zip(("map", "start", "end"), leaves, strict=True):
        case.check(f"grad_pred_{name}", leaf.grad)
    case.check("mask", anchor_mask(labels[0].shape[2], labels[0].shape[1]))


def test_mask_marks_anchors_that_end_in_time():
    assert anchor_mask(4, 3).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]


def test_node_loss_equals_a_plain_sum():
    scores, labels = [0.2, 0.9, 0.4, 0.6, 0.1], [0.0, 1.0, 0.5, 0.51, 0.2]
    positive = [label > 0.5 for label in labels]
    expected = brute_balanced(scores, positive, [not p for p in positive])
    assert node_loss(torch.tensor([scores]), torch.tensor([labels])).item() == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 10.0])
def test_classification_ignores_masked_anchors(smoothing):
    mask = anchor_mask(3, 2)
    ious = torch.tensor([[[0.95, 0.2, 0.9], [0.91, 0.5, 1.0]]])
    scores = torch.tensor([[[0.7, 0.3, 0.2], [0.4, 0.6, 0.99]]])
    expected = brute_balanced([0.7, 0.3, 0.2, 0.4, 0.6], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1], smoothing)
    got = map_classification_loss(scores, ious, mask, smoothing)
    assert got.item() == pytest.approx(expected, rel=1e-5)


class TestRegression:
    mask = torch.ones(1, 6)
    ious = torch.tensor([[[0.8, 0.6, 0.5, 0.2, 0.1, 0.0]]])
    scores = torch.tensor([[[0.5, 0.5, 0.1, 0.4, 0.1, 0.9]]])

    def loss(self, middle, low):
        noise = torch.zeros(2, 1, 1, 6)
        noise[0, 0, 0, 1:3], noise[1, 0, 0, 3:5] = torch.tensor(middle), torch.tensor(low)
        return map_regression_loss(self.scores, self.ious, self.mask, noise).item()

    def test_samples_as_many_lower_anchors_as_there_are_high_ones(self):
        # One high, two middle and two low: the bound is 1 - 1/2.
        assert self.loss([0.6, 0.4], [0.4, 0.6]) == pytest.approx(0.5 * (0.3**2 + 0.1**2 + 0) / 3)
        assert self.loss([0.1, 0.4], [0.4, 0.3]) == pytest.approx(0.5 * 0.3**2)

    def test_more_high_than_middle_counts_every_cell_once_more(self):
        ious = torch.tensor([[[0.8, 0.9, 0.5, 0.2, 0.1, 0.05]]])
        # The bound of the middle is 1 - 2/1 < 0, that of the low 1 - 2/3.
        noise = torch.zeros(2, 1, 1, 6)
        weights = [2, 2, 1, 1, 1, 1]
        errors = [(w * (p - g)) ** 2 for w, p, g in zip(weights, self.scores[0, 0], ious[0, 0], strict=True)]
        got = map_regression_loss(self.scores, ious, self.mask, noise)
        assert got.item() == pytest.approx(0.5 * float(sum(errors)) / sum(weights))

    def test_noise_of_another_shape_is_named(self):
        with pytest.raises(ValueError, match=r"noise must have the shape \(2, 1, 1, 6\)"):
            map_regression_loss(self.scores, self.ious, self.mask, torch.zeros(1, 1, 6))


class TestBatchesWithoutExamples:
    """The reference returns NaN here."""

    @pytest.mark.parametrize("value", [0.0, 0.5])
    def test_no_positive_gives_zero_and_no_gradient(self, value):
        leaves = [torch.full(shape, 0.5, requires_grad=True) for shape in ((2, 2, 4, 6), (2, 6), (2, 6))]
        labels = [torch.full(shape, value) for shape in ((2, 4, 6), (2, 6), (2, 6))]
        loss = gtad_loss(*leaves, *labels, torch.rand(2, 2, 4, 6))
        loss.total.backward()
        for term in (loss.total, loss.node, loss.regression, loss.classification):
            assert term.item() == 0
        assert all((leaf.grad == 0).all() for leaf in leaves)

    def test_smoothing_keeps_the_negatives(self):
        scores, ious = torch.full((1, 2, 3), 0.5), torch.zeros(1, 2, 3)
        assert map_classification_loss(scores, ious, anchor_mask(3, 2), smoothing=10.0) > 0

    def test_no_negative_leaves_the_positives(self):
        scores = torch.full((1, 4), 0.5, requires_grad=True)
        loss = node_loss(scores, torch.ones(1, 4))
        loss.backward()
        assert loss.item() == pytest.approx(-0.5 * math.log(0.5), rel=1e-4)
        assert torch.isfinite(scores.grad).all()

    def test_certain_scores_stay_finite(self):
        scores = torch.tensor([[0.0, 1.0]], requires_grad=True)
        node_loss(scores, torch.tensor([[1.0, 0.0]])).backward()
        assert torch.isfinite(scores.grad).all()
