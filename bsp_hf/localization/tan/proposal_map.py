"""The 2-D proposal map of 2D-TAN: which spans it holds, and convolutions that skip the cells it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

# What a convolution call costs on top, in cells of output per weight of the kernel (measured on a CPU with
# 512 channels at batch 1: some 60 cells for 5x5, 200 for 9x9). Strips are cut only where that saves more.
CALL_COST_CELLS = 2.5
MAX_STRIPS = 16


@dataclass(frozen=True)
class ProposalLayout:
    """The spans of a proposal map, in the order in which the scales and their steps produce them.

    `first` and `last` are int64 `(num_proposals,)`, the first and last clip of each span, inclusive.
    """

    num_clips: int
    first: np.ndarray
    last: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """Index of each span in the flattened map, int64 `(num_proposals,)`."""
        return self.first * self.num_clips + self.last

    @property
    def mask(self) -> np.ndarray:
        """Bool `(num_clips, num_clips)`, row = first clip, column = last clip: the cells that hold a span."""
        mask = np.zeros((self.num_clips, self.num_clips), dtype=bool)
        mask[self.first, self.last] = True
        return mask


@dataclass(frozen=True)
class Strip:
    """A rectangle of a convolution's output, half-open, that is computed in one call."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int


@dataclass(frozen=True)
class ConvolutionPlan:
    """The part of a map that one masked convolution computes."""

    kernel_size: int
    padding: int
    size: int
    # of rows, top to bottom: the output that can differ from zero and is used later
    strips: tuple[Strip, ...]
    # float32 `(size, size)`: 1 / number of valid inputs under the kernel, 0 where nothing later looks
    scale: np.ndarray


def proposal_layout(num_clips: int, scale_layers: Sequence[int]) -> ProposalLayout:
    """List the spans of a sparse proposal map (2D-TAN, `NUM_SCALE_LAYERS`).

    Step k of scale s holds the spans `(i, i + offset + k * 2**s)` for `i` on multiples of `2**s`; the offset
    grows by `2**s * (steps + 1)` after each scale.

    `(num_clips,)` gives the whole upper triangle.
    """
    if not scale_layers or min(scale_layers) < 1:
        raise ValueError(f"scale_layers={list(scale_layers)} needs at least one entry, each at least 1.")
    first, last, offset = [], [], 0
    for scale, num_steps in enumerate(scale_layers):
        stride = 2**scale
        for step in range(num_steps):
            starts = np.arange(0, num_clips - offset - step * stride, stride, dtype=np.int64)
            if not starts.size:
                raise ValueError(
                    f"scale_layers={list(scale_layers)}: step {step} of scale {scale} holds spans of "
                    f"{offset + step * stride + 1} clips, but the map has {num_clips}. Shorten the list."
                )
            first.append(starts)
            last.append(starts + offset + step * stride)
        offset += stride * (num_steps + 1)
    return ProposalLayout(num_clips, np.concatenate(first), np.concatenate(last))


def plan_convolutions(
    mask: np.ndarray,
    kernel_sizes: Sequence[int],
    paddings: Sequence[int],
    wanted: np.ndarray | None = None,
) -> list[ConvolutionPlan]:
    """Return what each masked convolution of a map has to compute.

    A cell without any valid input under the kernel is exactly zero (it is scaled by 0), and a cell that no
    wanted cell of the final map looks at never matters: neither is computed.

    `mask` and `wanted` are bool `(num_clips, num_clips)`: the spans of the map, and the cells that are read
    of the result (the spans by default). The last plan's scale is zero outside `wanted`.
    """
    counts, valid = [], mask
    for kernel, padding in zip(kernel_sizes, paddings, strict=True):
        counts.append(_window_sums(np.pad(valid, padding), kernel))
        valid = counts[-1] > 0
    plans: list[ConvolutionPlan] = []
    needed = mask if wanted is None else wanted
    for count, kernel, padding in zip(
        reversed(counts), reversed(kernel_sizes), reversed(paddings), strict=True
    ):
        used = needed & (count > 0)
        scale = np.where(used, 1.0 / np.maximum(count, 1), 0.0).astype(np.float32)
        plans.append(
            ConvolutionPlan(
                kernel, padding, len(count), _cut_strips(used, CALL_COST_CELLS * kernel**2), scale
            )
        )
        # A cell is looked at by every output within one kernel of it: a full correlation, less the padding.
        reach = _window_sums(np.pad(used, kernel - 1), kernel) > 0
        needed = reach[padding : len(reach) - padding, padding : len(reach) - padding]
    return plans[::-1]


