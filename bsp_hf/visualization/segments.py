"""The picture of predicted against true segments of one video, with a score over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .style import BLACK, BLUE, GREY, LINE_COLORS, label_time_axis, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _LANE_IN, _ROW_GAP_IN = 11.0, 0.27, 0.14
_LEAST_SHARE_OF_TEXT = 0.04  # of the width; narrower segments have no room for their score
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tells classes apart where colours run out or are not seen


@dataclass(frozen=True)
class SegmentRow:
    """One row of segments, such as what is annotated or what a model found.

    Args:
        name (`str`): Name of the row.
        segments_s (`Sequence`): Start and end of each segment in seconds, `(num_segments, 2)`.
        labels (`Sequence[str]`, *optional*, defaults to `()`): Label of each segment; none if empty.
        scores (`Sequence[float]`, *optional*, defaults to `()`): Score of each in 0 to 1, shown as how dark
            it is and, where there is room, as a number; all are dark if empty.
    """

    name: str
    segments_s: Sequence[Sequence[float]] | np.ndarray
    labels: Sequence[str] = field(default=())
    scores: Sequence[float] = field(default=())


def plot_segments(
    rows: Sequence[SegmentRow],
    duration_s: float,
    times_s: np.ndarray | Sequence[float] = (),
    scores: np.ndarray | Sequence[float] = (),
    score_name: str = "actionness",
    title: str = "Predicted and true segments",
) -> Figure:
    """Show rows of segments under each other, and a score over time below them.

    Every label has a colour of the Okabe-Ito palette and a hatch, the same in all rows. Segments of one row
    that overlap lie in lanes of their own, the surest on top.

    Args:
        rows (`Sequence[SegmentRow]`): The rows, from top to bottom; true segments first, as a rule.
        duration_s (`float`): Duration of the video in seconds.
        times_s (`np.ndarray`, *optional*, defaults to `()`): `(num_scores,)`, seconds of the scores.
        scores (`np.ndarray`, *optional*, defaults to `()`): `(num_scores,)`, in 0 to 1.
        score_name (`str`, *optional*, defaults to `"actionness"`): What the scores are.
        title (`str`, *optional*, defaults to `"Predicted and true segments"`): Title of the picture.

    Returns:
        `Figure`: Axes of the rows and, with scores, of the curve.

    Raises:
        ValueError: If there is no row, a row's lists differ in length, or times and scores do.
        ImportError: If matplotlib is not installed.

    Example:
        >>> found = SegmentRow("found", [[1.2, 4.5]], ["jump"], [0.8])
        >>> rows = [SegmentRow("true", [[1, 4]], ["jump"]), found]
        >>> [text.get_text() for text in plot_segments(rows, 10.0).axes[0].get_yticklabels()]
        ['true', 'found']
    """
    from matplotlib.patches import Patch

    if not rows or not duration_s > 0:
        raise ValueError(f"Expected rows and a positive duration, got {len(rows)} rows and {duration_s} s.")
    if len(times_s) != len(scores):
        raise ValueError(f"Got {len(times_s)} times for {len(scores)} scores; pass one for each.")
    names = list(dict.fromkeys(label for row in rows for label in row.labels))
    looks = {
        name: (LINE_COLORS[place % len(LINE_COLORS)], _HATCHES[place // len(LINE_COLORS) % len(_HATCHES)])
        for place, name in enumerate(names)
    }
    has_curve = len(scores) > 0
    lanes = [_assign_lanes(row) for row in rows]
    num_lanes = [max(lanes_of_row, default=0) + 1 for lanes_of_row in lanes]
    rows_in = _ROW_GAP_IN * len(rows) + _LANE_IN * sum(num_lanes)
    figure = new_figure(_WIDTH_IN, 1.5 + rows_in + (1.3 if has_curve else 0))
    heights = [rows_in + 0.3, 1.3] if has_curve else [1.0]
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes = figure.add_subplot(grid[0, 0])
    top, middles = 0.0, []
    for row, lanes_of_row, count in zip(rows, lanes, num_lanes, strict=True):
        _draw_row(axes, top, lanes_of_row, row, looks, duration_s)
        middles.append(top + count / 2)
        top += count + _ROW_GAP_IN / _LANE_IN
    axes.set_yticks(middles, [row.name for row in rows])
    axes.set_ylim(top, -_ROW_GAP_IN / _LANE_IN)
    axes.set_xlim(0, duration_s)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    last = axes
    if has_curve:
        last = figure.add_subplot(grid[1, 0], sharex=axes)
        last.plot(times_s, scores, color=BLACK, linewidth=1)
        last.fill_between(np.asarray(times_s), np.asarray(scores), color=GREY, alpha=0.3, linewidth=0)
        last.set_ylim(0, 1)
        last.set_ylabel(score_name)
        last.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelbottom=False)
    label_time_axis(last.xaxis, 0.0, duration_s, max_ticks=12)
    axes.set_title(title, fontsize=11)
    if names:
        patches = [
            Patch(facecolor=color, hatch=hatch, edgecolor="white", label=name)
            for name, (color, hatch) in looks.items()
        ]
        # Columns are as wide as the longest label, about a tenth of an inch a letter, with its patch.
        fitting = int(_WIDTH_IN / (0.1 * max(len(name) for name in names) + 0.8))
        columns = max(1, min(len(names), fitting))
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _assign_lanes(row: SegmentRow) -> list[int]:
    """Return the lane of each segment: the first in which nothing surer overlaps it."""
    segments_s = np.asarray(row.segments_s, dtype=np.float64).reshape(-1, 2)
    for name, values in (("labels", row.labels), ("scores", row.scores)):
        if len(values) not in (0, len(segments_s)):
            raise ValueError(
                f"Row {row.name!r} has {len(segments_s)} segments and {len(values)} {name}; give as many."
            )
    lanes = [0] * len(segments_s)
    taken: list[list[np.ndarray]] = []
    for index in np.argsort(-np.asarray(row.scores), kind="stable") if len(row.scores) else range(len(lanes)):
        start_s, end_s = segments_s[index]
        free = (not any(start_s < other[1] and other[0] < end_s for other in lane) for lane in taken)
        lanes[index] = next((lane for lane, is_free in enumerate(free) if is_free), len(taken))
        if lanes[index] == len(taken):
            taken.append([])
        taken[lanes[index]].append(segments_s[index])
    return lanes


def _draw_row(
    axes: Axes,
    top: float,
    lanes: Sequence[int],
    row: SegmentRow,
    looks: Mapping[str, tuple[str, str]],
    duration_s: float,
) -> None:
    for index, (start_s, end_s) in enumerate(np.asarray(row.segments_s, dtype=np.float64).reshape(-1, 2)):
        color, hatch = looks[row.labels[index]] if len(row.labels) else (BLUE, "")
        score = float(np.clip(row.scores[index], 0, 1)) if len(row.scores) else None
        alpha = 1.0 if score is None else 0.25 + 0.75 * score
        middle = top + lanes[index] + 0.5
        axes.barh(
            middle, end_s - start_s, left=start_s, height=0.88, color=color, hatch=hatch, alpha=alpha,
            edgecolor="white", linewidth=1.2,
        )  # fmt: skip
        shown_s = min(end_s, duration_s) - max(start_s, 0.0)
        if score is not None and shown_s > _LEAST_SHARE_OF_TEXT * duration_s:
            place, patch = max(start_s, 0.0) + shown_s / 2, {"facecolor": "white", "alpha": 0.75, "pad": 1}
            text = axes.text(place, middle, f"{score:.2f}", ha="center", va="center", fontsize=8)
            text.set_bbox({**patch, "linewidth": 0})
            text.set_in_layout(False)
