"""2D-TAN: every clip span of a video is scored against a sentence on a two-dimensional map.

Zhang et al., "Learning 2D Temporal Adjacent Networks for Moment Localization with Natural Language",
AAAI 2020.
"""

import torch
from torch.nn import functional as F


def tan_loss(
    logits: torch.Tensor,
    mask: torch.Tensor,
    ious: torch.Tensor,
    min_iou: float = 0.5,
    max_iou: float = 1.0,
    bias: float = 0.0,
) -> torch.Tensor:
    """Return the binary cross-entropy against rescaled tIoUs, averaged over the valid cells of the batch.

    The target of a cell is `(iou - min_iou) * (1 - bias) / (max_iou - min_iou)`, plus `bias` where that is
    positive, clipped to [0, 1].

    Args:
        logits (`torch.Tensor`): `(batch, num_clips, num_clips)` (or any shape), before the sigmoid.
        mask (`torch.Tensor`): Bool or 0/1, broadcastable to `logits`: the cells that count.
        ious (`torch.Tensor`): Shape of `logits`, tIoU with the annotation in [0, 1].
        min_iou (`float`, *optional*, defaults to 0.5): tIoU whose target is 0.
        max_iou (`float`, *optional*, defaults to 1.0): tIoU whose target is 1.
        bias (`float`, *optional*, defaults to 0.0): Added to positive targets.

    Returns:
        `torch.Tensor`: Scalar.
    """
    targets = (ious.to(logits.dtype) - min_iou) * (1 - bias) / (max_iou - min_iou)
    targets = torch.where(targets > 0, targets + bias, targets).clamp(0, 1)
    weight = mask.to(logits.dtype).expand_as(logits)
    summed = F.binary_cross_entropy_with_logits(logits, targets, weight=weight, reduction="sum")
    return summed / weight.sum()
