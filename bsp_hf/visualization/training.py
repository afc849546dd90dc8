"""Pictures of a training run: the confusion matrix and the curves over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import GREY, LINE_COLORS, LINE_STYLES, SEQUENTIAL_MAP, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATE_NAMES = ("learning_rate", "lr")


def plot_confusion_matrix(
    matrix: np.ndarray, labels: Sequence[str], title: str = "Confusion of held-out clips"
) -> Figure:
    r"""Show a confusion matrix: counts as numbers, shares of the true class as shades.

    Args:
        matrix (`np.ndarray`): Counts `(num_classes, num_classes)`: true class by row, predicted by column.
        labels (`Sequence[str]`): Names of the classes.
        title (`str`, *optional*, defaults to `"Confusion of held-out clips"`): Title of the picture.

    Returns:
        `Figure`: Axes of the matrix and of its colour bar.

    Raises:
        ValueError: If the matrix is not square, has another size than `labels` or holds negative counts.
        ImportError: If matplotlib is not installed.

    Example:
        >>> figure = plot_confusion_matrix(np.array([[8, 2], [1, 9]]), ["diff-class", "same-speed"])
        >>> [text.get_text() for text in figure.axes[0].texts][:2]
        ['8\n80 %', '2\n20 %']
    """
    counts = np.asarray(matrix)
    size = len(labels)
    if counts.shape != (size, size) or not size:
        raise ValueError(f"Expected a matrix ({size}, {size}) for {size} labels, got {counts.shape}.")
    if (counts < 0).any():
        raise ValueError("A confusion matrix holds counts, which cannot be negative.")
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    cell_in = 0.95 if size <= 6 else 0.62
    font_size = 9 if size <= 6 else 7
    longest = max(len(label) for label in labels)
    figure = new_figure(cell_in * size + 2.4 + 0.08 * longest, cell_in * size + 1.3 + 0.05 * longest)
    figure.set_layout_engine("compressed")  # the plain engine cuts labels beside pictures of fixed aspect
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=SEQUENTIAL_MAP, vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        count, share = counts[row, column], shares[row, column]
        # The lower half of the colour map is dark.
        color = "white" if share < 0.5 else "black"
        text = f"{count:g}\n{100 * share:.0f} %" if totals[row, 0] else f"{count:g}"
        cell = axes.text(column, row, text, ha="center", va="center", color=color, fontsize=font_size)
        cell.set_in_layout(False)  # inside the picture anyway, and many of them make the layout slow
    axes.set_xticks(range(size), labels)
    axes.set_yticks(range(size), labels)
    if longest > 12 * cell_in:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=12)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
    return figure


def plot_training_curves(
    records: Sequence[Mapping[str, Any]],  # Any: a log line may hold whatever JSON does
    metrics: Sequence[str] | None = None,
    chance: float | None = None,
    title: str = "Training",
) -> Figure:
    """Show losses, evaluation metrics and the learning rate over the steps.

    Args:
        records (`Sequence[Mapping]`): Log lines, each with `"step"` and some of: names that end in `"loss"`,
            `"learning_rate"` or `"lr"`, and metrics.
        metrics (`Sequence[str]`, *optional*): Names of the metrics to show. By default every name that begins
            with `"eval_"`, holds a number and is not a loss.
        chance (`float`, *optional*): What guessing would reach, drawn as a line among the metrics.
        title (`str`, *optional*, defaults to `"Training"`): Title of the picture.

    Returns:
        `Figure`: One axes for each of losses, metrics and learning rate that the records hold.

    Raises:
        ValueError: If a record has no step, or there is nothing to show.
        ImportError: If matplotlib is not installed.

    Example:
        >>> records = [{"step": step, "loss": 1 / step, "lr": 0.1} for step in range(1, 9)]
        >>> records.append({"step": 8, "eval_accuracy": 0.4})
        >>> [axes.get_ylabel() for axes in plot_training_curves(records).axes]
        ['loss', 'held-out metric', 'learning rate']
    """
    if any("step" not in record for record in records):
        raise ValueError('Every record needs its "step".')
    series = _collect_series(records)
    losses = [name for name in series if name.endswith("loss")]
    rates = [name for name in _RATE_NAMES if name in series]
    if metrics is None:
        metrics = [name for name in series if name.startswith("eval_") and name not in losses]
    elif missing := [name for name in metrics if name not in series]:
        raise ValueError(f"No record holds {missing}; there are {sorted(series)}.")
    panels = [
        (names, label)
        for names, label in ((losses, "loss"), (metrics, "held-out metric"), (rates, "learning rate"))
        if names
    ]
    if not panels:
        raise ValueError("The records hold no loss, metric or learning rate; there is nothing to show.")
    last_step = max(steps[-1] for steps, _ in series.values())
    figure = new_figure(4.6 * len(panels), 3.8)
    for axes, (names, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, name in enumerate(names):
            _draw_series(axes, *series[name], name, place)
        if label == "held-out metric" and chance is not None:
            axes.axhline(chance, color=GREY, linewidth=1.2, linestyle=(0, (1, 3)), label="chance")
        axes.set_xlim(0, 1.03 * max(last_step, 1))  # alike, however few evaluations there are
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend(fontsize=8, framealpha=0.85)
    figure.suptitle(title, fontsize=12)
    return figure


def _collect_series(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return steps and values of every name that holds finite numbers."""
    points: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if name != "step" and is_number and np.isfinite(float(value)):
                points.setdefault(name, []).append((float(record["step"]), float(value)))
    sorted_points = {name: np.array(sorted(pairs)) for name, pairs in points.items()}
    return {name: (pairs[:, 0], pairs[:, 1]) for name, pairs in sorted_points.items()}


def _draw_series(axes: Axes, steps: np.ndarray, values: np.ndarray, name: str, place: int) -> None:
    color, style = LINE_COLORS[place % len(LINE_COLORS)], LINE_STYLES[place % len(LINE_STYLES)]
    label = name.removeprefix("eval_").replace("_", " ") if name != "eval_loss" else "held-out loss"
    marker = "o" if len(steps) <= 30 else None
    width = max(1, len(values) // 40)
    if width > 1:  # a long noisy curve is drawn pale, and its running mean over it
        axes.plot(steps, values, color=color, alpha=0.3, linewidth=0.8)
        padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
        values = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    axes.plot(steps, values, color=color, linestyle=style, marker=marker, markersize=4, label=label)
