"""Segments as JSON, as a CSV table, as WebVTT cues and as chapters of FFmpeg."""

import csv
import io
import json
import re
from fractions import Fraction
from typing import Any

from bsp_hf.localization.boundaries.kinds import CHANGE_KINDS
from bsp_hf.localization.localizer.segments import find_skipped

from .types import SegmentedVideo

FORMAT_VERSION = 1
CSV_COLUMNS = (
    "video_id",
    "segment",
    "start_s",
    "end_s",
    "start_frame",
    "end_frame",
    "kind",
    "score",
)


def render_json(video: SegmentedVideo) -> str:
    """Return all that is known, with the changes under `boundaries` as other commands read them."""
    segments = video.segments
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "video_id": video.video_id,
        "video": video.path,
        "duration_s": _seconds(video.duration_s),
        "frame_rate": str(video.frame_rate),
        "has_constant_rate": video.has_constant_rate,
        "num_frames": len(video.frame_times_s),
        "width": video.width,
        "height": video.height,
        "encoder": video.encoder,
        "threshold": video.threshold,
        "error": video.error,
        "skipped_s": find_skipped(video.times_s, video.scores),
        "boundaries": [
            {"time_s": _seconds(one.start_s), "frame": one.start_frame, "kind": one.kind, "score": one.score}
            for one in segments[1:]
        ],
        "segments": [
            {
                "start_s": _seconds(one.start_s),
                "end_s": _seconds(one.end_s),
                "start_frame": one.start_frame,
                "end_frame": one.end_frame,
                "kind": one.kind,
                "score": one.score,
            }
            for one in segments
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def render_csv(video: SegmentedVideo) -> str:
    """Return a table with a row for each segment, counted from 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for number, one in enumerate(video.segments, start=1):
        places = (_seconds(one.start_s), _seconds(one.end_s), one.start_frame, one.end_frame)
        score = "" if one.score is None else f"{one.score:.4f}"
        writer.writerow((video.video_id, number, *places, one.kind or "", score))
    return text.getvalue()


def render_webvtt(video: SegmentedVideo) -> str:
    """Return a cue for each segment, to the millisecond, which is what WebVTT has."""
    cues = ["WEBVTT\n"]
    for number, one in enumerate(video.segments):
        title = video.title_of(number)
        cues.append(f"{number + 1}\n{_clock(one.start_s)} --> {_clock(one.end_s)}\n{title}\n")
    return "\n".join(cues)


def render_chapters(video: SegmentedVideo) -> str:
    """Return FFmpeg's metadata with a chapter for each segment.

    Where the rate is constant, times count frames; else microseconds.
    """
    counts_frames = video.has_constant_rate
    unit_s = 1 / video.frame_rate if counts_frames else Fraction(1, 1_000_000)
    lines = [";FFMETADATA1", f"title={_escape(video.video_id)}"]
    for number, one in enumerate(video.segments):
        places = [one.start_frame, one.end_frame]
        if not counts_frames:
            places = [round(one.start_s / unit_s), round(one.end_s / unit_s)]
        lines += [
            "",
            "[CHAPTER]",
            f"TIMEBASE={unit_s.numerator}/{unit_s.denominator}",
            f"START={places[0]}",
            f"END={places[1]}",
            f"title={_escape(video.title_of(number))}",
        ]
    return "\n".join(lines) + "\n"


def describe_kind(kind: str | None) -> str:
    """Return what a kind is called in texts; the first segment begins with the video."""
    return "start" if kind is None else CHANGE_KINDS.get(kind, kind)


def _seconds(time_s: float) -> float:
    return round(time_s, 6)


def _clock(time_s: float) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"


def _escape(text: str) -> str:
    return re.sub(r"([=;#\\\n])", r"\\\1", text)
