"""What all pictures share: new figures, colours that everybody can tell apart, the time axis."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from bsp_hf.version import install_command

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which stays distinct under all common forms of colour blindness.
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#8C8C8C"
LINE_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
LINE_STYLES = ("-", "--", "-.", ":")  # the second way to tell lines apart
SEQUENTIAL_MAP = "cividis"

_LONG_S = 180.0  # from here on times read better as minutes and seconds
_TICK_STEPS_S = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def require_matplotlib() -> None:
    """Raise an `ImportError` that says how to install matplotlib, if it is not there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Pictures need matplotlib: {install_command('plot')}") from error


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of this size in inches, outside pyplot's global state, with automatic layout."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that notebooks show, though it lies outside pyplot."""

        def _repr_png_(self) -> bytes:
            with BytesIO() as file:
                self.savefig(file, format="png")
                return file.getvalue()

    figure = ShownFigure(figsize=(width_in, height_in), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def label_time_axis(axis: Axis, start_s: float, end_s: float, max_ticks: int) -> None:
    """Name `axis`, which holds the seconds from `start_s` to `end_s`, with at most `max_ticks`."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    if end_s <= _LONG_S:
        axis.set_label_text("time (s)")
        return
    axis.set_label_text("time (h:mm:ss)" if end_s >= 3600 else "time (min:s)")
    fitting = [step_s for step_s in _TICK_STEPS_S if (end_s - start_s) / step_s < max_ticks]
    axis.set_major_locator(MultipleLocator(fitting[0] if fitting else (end_s - start_s) / 4))
    axis.set_major_formatter(FuncFormatter(lambda time_s, _: format_time(time_s, end_s)))


def format_time(time_s: float, longest_s: float) -> str:
    """Return `time_s` as minutes and seconds, with hours where `longest_s` has any."""
    minutes, seconds = divmod(round(time_s), 60)
    if longest_s < 3600:
        return f"{minutes}:{seconds:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def mark_boundaries(
    all_axes: Sequence[Axes], boundaries_s: np.ndarray, kinds: Sequence[str] | None = None
) -> list[Artist]:
    """Draw a vertical line at every boundary through all axes, whose x axes hold seconds.

    Each kind has its colour and line style. Returned is one line of every kind, with its label, for a legend.
    """
    from matplotlib.patheffects import withStroke

    names = ["true boundary"] * len(boundaries_s) if kinds is None else list(kinds)
    if len(names) != len(boundaries_s):
        raise ValueError(f"Got {len(names)} kinds for {len(boundaries_s)} boundaries; pass one for each.")
    handles: dict[str, Artist] = {}
    order = list(dict.fromkeys(names))
    for time_s, name in zip(boundaries_s, names, strict=True):
        place = order.index(name)
        # The first colour of the palette belongs to the curves.
        color = LINE_COLORS[1 + place % (len(LINE_COLORS) - 1)]
        for axes in all_axes:
            style = LINE_STYLES[(place + 1) % len(LINE_STYLES)]
            line = axes.axvline(time_s, color=color, linestyle=style, linewidth=1.5, label=name, zorder=1.5)
            line.set_path_effects([withStroke(linewidth=3, foreground="white")])  # to show on any picture
            handles.setdefault(name, line)
    return list(handles.values())


def time_edges(centers_s: np.ndarray) -> np.ndarray:
    """Return the borders `(num_snippets + 1,)` between snippets whose centres are `centers_s`, in seconds."""
    if len(centers_s) == 1:
        return np.array([centers_s[0] - 0.5, centers_s[0] + 0.5])
    middles = (centers_s[1:] + centers_s[:-1]) / 2
    first, last = 2 * centers_s[0] - middles[0], 2 * centers_s[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])


def check_track(features: np.ndarray, centers_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features as floating-point numbers, not copied where they are, and times as float64."""
    features, centers_s = np.asarray(features), np.asarray(centers_s, dtype=np.float64)
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float64)
    if features.ndim != 2 or centers_s.shape != features.shape[:1] or len(features) < 2:
        raise ValueError(
            "Expected features (num_snippets, dim) and centers_s (num_snippets,) of at least 2 snippets, "
            f"got {features.shape} and {centers_s.shape}."
        )
    if not np.isfinite(features).all():
        raise ValueError("The features hold NaN or infinite values; extract them again.")
    if (np.diff(centers_s) <= 0).any():
        raise ValueError("centers_s must rise from snippet to snippet.")
    return features, centers_s
