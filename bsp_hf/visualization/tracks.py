"""The picture of one long video's features: heat map, self-similarity and change from snippet to snippet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import BLUE, SEQUENTIAL_MAP, check_track, label_time_axis, mark_boundaries, new_figure, time_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHANNEL_ORDERS = ("variance", "similarity")


def plot_feature_track(
    features: np.ndarray,
    centers_s: np.ndarray,
    boundaries_s: np.ndarray | Sequence[float] = (),
    kinds: Sequence[str] | None = None,
    channel_order: str = "similarity",
    max_channels: int = 128,
    max_columns: int = 800,
    title: str = "Features of one video",
) -> Figure:
    """Show the features of one long video as a picture.

    The heat map holds standardized channels over time. Below it is the length of the difference between
    consecutive snippets, beside it the cosine similarity of every snippet with every other after subtraction
    of the video's mean, which would otherwise hide the differences.

    Args:
        features (`np.ndarray`): `(num_snippets, dim)`.
        centers_s (`np.ndarray`): `(num_snippets,)`, rising; centre of each snippet in seconds.
        boundaries_s (`np.ndarray`, *optional*, defaults to `()`): True boundaries, in seconds.
        kinds (`Sequence[str]`, *optional*): Kind of every true boundary, for the legend.
        channel_order (`str`, *optional*, defaults to `"similarity"`): Rows of the heat map: `"variance"`,
            largest on top, or `"similarity"`, channels that move together side by side.
        max_channels (`int`, *optional*, defaults to 128): Most channels of the heat map, those that vary
            most.
        max_columns (`int`, *optional*, defaults to 800): Most moments of heat map and similarity; more
            snippets are averaged in groups, so that hours need no more memory than minutes.
        title (`str`, *optional*, defaults to `"Features of one video"`): Title of the picture.

    Returns:
        `Figure`: Axes of the heat map, the difference curve, the similarity matrix and its colour bar.

    Raises:
        ValueError: If the shapes do not fit, values are not finite, times do not rise, or the order is
            unknown.
        ImportError: If matplotlib is not installed.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(50, 16))
        >>> figure = plot_feature_track(features, np.arange(50) * 0.32)
        >>> figure.axes[0].get_ylabel()
        'channel'
    """
    features, centers_s = check_track(features, centers_s)
    if channel_order not in _CHANNEL_ORDERS:
        raise ValueError(f"channel_order must be one of {_CHANNEL_ORDERS}, got {channel_order!r}.")
    steps_s = (centers_s[1:] + centers_s[:-1]) / 2
    step_lengths = np.linalg.norm(np.diff(features, axis=0), axis=1)
    pooled, pooled_s = _pool_time(features, centers_s, max_columns)
    edges_s = time_edges(pooled_s)

    figure = new_figure(13, 6.4)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.25, 1], height_ratios=[2.4, 1])
    heat = figure.add_subplot(grid[0, 0])
    curve = figure.add_subplot(grid[1, 0], sharex=heat)
    similarity = figure.add_subplot(grid[:, 1])

    rows = _order_channels(pooled, channel_order, max_channels)
    heat.pcolorfast(edges_s, np.arange(len(rows) + 1.0), rows, cmap=SEQUENTIAL_MAP, vmin=-2.5, vmax=2.5)
    heat.set_ylim(len(rows), 0)
    heat.set_ylabel("channel")
    shown = f"{len(rows)} of {features.shape[1]} channels"
    heat.set_title(f"{shown}, -2.5 to 2.5 standard deviations, by {channel_order}", fontsize=10, pad=12)
    heat.tick_params(labelbottom=False)
    curve.plot(steps_s, step_lengths, color=BLUE, linewidth=1.2)
    curve.set_ylim(bottom=0)
    curve.set_ylabel("difference of\nconsecutive snippets")
    curve.spines[["top", "right"]].set_visible(False)
    curve.set_xlim(edges_s[0], edges_s[-1])
    label_time_axis(curve.xaxis, edges_s[0], edges_s[-1], max_ticks=6)

    image = similarity.pcolorfast(
        edges_s, edges_s, _cosine_similarity(pooled), cmap=SEQUENTIAL_MAP, vmin=-1, vmax=1
    )
    similarity.set_aspect("equal")
    similarity.invert_yaxis()  # time runs down, so that the diagonal does too
    label_time_axis(similarity.xaxis, edges_s[0], edges_s[-1], max_ticks=5)
    label_time_axis(similarity.yaxis, edges_s[0], edges_s[-1], max_ticks=8)
    similarity.set_title("cosine similarity of snippets, mean subtracted", fontsize=10)
    figure.colorbar(image, ax=similarity, shrink=0.75)
    handles = mark_boundaries([curve], np.asarray(boundaries_s, dtype=float), kinds)
    for time_s in boundaries_s:  # ticks outside the heat map, which lines would cover
        heat.plot(time_s, -0.02 * len(rows), "v", color="black", markersize=5, clip_on=False)
    figure.suptitle(title, fontsize=12)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)
    return figure


def _pool_time(
    features: np.ndarray, centers_s: np.ndarray, max_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average groups of neighbouring snippets so that at most `max_columns` remain."""
    group = -(-len(features) // max(2, max_columns))
    if group == 1:
        return features, centers_s
    starts = np.arange(0, len(features), group)
    sizes = np.diff([*starts, len(features)])
    return np.add.reduceat(features, starts) / sizes[:, None], np.add.reduceat(centers_s, starts) / sizes


def _order_channels(features: np.ndarray, channel_order: str, max_channels: int) -> np.ndarray:
    """Return the channels that vary most, standardized and sorted, `(num_channels, num_snippets)`."""
    by_variance = np.argsort(-features.var(axis=0), kind="stable")[:max_channels]
    chosen = features[:, by_variance]
    deviation = chosen.std(axis=0)
    rows = ((chosen - chosen.mean(axis=0)) / np.where(deviation > 0, deviation, 1)).T
    if channel_order == "variance":
        return rows
    # Channels that move together point the same way in the plane of the two main movements.
    movements, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    plane = movements[:, :2] * sizes[:2]
    second = plane[:, 1] if plane.shape[1] > 1 else np.zeros(len(rows))
    return rows[np.argsort(np.arctan2(second, plane[:, 0]), kind="stable")]


def _cosine_similarity(features: np.ndarray) -> np.ndarray:
    centred = features - features.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1)
    return unit @ unit.T
