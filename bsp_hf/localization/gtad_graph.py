"""The dynamic graph of G-TAD: nearest steps in feature space, and the block that joins them with time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def nearest_steps(x: Tensor, num_neighbors: int, queries: Tensor | None = None) -> Tensor:
    """Return the steps whose features lie nearest, in squared distance.

    Computed in float32 at least, under autocast too: the order of near neighbours is lost in half precision.

    Args:
        x (`torch.Tensor`): `(batch, channels, num_steps)`.
        num_neighbors (`int`): How many to return; the step itself, at distance 0, is the first of them.
        queries (`torch.Tensor`, *optional*): `(batch, channels, num_queries)`, whose neighbours in `x` are
            wanted; those of `x` itself by default.

    Returns:
        `torch.Tensor`: int64 `(batch, num_queries, num_neighbors)`, nearest first. Among equal distances the
        order is that of `torch.topk`. No gradient passes through it.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        points = x if x.dtype == torch.float64 else x.float()
        origins = points if queries is None else queries.to(points.dtype)
        products = origins.transpose(1, 2) @ points
        norms = points.square().sum(1, keepdim=True)
        origin_norms = origins.square().sum(1).unsqueeze(2)
        return (2 * products - norms - origin_norms).topk(num_neighbors, dim=2).indices


def gather_steps(x: Tensor, neighbors: Tensor) -> Tensor:
    """Return the features of every step's neighbours.

    Args:
        x (`torch.Tensor`): `(batch, channels, num_steps)`.
        neighbors (`torch.Tensor`): int64 `(batch, num_queries, num_neighbors)`.

    Returns:
        `torch.Tensor`: `(batch, channels, num_queries, num_neighbors)`.
    """
    index = neighbors.flatten(1)[:, None].expand(-1, x.shape[1], -1)
    return x.gather(2, index).unflatten(2, neighbors.shape[1:])


def edge_features(x: Tensor, neighbors: Tensor, style: int) -> Tensor:
    """Return the features of the graph's edges.

    Args:
        x (`torch.Tensor`): `(batch, channels, num_steps)`.
        neighbors (`torch.Tensor`): int64 `(batch, num_steps, num_neighbors)`.
        style (`int`): 0 joins the difference to the neighbour with the step's own features, 1 the neighbour
            with the step's own, 2 gives the neighbour alone.

    Returns:
        `torch.Tensor`: `(batch, 2 * channels, num_steps, num_neighbors)`, neighbour first; `channels` instead
        of `2 * channels` in style 2.

    Raises:
        ValueError: If the style is not one of these.
    """
    if style not in (0, 1, 2):
        raise ValueError(f"style={style} must be 0, 1 or 2.")
    others = gather_steps(x, neighbors)
    if style == 2:
        return others
    own = x.unsqueeze(3).expand_as(others)
    return torch.cat([others - own if style == 0 else others, own], dim=1)


class GCNeXtBlock(nn.Module):
    """Residual block with one branch along time and one along the nearest steps in feature space.

    Parameters carry the names of the published checkpoints.

    Args:
        num_channels (`int`): Channels in and out.
        num_groups (`int`, *optional*, defaults to 32): Groups of the middle convolution of each branch.
        group_width (`int`, *optional*, defaults to 4): Channels in a group.
    """

    def __init__(self, num_channels: int, num_groups: int = 32, group_width: int = 4):
        super().__init__()
        width = num_groups * group_width
        self.tconvs = nn.Sequential(
            nn.Conv1d(num_channels, width, 1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, groups=num_groups),
            nn.ReLU(),
            nn.Conv1d(width, num_channels, 1),
        )
        self.sconvs = nn.Sequential(
            nn.Conv2d(2 * num_channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, groups=num_groups),
            nn.ReLU(),
            nn.Conv2d(width, num_channels, 1),
        )

    def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
        """Run the block.

        Args:
            x (`torch.Tensor`): `(batch, num_channels, num_steps)`.
            neighbors (`torch.Tensor`): int64 `(batch, num_steps, num_neighbors)`, [`nearest_steps`] of `x`.

        Returns:
            `torch.Tensor`: `(batch, num_channels, num_steps)`.
        """
        # The first convolution is linear in neighbour and own features: each step is convolved once and
        # gathered afterwards, instead of once per edge.
        first = self.sconvs.get_submodule("0")
        weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
        for_neighbor, for_own = weight.flatten(1).chunk(2, dim=1)
        own = F.conv1d(x, for_own.unsqueeze(2), bias)
        edges = gather_steps(F.conv1d(x, for_neighbor.unsqueeze(2)), neighbors) + own.unsqueeze(3)
        semantic = self.sconvs[1:](edges).amax(dim=3)
        return F.relu(self.tconvs(x) + x + semantic)


__all__ = ["GCNeXtBlock", "edge_features", "gather_steps", "nearest_steps"]
