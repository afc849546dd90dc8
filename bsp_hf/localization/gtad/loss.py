"""Losses of G-TAD: balanced logistic losses of boundaries and anchors, and a sampled regression of tIoU."""

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-6
NODE_THRESHOLD = 0.5
ANCHOR_THRESHOLD = 0.9
HIGH_IOU = 0.7
LOW_IOU = 0.3


@dataclass(frozen=True)
class GTADLoss:
    """The loss of a batch and its terms, all scalars; `total` is their weighted sum."""

    total: Tensor
    node: Tensor
    regression: Tensor
    classification: Tensor


def anchor_mask(num_steps: int, max_duration: int, device: torch.device | str | None = None) -> Tensor:
    """Return which map cells hold an anchor that ends in time, float32 `(max_duration, num_steps)`.

    A cell is 1 where start + duration index < `num_steps`, else 0.
    """
    durations = torch.arange(max_duration, device=device)[:, None]
    return (torch.arange(num_steps, device=device)[None] + durations < num_steps).float()


def node_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the balanced logistic loss of a start or end curve; 0 where the batch holds no boundary.

    Scores are probabilities `(batch, num_steps)`, a label above 0.5 counts as a boundary.
    """
    positive = (labels > NODE_THRESHOLD).to(scores.dtype)
    return _balanced_logistic(scores, positive, 1 - positive, smoothing=0.0)


def map_classification_loss(scores: Tensor, ious: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the balanced logistic loss of the anchors; 0 where there is no positive one and no smoothing.

    Scores and target tIoU are `(batch, max_duration, num_steps)`; above 0.9 counts as an action. `smoothing`
    is added to the number of positives and twice to that of all anchors; it is 10 in the THUMOS14 setting.
    """
    ious = ious * mask
    positive = (ious > ANCHOR_THRESHOLD).to(scores.dtype)
    negative = (ious <= ANCHOR_THRESHOLD).to(scores.dtype) * mask
    return _balanced_logistic(scores, positive, negative, smoothing)


def _balanced_logistic(scores: Tensor, positive: Tensor, negative: Tensor, smoothing: float) -> Tensor:
    num_positive = positive.sum() + smoothing
    num_entries = num_positive + negative.sum() + smoothing
    # The reference divides by the number of positives and of negatives: without one its loss is NaN and ends
    # the training. Choice: without positives the term is 0, without negatives their (empty) share is.
    positive_weight = 0.5 * num_entries / num_positive.clamp(min=EPSILON)
    negative_weight = 0.5 * num_entries / (num_entries - num_positive).clamp(min=EPSILON)
    terms = positive_weight * positive * torch.log(scores + EPSILON)
    terms = terms + negative_weight * negative * torch.log(1 - scores + EPSILON)
    return torch.where(num_positive > 0, -terms.sum() / num_entries.clamp(min=EPSILON), 0.0)


def map_regression_loss(scores: Tensor, ious: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """Return half the mean squared error of the anchors' tIoU, over all high and sampled lower ones.

    With h, m and l anchors of high (> 0.7), middle and low (<= 0.3, > 0) target, a middle one is kept where
    its noise exceeds `1 - h / m`, a low one where it exceeds `1 - h / l`: about h of each. As in the
    reference, in a batch with more high than middle (or low) anchors that bound is negative, and every cell
    of the map counts once more, masked ones included. Without a high anchor the loss is 0. `noise` is
    `(2, batch, max_duration, num_steps)`, uniform in [0, 1), for the middle and the low anchors.
    """
    if noise.shape != (2, *scores.shape):
        raise ValueError(f"noise must have the shape {(2, *scores.shape)}, got {tuple(noise.shape)}.")
    ious = ious * mask
    high = ious > HIGH_IOU
    middle = (ious > LOW_IOU) & ~high
    low = (ious > 0) & (ious <= LOW_IOU)
    num_high = high.sum().to(scores.dtype)
    weights = high.to(scores.dtype)
    for band, uniform in ((middle, noise[0]), (low, noise[1])):
        # 0 / 0 gives NaN, which keeps nothing, as it should: no high anchors, so none of the others either.
        weights = weights + (band * uniform > 1 - num_high / band.sum()).to(scores.dtype)
    total = weights.sum()
    errors = torch.square(weights * (scores - ious)).sum()
    # Choice: 0 instead of the reference's 0 / 0 where no anchor is kept.
    return torch.where(total > 0, 0.5 * errors / total.clamp(min=1), 0.0)


def gtad_loss(
    iou_map: Tensor,
    start: Tensor,
    end: Tensor,
    iou_map_labels: Tensor,
    start_labels: Tensor,
    end_labels: Tensor,
    noise: Tensor,
    weights: tuple[float, float, float] = (1.0, 10.0, 1.0),
    smoothing: float = 0.0,
) -> GTADLoss:
    """Return the training loss of G-TAD, computed over the whole batch at once.

    `iou_map` is `(batch, 2, max_duration, num_steps)`, regressed tIoU and then probability; starts and ends
    are `(batch, num_steps)`; `weights` are those of node, regression and classification loss, (1, 1, 10) in
    the THUMOS14 setting.
    """
    pairs = (
        ("iou_map_labels", iou_map_labels, iou_map[:, 0]),
        ("start_labels", start_labels, start),
        ("end_labels", end_labels, end),
    )
    for name, labels, scores in pairs:
        if labels.shape != scores.shape:
            raise ValueError(f"{name} must have the shape {tuple(scores.shape)}, got {tuple(labels.shape)}.")
    mask = anchor_mask(iou_map.shape[3], iou_map.shape[2], iou_map.device).to(iou_map.dtype)
    node = node_loss(start, start_labels) + node_loss(end, end_labels)
    regression = map_regression_loss(iou_map[:, 0], iou_map_labels, mask, noise)
    classification = map_classification_loss(iou_map[:, 1], iou_map_labels, mask, smoothing)
    total = weights[0] * node + weights[1] * regression + weights[2] * classification
    return GTADLoss(total, node, regression, classification)
