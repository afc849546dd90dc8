"""The temporal shift (TSM, Lin et al. 2019) and how a residual 2-D backbone runs with it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def temporal_shift(hidden_states: Tensor, num_frames: int, shift_div: int) -> Tensor:
    """Shift one group of channels to each frame from its successor, and one from its predecessor.

    Channels `[0, fold)` take the value of the next frame, channels `[fold, 2 * fold)` that of the previous
    frame, with `fold = channels // shift_div`; what comes from outside the clip is zero (SPEC of TSM,
    "blockres" and "block" alike). The memory format is kept, because a fall back from channels_last costs
    the convolution behind it a quarter of its speed.

    Takes `(batch * num_frames, channels, height, width)`, frames of a clip next to each other, and returns a
    new tensor of the same shape; the input itself if it has fewer channels than `shift_div`.
    """
    if hidden_states.shape[0] % num_frames:
        raise ValueError(
            f"temporal_shift got {hidden_states.shape[0]} frames, "
            f"which is not a multiple of num_frames={num_frames}."
        )
    if shift_div < 2:
        raise ValueError(f"shift_div={shift_div} must be at least 2, one part for each direction.")
    fold = hidden_states.shape[1] // shift_div
    if fold == 0:
        return hidden_states
    # The functional form fuses under a compiler; in eager mode one pass of slice copies is faster.
    if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing():
        return _shift_functional(hidden_states, num_frames, fold)
    return _TemporalShift.apply(hidden_states, num_frames, fold, False)


def _shift_functional(hidden_states: Tensor, num_frames: int, fold: int) -> Tensor:
    clips = hidden_states.unflatten(0, (-1, num_frames))
    ahead, behind, still = clips.split([fold, fold, clips.shape[2] - 2 * fold], dim=2)
    ahead = F.pad(ahead[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
    behind = F.pad(behind[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([ahead, behind, still], dim=2).flatten(0, 1)


class _TemporalShift(torch.autograd.Function):
    """The shift as one pass of copies; its gradient is the same move backwards."""

    # Any below: autograd's context, an object of its own making.

    @staticmethod
    def forward(ctx: Any, hidden_states: Tensor, num_frames: int, fold: int, backwards: bool) -> Tensor:
        ctx.num_frames, ctx.fold, ctx.backwards = num_frames, fold, backwards
        shifted = torch.empty_like(hidden_states)
        source, target = (x.unflatten(0, (-1, num_frames)) for x in (hidden_states, shifted))
        first, second = slice(0, fold), slice(fold, 2 * fold)
        from_next, from_previous = (second, first) if backwards else (first, second)
        target[:, :-1, from_next] = source[:, 1:, from_next]
        target[:, -1, from_next] = 0
        target[:, 1:, from_previous] = source[:, :-1, from_previous]
        target[:, 0, from_previous] = 0
        target[:, :, 2 * fold :] = source[:, :, 2 * fold :]
        return shifted

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        moved = _TemporalShift.apply(gradient, ctx.num_frames, ctx.fold, not ctx.backwards)
        return moved, None, None, None


def shifted_blocks(depths: list[int], blocks: Sequence[int] | None = None) -> list[list[bool]]:
    """Return for each block of each stage whether it shifts; `depths` counts the blocks of the stages.

    All do, except that networks whose third stage has 23 or more blocks (ResNet-101 and deeper) shift in
    every second block only, as the published TSM does; or those whose numbers, counted from 0 through all
    stages, are in `blocks`.
    """
    if blocks is not None:
        starts = [sum(depths[:stage]) for stage in range(len(depths))]
        return [
            [start + block in blocks for block in range(depth)]
            for start, depth in zip(starts, depths, strict=True)
        ]
    every = 2 if len(depths) > 2 and depths[2] >= 23 else 1
    return [[block % every == 0 for block in range(depth)] for depth in depths]


def run_residual_block(
    hidden_states: Tensor,
    num_frames: int,
    shift_div: int,
    shift_place: str,
    join: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Run one residual block, shifting where `shift_place` says.

    `join` computes the block from what its branch sees and what its shortcut sees.
    """
    branch_input = hidden_states
    if shift_place != "none":
        branch_input = temporal_shift(hidden_states, num_frames, shift_div)
    shortcut_input = branch_input if shift_place == "block" else hidden_states
    return join(branch_input, shortcut_input)


def learns(block: nn.Module, hidden_states: Tensor) -> bool:
    """Return whether a gradient goes through a block, to its input or to its parameters."""
    return hidden_states.requires_grad or any(parameter.requires_grad for parameter in block.parameters())


@contextmanager
def _spare_statistics(module: nn.Module) -> Iterator[None]:
    """Have batch norms update copies of their running statistics, which are thrown away afterwards.

    Turning the update off would change what autograd saves, and non-reentrant checkpointing then refuses the
    recomputation.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    names = ("running_mean", "running_var", "num_batches_tracked")
    kept = [(norm, name, norm._buffers[name]) for norm in norms for name in names]
    for norm, name, statistic in kept:
        norm._buffers[name] = None if statistic is None else statistic.clone()
    try:
        yield
    finally:
        for norm, name, statistic in kept:
            norm._buffers[name] = statistic


def checkpoint_block(
    checkpoint: Callable, block: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Run a block under gradient checkpointing and update its batch-norm statistics only once.

    Recomputing the block in the backward pass would otherwise count every batch twice. `checkpoint` is
    `torch.utils.checkpoint.checkpoint` with its options bound; `run` maps `x`, the block's input, to its
    output.
    """
    calls = 0
    if not x.requires_grad and torch.is_grad_enabled():
        # Behind blocks that are kept as they are: the reentrant kind goes by the gradient of its input.
        x = x.detach().requires_grad_()

    def run_once_then_aside(hidden_states: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 1:
            return run(hidden_states)
        with _spare_statistics(block):
            return run(hidden_states)

    return checkpoint(run_once_then_aside, x)
