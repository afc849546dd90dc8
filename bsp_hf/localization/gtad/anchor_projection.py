"""Alignment at every anchor fused with the 1x1 convolution behind it: project first, then interpolate."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .alignment import AlignmentGeometry, SparseOperator, accumulation_dtype, sampling_entries

# Output channels that the CPU interpolates at a time: the rows in use then stay in its second-level cache,
# which makes the interpolation about two and a half times as fast as on all 512 channels at once.
CPU_CHUNK_CHANNELS = 64


@lru_cache(maxsize=8)
def anchor_operator(geometry: AlignmentGeometry, dtype: torch.dtype, device: str) -> SparseOperator:
    """Return the operator that interpolates projected features at every anchor and sums over its bins.

    It depends on the geometry alone, so it is built once per process and never stored in a checkpoint. Row
    `t * num_inner_bins + bin` of its table holds step t projected for an inner bin; the rows of the context
    bins follow. It makes `(num_valid + 1, width)` of them.
    """
    starts, ends = geometry.regions()
    parts = (
        (geometry.num_inner_bins, geometry.inner_sampling_ratio, 0),
        (
            geometry.num_context_bins,
            geometry.context_sampling_ratio,
            geometry.num_steps * geometry.num_inner_bins,
        ),
    )
    entries = []
    for num_bins, sampling_ratio, offset in parts:
        if num_bins:
            rows, steps, weights = sampling_entries(
                starts, ends, num_bins, sampling_ratio, geometry.num_steps
            )
            entries.append((rows // num_bins, offset + steps * num_bins + rows % num_bins, weights))
    rows, columns, weights = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
    shape = (len(starts), geometry.num_steps * geometry.num_bins)
    return SparseOperator.from_entries(rows, columns, weights, shape, dtype, device)


@lru_cache(maxsize=8)
def anchor_map_index(geometry: AlignmentGeometry, device: str) -> Tensor:
    """Return `geometry.map_index()` as a tensor on the device, built once per process."""
    return torch.as_tensor(geometry.map_index(), device=device)


def project_anchors(
    inner: Tensor,
    context: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    geometry: AlignmentGeometry,
    relu: bool = False,
) -> Tensor:
    """Align features at every anchor and apply a 1x1 convolution to the aligned bins, without building them.

    Alignment and convolution are both linear. So each step is projected first, once for every bin, and the
    projections are interpolated and summed over the bins afterwards. At the ActivityNet setting that takes
    about 50 times fewer multiplications than aligning first, and no map of `channels * bins` values per
    anchor.
    The anchors that end too late are evaluated once. Under autocast the projection runs in the lower
    precision and the interpolation in float32.

    `inner` and `context` are `(batch, channels, num_steps)`, read by the inner and the context bins; `weight`
    is `(out_channels, channels * num_bins)`, with input channel `c * num_bins + bin`, inner bins first. The
    result is `(batch, num_valid + 1, out_channels)`; `geometry.map_index()` says which row belongs to which
    map cell. Clipping it at 0 here (`relu`) costs no copy, neither now nor in the backward pass.
    """
    _check_shapes(inner, context, weight, geometry)
    device = inner.device
    if torch.is_autocast_enabled(device.type) and inner.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device.type)
        inner, weight = inner.to(dtype), weight.to(dtype)
        context = None if context is None else context.to(dtype)
    operator = anchor_operator(geometry, accumulation_dtype(inner), str(device))
    return _ProjectAnchors.apply(inner, context, weight, bias, operator, geometry, relu)


class _ProjectAnchors(torch.autograd.Function):
    """The loops run over samples inside chunks of output channels, so that no table leaves the cache."""

    @staticmethod
    def forward(
        ctx: Any,  # torch's context object
        inner: Tensor,
        context: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        operator: SparseOperator,
        geometry: AlignmentGeometry,
        relu: bool,
    ) -> Tensor:
        output = inner.new_empty(len(inner), operator.num_rows, len(weight))
        sources = [inner] if context is None else [inner, context]
        dtype = accumulation_dtype(inner)
        with _without_autocast(inner):
            for channels, projections in _weight_chunks(weight, geometry):
                width = channels.stop - channels.start
                table = torch.empty(operator.num_columns, width, dtype=dtype, device=inner.device)
                for sample in range(len(inner)):
                    parts = _table_parts(table, geometry)
                    for part, source, projection in zip(parts, sources, projections, strict=True):
                        _multiply_into(part, source[sample].t(), projection)
                    mixed = operator.apply(table).add_(bias[channels])
                    output[sample, :, channels] = mixed.relu_() if relu else mixed
        ctx.save_for_backward(inner, context, weight, output if relu else None)
        ctx.operator, ctx.geometry = operator, geometry
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # Any: torch's context object
        inner, context, weight, clipped = ctx.saved_tensors
        operator, geometry = ctx.operator, ctx.geometry
        sources = [inner] if context is None else [inner, context]
        dtype = accumulation_dtype(inner)
        batch, channels_in, num_steps = inner.shape
        weight_grad = torch.empty(
            channels_in, geometry.num_bins, len(weight), dtype=dtype, device=inner.device
        )
        bias_grad = torch.zeros(len(weight), dtype=dtype, device=inner.device)
        source_grads = [source.new_zeros(batch, num_steps, channels_in, dtype=dtype) for source in sources]
        with _without_autocast(inner):
            for channels, projections in _weight_chunks(weight, geometry):
                projection_grads = [torch.zeros_like(projection, dtype=dtype) for projection in projections]
                for sample in range(batch):
                    rows = grad[sample, :, channels].to(dtype)
                    if clipped is not None:
                        rows = rows * (clipped[sample, :, channels] > 0)
                    bias_grad[channels] += rows.sum(0)
                    table = operator.apply_transposed(rows)
                    for n, part in enumerate(_table_parts(table, geometry)):
                        low = part.to(inner.dtype)
                        _add_product(projection_grads[n], sources[n][sample], low)
                        _add_product(source_grads[n][sample], low, projections[n].t())
                bin_grads = [
                    part.view(channels_in, -1, channels.stop - channels.start) for part in projection_grads
                ]
                weight_grad[:, :, channels] = torch.cat(bin_grads, dim=1)
        inner_grad, *context_grad = (part.transpose(1, 2).to(inner.dtype) for part in source_grads)
        return (
            inner_grad,
            context_grad[0] if context_grad else None,
            weight_grad.permute(2, 0, 1).reshape(weight.shape).to(weight.dtype),
            bias_grad,
            None,
            None,
            None,
        )


def _weight_chunks(weight: Tensor, geometry: AlignmentGeometry) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield slices of output channels with the inner and context projection, `(channels, bins * width)`."""
    out_channels = len(weight)
    width = CPU_CHUNK_CHANNELS if weight.device.type == "cpu" else out_channels
    by_bin = weight.view(out_channels, -1, geometry.num_bins).permute(1, 2, 0)
    bins = (geometry.num_inner_bins, geometry.num_context_bins)
    for first in range(0, out_channels, width):
        channels = slice(first, min(first + width, out_channels))
        parts = by_bin[:, :, channels].split(bins, dim=1)
        yield channels, [part.reshape(len(part), -1) for part in parts if part.shape[1]]


