"""Segments as one HTML file that needs nothing beside it."""

import base64
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np

from bsp_hf.localization.boundaries.response import encoded_runs

from .text_files import describe_kind
from .types import SegmentedVideo

_MOST_POINTS = 1000


def render_page(video: SegmentedVideo) -> str:
    """Return a page with the boundary response, a bar of the segments, and a picture of each.

    Pictures lead to their place in the video, if that lies where it lay.
    """
    pictures = [base64.b64encode(picture).decode() for picture in video.thumbnails]
    link = quote(video.path or "", ":/")
    if video.path and "://" not in video.path:
        link = Path(video.path).absolute().as_uri()
    outlines = outline_response(video.times_s, video.scores, video.segments[0].start_s, video.duration_s)
    return _PAGE.render(
        video=video,
        pictures=pictures or [""] * len(video.segments),
        outlines=outlines if video.threshold is not None else [],
        link=link,
        clock=_clock,
        describe=describe_kind,
    )


def outline_response(
    times_s: np.ndarray | None, scores: np.ndarray | None, start_s: float, end_s: float
) -> list[str]:
    """Return the points of a polygon for each stretch of a response that is not NaN, 1000 wide and 100 high.

    Of many windows the highest of each stretch is kept.
    """
    if times_s is None or scores is None or not len(scores):
        return []
    starts = np.arange(0, len(scores), -(-len(scores) // _MOST_POINTS))
    x = 1000 * np.clip((times_s[starts] - start_s) / max(end_s - start_s, 1e-9), 0, 1)
    highest = np.fmax.reduceat(scores, starts)
    points = np.array([f"{a:.1f},{100 - 100 * b:.1f}" for a, b in zip(x, highest, strict=True)])
    return [
        f"{x[run][0]:.1f},100 {' '.join(points[run])} {x[run][-1]:.1f},100" for run in encoded_runs(highest)
    ]


def _clock(time_s: float) -> str:
    hundredths = round(time_s * 100)
    minutes, seconds = divmod(hundredths // 100, 60)
    hours = f"{minutes // 60}:" if minutes >= 60 else ""
    return f"{hours}{minutes % 60:0{2 if hours else 1}d}:{seconds:02d}.{hundredths % 100:02d}"


_PAGE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined, autoescape=True
).get_template("page.html")
