"""The paper's Figure 4: do consecutive snippets differ more where there is a boundary?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .style import BLUE, SEQUENTIAL_MAP, VERMILLION, check_track, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Separation:
    """How far values at boundaries lie above values elsewhere.

    Args:
        auc (`float`): In [0, 1]: chance that a value at a boundary exceeds one elsewhere, ties counting half.
            0.5 means no separation.
        cohens_d (`float`): Difference of the means in pooled standard deviations; NaN if nothing varies or
            there are fewer than three values.
    """

    auc: float
    cohens_d: float


def separation_statistic(boundary_values: np.ndarray, other_values: np.ndarray) -> Separation:
    """Return how well one number tells boundaries from the rest.

    Args:
        boundary_values (`np.ndarray`): `(num_boundaries,)`, values at boundaries.
        other_values (`np.ndarray`): `(num_others,)`, values elsewhere.

    Returns:
        `Separation`: Area under the ROC curve and Cohen's d.

    Raises:
        ValueError: If either side is empty.

    Example:
        >>> separation_statistic(np.array([2.0, 3.0]), np.array([1.0, 2.0])).auc
        0.875
    """
    inside, outside = np.asarray(boundary_values, dtype=float), np.asarray(other_values, dtype=float)
    if not inside.size or not outside.size:
        raise ValueError(
            f"Got {inside.size} values at boundaries and {outside.size} elsewhere; both are needed."
        )
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left") + np.searchsorted(ordered, inside, side="right")
    auc = below.mean() / (2 * outside.size)
    freedom = inside.size + outside.size - 2
    cohens_d = float("nan")
    if freedom > 0:
        pooled = np.sqrt((inside.var() * inside.size + outside.var() * outside.size) / freedom)
        if pooled > 0:
            cohens_d = float((inside.mean() - outside.mean()) / pooled)
    return Separation(float(auc), cohens_d)


def plot_consecutive_differences(
    tracks_by_encoder: Mapping[str, tuple[np.ndarray, np.ndarray]],
    boundaries_s: np.ndarray | Sequence[float],
    tolerance_s: float | None = None,
    title: str = "Absolute difference of consecutive snippets",
) -> Figure:
    """Compare encoders by how much consecutive snippets differ at boundaries and elsewhere (Figure 4).

    One row an encoder: its mean absolute difference at boundaries and elsewhere, channel by channel, as two
    matrices, and the histogram of the differences (mean over the channels) with its separation. Differences
    are in units of the encoder's own mean difference elsewhere, because encoders have different scales; so
    all rows share one colour scale and one set of bins.

    Args:
        tracks_by_encoder (`Mapping[str, tuple]`): For every encoder its features `(num_snippets, dim)` and
            the centres of the snippets `(num_snippets,)` in seconds, of one video.
        boundaries_s (`np.ndarray`): True boundaries, in seconds.
        tolerance_s (`float`, *optional*): A pair of snippets belongs to a boundary that lies between their
            centres or at most so far outside. By default half the median distance of centres.
        title (`str`, *optional*, defaults to `"Absolute difference of consecutive snippets"`): Title.

    Returns:
        `Figure`: For every encoder the axes of two matrices and of a histogram, then the colour bar.

    Raises:
        ValueError: If there is no encoder, a track is malformed, or it has no pair at a boundary or none
            elsewhere.
        ImportError: If matplotlib is not installed.

    Example:
        >>> features = np.repeat(np.eye(4), 5, axis=0) + np.linspace(0, 0.5, 20)[:, None] ** 2
        >>> figure = plot_consecutive_differences({"BSP": (features, np.arange(20.0))}, [4.5, 9.5, 14.5], 0.0)
        >>> figure.axes[2].get_title().startswith("BSP: AUC 1.00")
        True
    """
    if not tracks_by_encoder:
        raise ValueError("Pass the track of at least one encoder.")
    measured = {
        name: _measure_differences(name, *track, np.asarray(boundaries_s, dtype=float), tolerance_s)
        for name, track in tracks_by_encoder.items()
    }
    figure = new_figure(12, 0.6 + 3.1 * len(measured))
    rows = figure.subplots(len(measured), 3, squeeze=False, width_ratios=[1, 1, 1.7])
    # One bright channel would leave the others in the dark.
    means = np.concatenate(
        [mean for found in measured.values() for mean in (found.mean_inside, found.mean_outside)]
    )
    brightest = float(np.percentile(means, 99)) or 1.0
    values = np.concatenate([value for found in measured.values() for value in (found.inside, found.outside)])
    bins = np.linspace(values.min(), values.max() + 1e-9, 21)
    for row, (name, found) in zip(rows, measured.items(), strict=True):
        for axes, mean, place in zip(
            row, (found.mean_inside, found.mean_outside), ("at boundaries", "elsewhere"), strict=False
        ):
            image = axes.imshow(_fold_channels(mean), cmap=SEQUENTIAL_MAP, vmin=0, vmax=brightest)
            axes.set_title(f"{name}, {place}", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
        _draw_histogram(row[2], name, found, bins)
    figure.colorbar(image, ax=list(rows[:, :2].flat), shrink=0.8, label="difference (1 = mean elsewhere)")
    rows[-1, 2].set_xlabel("mean difference of a pair of snippets (1 = mean elsewhere)")
    figure.suptitle(title, fontsize=12)
    return figure


@dataclass(frozen=True, eq=False)
class _Differences:
    """Absolute differences of one encoder in units of their mean elsewhere."""

    mean_inside: np.ndarray  # (dim,), of the pairs at boundaries
    mean_outside: np.ndarray  # (dim,)
    inside: np.ndarray  # (num_pairs,), mean over the channels
    outside: np.ndarray


def _measure_differences(
    name: str,
    features: np.ndarray,
    centers_s: np.ndarray,
    boundaries_s: np.ndarray,
    tolerance_s: float | None,
) -> _Differences:
    features, centers_s = check_track(features, centers_s)
    at_boundary = _pairs_at_boundaries(centers_s, boundaries_s, tolerance_s)
    if at_boundary.all() or not at_boundary.any():
        raise ValueError(
            f"{name}: {at_boundary.sum()} of {len(at_boundary)} pairs of snippets are at a boundary; both "
            "kinds are needed. Check that boundaries_s and centers_s are seconds of one video."
        )
    differences = np.abs(np.diff(features, axis=0))
    differences /= differences[~at_boundary].mean() or 1.0
    inside, outside = differences[at_boundary], differences[~at_boundary]
    return _Differences(inside.mean(axis=0), outside.mean(axis=0), inside.mean(axis=1), outside.mean(axis=1))


def _pairs_at_boundaries(
    centers_s: np.ndarray, boundaries_s: np.ndarray, tolerance_s: float | None
) -> np.ndarray:
    """Return whether a boundary lies between two consecutive snippets, bool `(num_snippets - 1,)`."""
    if tolerance_s is None:
        tolerance_s = float(np.median(np.diff(centers_s))) / 2
    after_start = boundaries_s[None] >= centers_s[:-1, None] - tolerance_s
    before_end = boundaries_s[None] < centers_s[1:, None] + tolerance_s
    return np.any(after_start & before_end, axis=1)


def _fold_channels(values: np.ndarray) -> np.ndarray:
    """Reshape `(dim,)` to the squarest matrix that fits, padded with NaN where only a strip would fit."""
    height = int(np.sqrt(len(values)))
    while len(values) % height:
        height -= 1
    if len(values) / height**2 > 4:
        height = int(np.ceil(np.sqrt(len(values))))
    width = -(-len(values) // height)
    return np.pad(values.astype(float), (0, height * width - len(values)), constant_values=np.nan).reshape(
        height, width
    )


def _draw_histogram(axes: Axes, name: str, found: _Differences, bins: np.ndarray) -> None:
    for values, color, hatch, place in (
        (found.outside, BLUE, None, "elsewhere"),
        (found.inside, VERMILLION, "//", "at boundaries"),
    ):
        axes.hist(
            values,
            bins.tolist(),
            weights=np.full(len(values), 1 / len(values)),
            alpha=0.55,
            color=color,
            hatch=hatch,
            label=f"{place} ({len(values)} pairs)",
        )
    statistic = separation_statistic(found.inside, found.outside)
    axes.set_title(f"{name}: AUC {statistic.auc:.2f}, Cohen's d {statistic.cohens_d:.1f}", fontsize=10)
    axes.set_ylabel("share of pairs")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the legend above the bars
    axes.legend(fontsize=9, frameon=False, loc="upper right", ncols=2)
