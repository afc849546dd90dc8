"""The formats of segments, one writer each, by name and by the end of a file's name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bsp_hf.files import atomic_write_text

from .page import render_page
from .text_files import render_chapters, render_csv, render_json, render_webvtt
from .timelines import render_edl, render_otio
from .types import SegmentedVideo


@dataclass(frozen=True)
class SegmentFormat:
    """A format: how its files end, what it is for, and what makes the text."""

    suffix: str
    description: str
    render: Callable[[SegmentedVideo], str]


SEGMENT_FORMATS = {
    "json": SegmentFormat(".json", "all that is known", render_json),
    "csv": SegmentFormat(".csv", "a table", render_csv),
    "webvtt": SegmentFormat(".vtt", "chapters or captions of video players", render_webvtt),
    "chapters": SegmentFormat(".ffmetadata", "chapters for FFmpeg", render_chapters),
    "otio": SegmentFormat(".otio", "OpenTimelineIO, for editing programs", render_otio),
    "edl": SegmentFormat(".edl", "CMX 3600 edit decision list", render_edl),
    "html": SegmentFormat(".html", "a page with thumbnails", render_page),
}


def write_segments(video: SegmentedVideo, path: str | Path, format: str | None = None) -> Path:
    """Write the segments of a video to a file, which appears whole.

    Args:
        video (`SegmentedVideo`): From [`segment_video`]; for a page with `thumbnails=True`.
        path (`str` or `Path`): The file; replaced if it exists.
        format (`str`, *optional*): `"json"`, `"csv"`, `"webvtt"`, `"chapters"`, `"otio"`, `"edl"` or
            `"html"`. By default what the name ends in: `.json`, `.csv`, `.vtt`, `.ffmetadata`, `.otio`,
            `.edl` or `.html`.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If the format is unknown, or cannot hold the segments.
        ImportError: If the libraries of a timeline are not installed.
    """
    text = SEGMENT_FORMATS[format_of(path) if format is None else check_format(format)].render(video)
    atomic_write_text(path, text)
    return Path(path)


def check_format(name: str) -> str:
    """Return the name of a format, or raise if there is none of it."""
    if name not in SEGMENT_FORMATS:
        raise ValueError(f"format {name!r} is none of {', '.join(SEGMENT_FORMATS)}.")
    return name


def format_of(path: str | Path) -> str:
    """Return the format that the end of a file's name says."""
    by_suffix = {known.suffix: name for name, known in SEGMENT_FORMATS.items()}
    suffix = Path(path).suffix.lower()
    if suffix not in by_suffix:
        raise ValueError(f"{path} ends in none of {', '.join(by_suffix)}; pass the format too.")
    return by_suffix[suffix]
