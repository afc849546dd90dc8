"""2D-TAN's loss: binary cross-entropy against rescaled tIoUs."""

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

    `logits` and `ious` are `(batch, num_clips, num_clips)`; `mask` is broadcastable to them.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = (ious.to(logits.dtype) - min_iou) * (1 - bias) / (max_iou - min_iou)
    targets = torch.where(targets > 0, targets + bias, targets).clamp(0, 1)
    weight = mask.to(logits.dtype).expand_as(logits)
    summed = F.binary_cross_entropy_with_logits(logits, targets, weight=weight, reduction="sum")
    return summed / weight.sum()
