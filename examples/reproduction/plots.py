"""Pictures of tables: a row of dots for each row, one dot a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from bsp_hf.files import atomic_file
from bsp_hf.visualization.style import BLUE, GREY, VERMILLION, new_figure

from .study import Cell


@dataclass(frozen=True)
class Panel:
    """One measure: its title, and the scores over the seeds of every row, by the name of the row."""

    title: str
    cells: Mapping[str, Cell]


def draw_dots(panels: Sequence[Panel], title: str, path: Path, highlighted: Sequence[str] = ()) -> None:
    """Draw panels side by side, whose rows are named once, in percent; the mean is a line."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.cells))
    longest = max(map(len, names))
    figure = new_figure(0.085 * longest + 2.4 * len(panels) + 0.4, 0.3 * len(names) + 1.3)
    for number, (axes, panel) in enumerate(
        zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True)
    ):
        for place, name in enumerate(names):
            cell = panel.cells.get(name)
            if cell is None:
                continue
            values = 100 * np.array(cell.values)
            color = VERMILLION if name in highlighted else BLUE
            axes.plot(values, np.full(len(values), place), "o", color=color, alpha=0.55, markersize=5)
            axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2)
        axes.set_title(panel.title, fontsize=9)
        axes.grid(axis="both", color=GREY, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, length=0)
        if number == 0:
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("percent", fontsize=8)
    figure.suptitle(fill(title, round(11 * figure.get_figwidth())), fontsize=10)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
