"""Pictures of frames: synthesized clips with their boundaries, and where a long video changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .style import BLUE, GREEN, GREY, VERMILLION, label_time_axis, mark_boundaries, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_boundary_clips(
    clips: Sequence[np.ndarray],
    titles: Sequence[str],
    boundary_frames: Sequence[int | None],
    blend_half_widths: Sequence[int] | None = None,
    max_frames: int = 16,
    jump_frames: Sequence[Sequence[int]] | None = None,
) -> Figure:
    """Show synthesized clips as rows of frames with their boundaries (the paper's Figure 2).

    Args:
        clips (`Sequence[np.ndarray]`): One row each: uint8 `(num_frames, height, width, 3)`, RGB.
        titles (`Sequence[str]`): What stands above each row, such as its boundary type.
        boundary_frames (`Sequence[int | None]`): For each clip its first frame behind the boundary; 0 or
            `None` for a clip without one.
        blend_half_widths (`Sequence[int]`, *optional*): For each clip half its cross-fade, in frames.
        max_frames (`int`, *optional*, defaults to 16): Most frames of a row; of a longer clip as many are
            shown, evenly spread. Their numbers count from 0.
        jump_frames (`Sequence[Sequence[int]]`, *optional*): For each clip the first frames behind jumps that
            are no boundary, as where the same event goes on in another view.

    Returns:
        `Figure`: One axes a clip.

    Raises:
        ValueError: If the sequences have different lengths or are empty, or a clip has another shape.
        ImportError: If matplotlib is not installed.

    Example:
        >>> clips = [np.zeros((8, 48, 64, 3), np.uint8)] * 2
        >>> figure = plot_boundary_clips(clips, ["diff-class", "same-speed"], [4, None], [1, 0])
        >>> len(figure.axes)
        2
    """
    blends = [0] * len(clips) if blend_half_widths is None else list(blend_half_widths)
    jumps = [()] * len(clips) if jump_frames is None else list(jump_frames)
    if not clips or not len(clips) == len(titles) == len(boundary_frames) == len(blends) == len(jumps):
        raise ValueError(
            f"Got {len(clips)} clips, {len(titles)} titles, {len(boundary_frames)} boundary frames and "
            f"{len(blends)} blends; pass one of each for every clip, and at least one."
        )
    clips = [np.asarray(clip) for clip in clips]
    for clip in clips:
        if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or not len(clip):
            raise ValueError(
                f"A clip is uint8 (num_frames, height, width, 3), got {clip.dtype} {clip.shape}."
            )
    num_columns = min(max(len(clip) for clip in clips), max_frames)
    width_in = max(5.0, min(12.0, 1.3 * num_columns))
    row_heights_in = [width_in / num_columns * clip.shape[1] / clip.shape[2] + 0.55 for clip in clips]
    figure = new_figure(width_in, sum(row_heights_in) + 0.4)
    rows = figure.subplots(len(clips), 1, squeeze=False, height_ratios=row_heights_in)[:, 0]
    for axes, clip, title, boundary_frame, blend, jump in zip(
        rows, clips, titles, boundary_frames, blends, jumps, strict=True
    ):
        _draw_row(axes, clip, num_columns, boundary_frame or 0, blend, jump)
        axes.set_title(title, loc="left", fontsize=10, pad=9)
    _add_row_legend(figure, any(boundary_frames), any(blends), any(len(jump) for jump in jumps))
    return figure


def _draw_row(
    axes: Axes,
    clip: np.ndarray,
    num_columns: int,
    boundary_frame: int,
    blend: int,
    jump_frames: Sequence[int],
) -> None:
    numbers = np.unique(np.rint(np.linspace(0, len(clip) - 1, min(num_columns, len(clip)))).astype(int))
    for column, number in enumerate(numbers):
        axes.imshow(clip[number], extent=(column + 0.02, column + 0.98, 0, 1), aspect="auto")
    axes.set_xlim(0, num_columns)
    axes.set_ylim(0, 1)
    axes.set_aspect(clip.shape[1] / clip.shape[2])
    axes.set_yticks([])
    axes.set_xticks(np.arange(len(numbers)) + 0.5, [str(number) for number in numbers], fontsize=8)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    for place in np.searchsorted(numbers, jump_frames):
        axes.axvline(place, color=GREY, linewidth=2.5, linestyle=(0, (2, 1)))
    if boundary_frame > 0:
        # Between the last shown frame before the boundary and the first behind it.
        place, blend_start, blend_end = np.searchsorted(
            numbers, [boundary_frame, boundary_frame - blend, boundary_frame + blend]
        )
        axes.axvline(place, color=VERMILLION, linewidth=2.5)
        axes.plot(place, 1.08, "v", color=VERMILLION, markersize=9, clip_on=False)
        if blend:
            axes.plot(
                [blend_start, blend_end], [1.03, 1.03], color=BLUE, linewidth=3, clip_on=False, zorder=1.9
            )


def _add_row_legend(figure: Figure, has_boundary: bool, has_blend: bool, has_jump: bool) -> None:
    from matplotlib.lines import Line2D

    handles = []
    if has_boundary:
        handles.append(Line2D([], [], color=VERMILLION, marker="v", linestyle="-", label="boundary"))
    if has_blend:
        handles.append(Line2D([], [], color=BLUE, linewidth=3, label="cross-fade"))
    if has_jump:
        handles.append(Line2D([], [], color=GREY, linewidth=2.5, linestyle=(0, (2, 1)), label="another view"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def plot_boundary_response(
    centers_s: np.ndarray,
    response: np.ndarray,
    boundaries_s: np.ndarray | Sequence[float] = (),
    frames: np.ndarray | None = None,
    frame_times_s: np.ndarray | None = None,
    picked_s: np.ndarray | Sequence[float] = (),
    kinds: Sequence[str] | None = None,
    threshold: float | None = None,
    title: str = "Where the video changes",
) -> Figure:
    """Show a boundary response over time above a film strip of the video.

    Args:
        centers_s (`np.ndarray`): `(num_windows,)`, rising; the time of each response in seconds.
        response (`np.ndarray`): `(num_windows,)`, how much each moment looks like a boundary; the curve has a
            gap where it is NaN.
        boundaries_s (`np.ndarray`, *optional*, defaults to `()`): True boundaries, in seconds.
        frames (`np.ndarray`, *optional*): Some frames of the video, uint8 `(num_frames, height, width, 3)`;
            about a dozen of them, evenly spread over time, make the strip. Without them there is none.
        frame_times_s (`np.ndarray`, *optional*): `(num_frames,)`, rising; when each frame is shown, in
            seconds. Needed with `frames`.
        picked_s (`np.ndarray`, *optional*, defaults to `()`): Times picked as boundaries, in seconds.
        kinds (`Sequence[str]`, *optional*): Kind of every true boundary, for the legend.
        threshold (`float`, *optional*): Smallest response of a picked boundary.
        title (`str`, *optional*, defaults to `"Where the video changes"`): Title of the picture.

    Returns:
        `Figure`: Axes of the curve and, with `frames`, of the strip.

    Raises:
        ValueError: If lengths do not fit together, or `frames` come without their times.
        ImportError: If matplotlib is not installed.

    Example:
        >>> times_s = np.arange(0, 10, 0.1)
        >>> figure = plot_boundary_response(times_s, np.exp(-((times_s - 4) ** 2)), [4.0], picked_s=[4.1])
        >>> figure.axes[0].get_xlabel()
        'time (s)'
    """
    centers_s, response = np.asarray(centers_s, dtype=float), np.asarray(response, dtype=float)
    if centers_s.ndim != 1 or centers_s.shape != response.shape or not len(centers_s):
        raise ValueError(f"Got {centers_s.shape} times for {response.shape} responses; pass one for each.")
    start_s, end_s = float(centers_s[0]), float(centers_s[-1])
    if frames is not None:
        if frame_times_s is None or len(frame_times_s) != len(frames) or not len(frames):
            raise ValueError("frames need frame_times_s, a time in seconds for each of at least one frame.")
        start_s, end_s = min(start_s, float(frame_times_s[0])), max(end_s, float(frame_times_s[-1]))
    if start_s == end_s:
        end_s = start_s + 1

    strip_in = 0.85
    figure = new_figure(12, 3.6 if frames is None else 3.6 + strip_in)
    if frames is None:
        all_axes = [figure.subplots()]
    else:
        all_axes = list(figure.subplots(2, 1, sharex=True, height_ratios=[3.0, strip_in]))
        _draw_strip(
            all_axes[1], frames, np.asarray(frame_times_s, dtype=float), start_s, end_s, 11 / strip_in
        )
    axes = all_axes[0]
    width = 1.6 if len(response) < 3000 else 0.8
    (curve,) = axes.plot(centers_s, response, color=BLUE, linewidth=width, label="boundary response")
    handles = [curve, *mark_boundaries(all_axes, np.asarray(boundaries_s, dtype=float), kinds)]
    picked = np.asarray(picked_s, dtype=float)
    if len(picked):
        known = np.isfinite(response)
        heights = np.interp(picked, centers_s[known], response[known])
        handles += axes.plot(
            picked,
            heights,
            "o",
            color=GREEN,
            markeredgecolor="black",
            markersize=8,
            label="picked",
            zorder=3,
            clip_on=False,  # one at the very end is whole
        )
    if threshold is not None:
        handles.append(
            axes.axhline(threshold, color=GREY, linewidth=1, linestyle=(0, (1, 3)), label="threshold")
        )
    axes.set_ylabel("boundary response")
    axes.margins(y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(start_s, end_s)
    label_time_axis(all_axes[-1].xaxis, start_s, end_s, max_ticks=10)
    figure.suptitle(title, fontsize=12)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), frameon=False)
    return figure


def _draw_strip(
    axes: Axes,
    frames: np.ndarray,
    times_s: np.ndarray,
    start_s: float,
    end_s: float,
    width_over_height: float,
) -> None:
    height, width = frames.shape[1:3]
    num_thumbnails = max(1, round(width_over_height * height / width))
    edges_s = np.linspace(start_s, end_s, num_thumbnails + 1)
    gap_s = 0.01 * (edges_s[1] - edges_s[0])
    for left_s, right_s in pairwise(edges_s):
        nearest = np.abs(times_s - (left_s + right_s) / 2).argmin()
        axes.imshow(frames[nearest], extent=(left_s + gap_s, right_s - gap_s, 0, 1), aspect="auto")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
