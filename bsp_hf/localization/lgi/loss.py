"""The three losses of LGI: the span, where to look, and phrases that differ."""

import torch
from torch.nn import functional as F


def span_loss(spans: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the smooth-L1 of the start plus that of the end, `(batch, 2)`, each averaged over the batch."""
    spans = _at_least_float32(spans)
    return 2 * F.smooth_l1_loss(spans, labels.to(spans.dtype))


def attention_guidance_loss(attention: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log attention inside the annotated span.

    Both are `(batch, num_rows)`: weights that sum to 1, and 1 inside the span, in at least one row.
    """
    attention = _at_least_float32(attention)  # which alone has the 1e-8 below
    target = target.to(attention.dtype)
    return -((target * (attention + 1e-8).log()).sum(dim=1) / target.sum(dim=1)).mean()


def distinct_attention_loss(attention: torch.Tensor, overlap: float) -> torch.Tensor:
    """Return the penalty on phrases that look at the same words: `|A A^T - overlap * I|^2` (Frobenius).

    A is `attention`, `(batch, num_phrases, num_words)`; `overlap` is the squared norm asked of each phrase.
    """
    attention = _at_least_float32(attention)
    products = attention @ attention.transpose(1, 2)
    wanted = overlap * torch.eye(products.shape[1], device=products.device, dtype=products.dtype)
    return (products - wanted).square().sum(dim=(1, 2)).mean()


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
