"""Segments as one HTML file that needs nothing beside it."""

import base64
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np

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
    return _PAGE.render(
        video=video,
        pictures=pictures or [""] * len(video.segments),
        outline=_outline(video),
        link=link,
        clock=_clock,
        describe=describe_kind,
    )


def _outline(video: SegmentedVideo) -> str:
    """Return the response as points of a polygon, the highest of each stretch where there are many."""
    if video.times_s is None or video.scores is None or video.threshold is None or not len(video.scores):
        return ""
    start_s = video.segments[0].start_s
    starts = np.arange(0, len(video.scores), -(-len(video.scores) // _MOST_POINTS))
    x = 1000 * np.clip((video.times_s[starts] - start_s) / max(video.duration_s - start_s, 1e-9), 0, 1)
    y = 100 - 100 * np.maximum.reduceat(video.scores, starts)
    inside = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f"{x[0]:.1f},100 {inside} {x[-1]:.1f},100"


def _clock(time_s: float) -> str:
    hundredths = round(time_s * 100)
    minutes, seconds = divmod(hundredths // 100, 60)
    hours = f"{minutes // 60}:" if minutes >= 60 else ""
    return f"{hours}{minutes % 60:0{2 if hours else 1}d}:{seconds:02d}.{hundredths % 100:02d}"


_PAGE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined, autoescape=True
).get_template("page.html")
