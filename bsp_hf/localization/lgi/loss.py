"""The three losses of LGI: the span, where to look, and phrases that differ."""

import torch
from torch.nn import functional as F


def span_loss(spans: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the smooth-L1 of the start plus that of the end, each averaged over the batch.

    Args:
        spans (`torch.Tensor`): `(batch, 2)`, predicted start and end as fractions of the video.
        labels (`torch.Tensor`): `(batch, 2)`, annotated ones.

    Returns:
        `torch.Tensor`: Scalar.
    """
    return 2 * F.smooth_l1_loss(spans, labels.to(spans.dtype))


def attention_guidance_loss(attention: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log attention inside the annotated span.

    Args:
        attention (`torch.Tensor`): `(batch, num_rows)`, weights that sum to 1.
        target (`torch.Tensor`): `(batch, num_rows)`, 1 inside the span, else 0; at least one row each.

    Returns:
        `torch.Tensor`: Scalar, averaged over the batch.
    """
    target = target.to(attention.dtype)
    return -((target * (attention + 1e-8).log()).sum(dim=1) / target.sum(dim=1)).mean()


def distinct_attention_loss(attention: torch.Tensor, overlap: float) -> torch.Tensor:
    """Return the penalty on phrases that look at the same words: `|A A^T - overlap * I|^2` (Frobenius).

    Args:
        attention (`torch.Tensor`): `(batch, num_phrases, num_words)`, A: weights that sum to 1 per phrase.
        overlap (`float`): Squared norm asked of each phrase's weights.

    Returns:
        `torch.Tensor`: Scalar, averaged over the batch.
    """
    products = attention @ attention.transpose(1, 2)
    wanted = overlap * torch.eye(products.shape[1], device=products.device, dtype=products.dtype)
    return (products - wanted).square().sum(dim=(1, 2)).mean()
