"""G-TAD's sub-graphs read step by step: what the fused functions of the package are compared with."""

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from bsp_hf.localization.gtad.alignment import SparseOperator, accumulation_dtype, sampling_entries
from bsp_hf.localization.gtad.modeling_gtad import gather_steps


class _ApplyOperator(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, operator):
        ctx.operator = operator
        return operator.apply(table)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return ctx.operator.apply_transposed(grad), None


def align1d(x, regions, num_bins, sampling_ratio=0):
    """RoI align in one dimension: features of regions of the time axis, in a fixed number of bins each.

    Feature `i` sits at coordinate `i`. A region is at least one step long. Each bin is the mean of evenly
    spaced, linearly interpolated samples; a sample outside `[-1, length]` counts as 0, one in the margins
    reads the outermost feature. `x` is `(batch, channels, length)`, regions are `(num_regions, 3)`: batch
    index, start and end in steps; `(num_regions, channels, num_bins)` comes out.
    """
    if x.ndim != 3:
        raise ValueError(f"x must have the shape (batch, channels, length), got {tuple(x.shape)}.")
    table_of_regions = np.asarray(torch.as_tensor(regions, device="cpu"), dtype=np.float64)
    if table_of_regions.ndim != 2 or table_of_regions.shape[1] != 3:
        raise ValueError(
            f"regions must have the shape (n, 3): batch index, start, end; got {table_of_regions.shape}."
        )
    if not np.isfinite(table_of_regions).all():
        raise ValueError("regions must be finite.")
    batch, channels, length = x.shape
    owners = table_of_regions[:, 0].astype(np.int64)
    if len(owners) and not 0 <= owners.min() <= owners.max() < batch:
        raise ValueError(f"regions name batch entries {owners.min()} to {owners.max()}, x holds {batch}.")
    starts, ends = table_of_regions[:, 1], table_of_regions[:, 2]
    rows, steps, weights = sampling_entries(starts, ends, num_bins, sampling_ratio, length)
    dtype = accumulation_dtype(x)
    operator = SparseOperator.from_entries(
        rows,
        owners[rows // num_bins] * length + steps,
        weights,
        (len(owners) * num_bins, batch * length),
        dtype,
        x.device,
    )
    table = x.transpose(1, 2).reshape(batch * length, channels).to(dtype)
    bins = _ApplyOperator.apply(table, operator)
    return bins.view(len(owners), num_bins, channels).transpose(1, 2).to(x.dtype)


def edge_features(x, neighbors, style):
    """Features of the graph's edges, `(batch, channels or 2 * channels, num_steps, num_neighbors)`.

    Style 0 joins the difference to the neighbour with the step's own features, 1 the neighbour with the
    step's own, 2 is the neighbour alone.
    """
    if style not in (0, 1, 2):
        raise ValueError(f"style={style} must be 0, 1 or 2.")
    others = gather_steps(x, neighbors)
    if style == 2:
        return others
    own = x.unsqueeze(3).expand_as(others)
    return torch.cat([others - own if style == 0 else others, own], dim=1)