def _window_sums(cells: np.ndarray, kernel: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(cells.astype(np.int64), (kernel, kernel))
    return windows.sum(axis=(2, 3))


def _cut_strips(used: np.ndarray, call_cost: float) -> tuple[Strip, ...]:
    rows = np.flatnonzero(used.any(axis=1))
    if not rows.size:
        return ()
    best: tuple[float, list[Strip]] = (np.inf, [])
    for num_strips in range(1, min(MAX_STRIPS, rows[-1] - rows[0] + 1) + 1):
        strips, cost = [], 0.0
        edges = np.linspace(rows[0], rows[-1] + 1, num_strips + 1).round().astype(int)
        for start, stop in pairwise(edges):
            columns = np.flatnonzero(used[start:stop].any(axis=0))
            if columns.size:
                strips.append(Strip(int(start), int(stop), int(columns[0]), int(columns[-1]) + 1))
                cost += (stop - start) * (columns[-1] + 1 - columns[0]) + call_cost
        if cost < best[0]:
            best = (cost, strips)
    return tuple(best[1])


class ConstantBuffers(nn.Module):
    """A module whose buffers follow from its config, and are in no checkpoint."""

    def register_constants(self, **values: np.ndarray) -> None:
        """Register arrays as buffers."""
        self.constants = {name: torch.from_numpy(value) for name, value in values.items()}
        for name, value in self.constants.items():
            self.register_buffer(name, value, persistent=False)

    def refill_constants(self) -> None:
        """Fill the buffers again: a model that `from_pretrained` builds on the meta device lost them."""
        for name, value in self.constants.items():
            init.copy_(self.get_buffer(name), value)


class MaskedMapConvolution(ConstantBuffers):
    """Convolutions on a proposal map whose outputs are divided by the number of valid inputs (2D-TAN).

    The counts depend on the map alone, so they are worked out once, when the module is built. Arguments as of
    [`plan_convolutions`].
    """

    def __init__(
        self,
        mask: np.ndarray,
        hidden_dim: int,
        kernel_sizes: Sequence[int],
        paddings: Sequence[int],
        wanted: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(hidden_dim, hidden_dim, kernel) for kernel in kernel_sizes)
        self.plans = plan_convolutions(mask, kernel_sizes, paddings, wanted)
        self.register_constants(**{f"scale_{index}": plan.scale for index, plan in enumerate(self.plans)})

    def forward(self, proposal_map: torch.Tensor) -> torch.Tensor:
        """Map `(batch, hidden_dim, num_clips, num_clips)`, zero outside the mask, to the same shape."""
        maps = proposal_map
        for index, (conv, plan) in enumerate(zip(self.convs, self.plans, strict=True)):
            scale = self.get_buffer(f"scale_{index}")
            maps = F.relu(_convolve_strips(maps, conv, plan)) * scale.to(maps.dtype)
        return maps


def _convolve_strips(maps: torch.Tensor, conv: nn.Module, plan: ConvolutionPlan) -> torch.Tensor:
    rows_done, parts = 0, []
    for strip in plan.strips:
        if strip.row_start > rows_done:
            parts.append(maps.new_zeros(len(maps), maps.shape[1], strip.row_start - rows_done, plan.size))
        rows_done = strip.row_stop
        window = _padded_window(
            maps,
            (strip.row_start - plan.padding, strip.row_stop - plan.padding + plan.kernel_size - 1),
            (strip.column_start - plan.padding, strip.column_stop - plan.padding + plan.kernel_size - 1),
        )
        output = conv(window)
        parts.append(F.pad(output, (strip.column_start, plan.size - strip.column_stop)))
    if rows_done < plan.size:
        parts.append(maps.new_zeros(len(maps), maps.shape[1], plan.size - rows_done, plan.size))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _padded_window(maps: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
    height, width = maps.shape[2:]
    inside = maps[:, :, max(rows[0], 0) : min(rows[1], height), max(columns[0], 0) : min(columns[1], width)]
    padding = (
        max(-columns[0], 0),
        max(columns[1] - width, 0),
        max(-rows[0], 0),
        max(rows[1] - height, 0),
    )
    return F.pad(inside, padding) if any(padding) else inside