def _table_parts(table: Tensor, geometry: AlignmentGeometry) -> list[Tensor]:
    """View the rows of the inner and of the context bins as `(num_steps, bins * width)` each."""
    bins = (geometry.num_inner_bins, geometry.num_context_bins)
    parts = table.split([geometry.num_steps * count for count in bins])
    return [part.view(geometry.num_steps, -1) for part in parts if len(part)]


def _multiply_into(target: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == target.dtype:
        torch.mm(left, right, out=target)
    else:
        target.copy_(left @ right)


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == target.dtype:
        target.addmm_(left, right)
    else:
        target.add_(left @ right)


def _without_autocast(x: Tensor) -> AbstractContextManager:
    return torch.autocast(x.device.type, enabled=False)


def _check_shapes(inner: Tensor, context: Tensor | None, weight: Tensor, geometry: AlignmentGeometry) -> None:
    if inner.ndim != 3 or inner.shape[2] != geometry.num_steps:
        raise ValueError(
            f"inner must have the shape (batch, channels, {geometry.num_steps}), got {tuple(inner.shape)}. "
            "Resample the features to the configured number of steps."
        )
    if (context is None) != (geometry.num_context_bins == 0):
        raise ValueError(
            f"geometry has {geometry.num_context_bins} context bins, but context "
            f"{'was given' if context is not None else 'is missing'}."
        )
    if context is not None and context.shape != inner.shape:
        raise ValueError(
            f"context has the shape {tuple(context.shape)}, inner {tuple(inner.shape)}; they must agree."
        )
    if weight.ndim != 2 or weight.shape[1] != inner.shape[1] * geometry.num_bins:
        raise ValueError(
            f"weight must have the shape (out_channels, {inner.shape[1]} * {geometry.num_bins}), "
            f"got {tuple(weight.shape)}."
        )
