"""Blocks of LGI: fusion, local residual block, attention pooling and the non-local block."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

# What padding is set to in front of a softmax in the published code; finite, so that a row without anything
# valid gives a uniform distribution rather than NaN.
MASKED_LOGIT = -1e9


def masked_softmax(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the softmax over the last axis with the padding held out.

    Args:
        logits (`torch.Tensor`): `(..., length)`.
        mask (`torch.Tensor` or `None`): Bool or 0/1, broadcastable to `logits`; 0 marks padding.

    Returns:
        `torch.Tensor`: Weights of the same shape that sum to 1.
    """
    if mask is not None:
        lowest = max(MASKED_LOGIT, torch.finfo(logits.dtype).min)
        logits = logits.masked_fill(mask == 0, lowest)
    return logits.softmax(dim=-1)


class CopiedModules(nn.ModuleList):
    """Modules of equal shape that start from equal weights and then train apart, as LGI's deep copies do."""

    def start_equal(self) -> None:
        """Copy the first module's parameters into the others; what a checkpoint filled stays."""
        for other in self[1:]:
            for target, source in zip(other.parameters(), self[0].parameters(), strict=True):
                init.copy_(target, source)


class HadamardFusion(nn.Module):
    """Fuse segments with a phrase by an elementwise product of two projections.

    Args:
        dim (`int`): Width of segments, phrase and result.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(dim, dim)
        self.fc_2 = nn.Linear(dim, dim)
        self.fc_3 = nn.Linear(dim, dim)

    def forward(self, segments: torch.Tensor, phrase: torch.Tensor) -> torch.Tensor:
        """Fuse `(batch, num_rows, dim)` segments with a `(batch, dim)` phrase; the segments' shape stays."""
        product = F.relu(self.fc_1(segments)) * F.relu(self.fc_2(phrase)).unsqueeze(1)
        return F.relu(self.fc_3(product))


class LocalBlocks(nn.Module):
    """Residual convolution blocks along time, with batch norm and, as published, without masking.

    Args:
        dim (`int`): Channels.
        kernel_size (`int`): Odd kernel.
        num_blocks (`int`): How many blocks.
    """

    def __init__(self, dim: int, kernel_size: int, num_blocks: int) -> None:
        super().__init__()

        def build_convolution() -> nn.Conv1d:
            return nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, bias=False)

        self.blocks = nn.ModuleList(
            nn.Sequential(
                build_convolution(), nn.BatchNorm1d(dim), nn.ReLU(), build_convolution(), nn.BatchNorm1d(dim)
            )
            for _ in range(num_blocks)
        )

    def forward(self, segments: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_rows, dim)` to the same shape."""
        channels = segments.transpose(1, 2)
        for block in self.blocks:
            channels = F.relu(block(channels) + channels)
        return channels.transpose(1, 2)


class AttentivePooling(nn.Module):
    """Pool vectors with one learned attention.

    Args:
        dim (`int`): Width of a vector.
        attention_dim (`int`): Hidden width of the attention.
        output_dim (`int`, *optional*): Width of a linear layer behind the pooling; `None` leaves it out.
    """

    def __init__(self, dim: int, attention_dim: int, output_dim: int | None = None) -> None:
        super().__init__()
        self.feat2att = nn.Linear(dim, attention_dim, bias=False)
        self.to_alpha = nn.Linear(attention_dim, 1, bias=False)
        if output_dim is not None:
            self.fc = nn.Linear(dim, output_dim)

    def forward(
        self, vectors: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pooled vector and the weights.

        Args:
            vectors (`torch.Tensor`): `(batch, length, dim)`.
            mask (`torch.Tensor`, *optional*): `(batch, length)`, 0 marks padding.

        Returns:
            `tuple`: `(batch, output_dim or dim)` and the weights `(batch, length)`.
        """
        logits = self.to_alpha(torch.tanh(self.feat2att(vectors))).squeeze(2)
        weights = masked_softmax(logits, mask)
        pooled = torch.einsum("bl,bld->bd", weights, vectors)
        return (self.fc(pooled) if hasattr(self, "fc") else pooled), weights


class WordAttention(nn.Module):
    """Weigh words by a guide vector.

    Args:
        dim (`int`): Width of guide and words.
        attention_dim (`int`): Hidden width of the attention.
    """

    def __init__(self, dim: int, attention_dim: int) -> None:
        super().__init__()
        self.key2att = nn.Linear(dim, attention_dim)
        self.feat2att = nn.Linear(dim, attention_dim)
        self.to_alpha = nn.Linear(attention_dim, 1)

    def forward(self, guide: torch.Tensor, word_keys: torch.Tensor, word_mask: torch.Tensor) -> torch.Tensor:
        """Return the weights `(batch, num_words)` of words whose keys are `feat2att(words)`."""
        logits = self.to_alpha(torch.tanh(self.key2att(guide).unsqueeze(1) + word_keys)).squeeze(2)
        return masked_softmax(logits, word_mask)


class NonLocalBlock(nn.Module):
    """Let every segment look at every other one; residual, without output projection or normalisation.

    `v_lin` acts as the query side and `c_lin` holds keys and values, whatever their names say.

    Args:
        dim (`int`): Width of a segment.
        num_heads (`int`): Heads; each takes a contiguous slice of channels.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.c_lin = nn.Linear(dim, 2 * dim)
        self.v_lin = nn.Linear(dim, dim)

    def forward(self, segments: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the updated segments and the attention.

        Args:
            segments (`torch.Tensor`): `(batch, num_rows, dim)`.
            mask (`torch.Tensor`): `(batch, num_rows)`, 0 marks padding, which nothing looks at.

        Returns:
            `tuple`: `(batch, num_rows, dim)` and the attention `(batch, num_heads, num_rows, num_rows)`, each
            row summing to 1.
        """
        keys, values = (self._split_heads(part) for part in self.c_lin(segments).chunk(2, dim=2))
        queries = self._split_heads(self.v_lin(segments))
        logits = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])
        attention = masked_softmax(logits, mask[:, None, None, :])
        return segments + (attention @ values).transpose(1, 2).flatten(2), attention

    def _split_heads(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


__all__ = [
    "AttentivePooling",
    "CopiedModules",
    "HadamardFusion",
    "LocalBlocks",
    "NonLocalBlock",
    "WordAttention",
    "masked_softmax",
]
