"""Segments as timelines of editing programs: OpenTimelineIO and CMX 3600 EDL, by their own libraries."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from bsp_hf.files import escape_controls

from .text_files import describe_kind
from .types import SegmentedVideo

# SMPTE's rates, which an EDL can count; those of NTSC count with dropped numbers where there are such.
_TIMECODE_RATES = sorted(
    [Fraction(rate) for rate in (24, 25, 30, 48, 50, 60)]
    + [Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60)]
)
_DROPPING = (Fraction(30000, 1001), Fraction(60000, 1001))
_MOST_EVENTS = 999


def render_otio(video: SegmentedVideo) -> str:
    """Return an OpenTimelineIO timeline of one track with a clip for each segment."""
    otio = import_otio()
    return otio.adapters.write_to_string(_make_timeline(otio, video, video.frame_rate), "otio_json") + "\n"


def render_edl(video: SegmentedVideo) -> str:
    """Return a CMX 3600 edit decision list with an event for each segment."""
    otio = import_otio()
    if len(video.segments) > _MOST_EVENTS:
        raise ValueError(
            f"{video.video_id} has {len(video.segments)} segments, an EDL has at most {_MOST_EVENTS} events; "
            f"ask for at most as many segments (--max-segments {_MOST_EVENTS}), or write OpenTimelineIO."
        )
    rate = edl_rate(video.frame_rate)
    timeline = _make_timeline(otio, video, rate)
    text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=float(rate))
    title, _, events = text.partition("\n")
    mode = "DROP FRAME" if rate in _DROPPING else "NON-DROP FRAME"
    return f"{title}\nFCM: {mode}\n{events}"


def edl_rate(frame_rate: Fraction) -> Fraction:
    """Return the rate of timecode that counts frames: their own, else a multiple of it, else a faster one."""
    multiples = [rate for rate in _TIMECODE_RATES if (rate / frame_rate).denominator == 1]
    faster = [rate for rate in _TIMECODE_RATES if rate > frame_rate]
    return [*multiples, *faster, _TIMECODE_RATES[-1]][0]


def import_otio() -> Any:  # Any: the library
    """Return the library, or raise with what to install."""
    try:
        import opentimelineio
        import otio_cmx3600_adapter  # noqa: F401  # found by name
    except ImportError as error:
        raise ImportError(
            'OpenTimelineIO and EDL need their libraries: pip install "opentimelineio>=0.18.1" '
            '"otio-cmx3600-adapter>=1.0" (the extra "otio" of bsp_hf).'
        ) from error
    return opentimelineio


def _make_timeline(otio: Any, video: SegmentedVideo, rate: Fraction) -> Any:
    schema, time = otio.schema, otio.opentime

    def span(start: int, end: int) -> Any:
        return time.TimeRange(
            time.RationalTime(start, float(rate)), time.RationalTime(end - start, float(rate))
        )

    reference = schema.MissingReference(name=video.video_id)
    if video.path is not None:
        place = video.path if "://" in video.path else Path(video.path).absolute().as_uri()
        reference = schema.ExternalReference(place, span(0, _count(video, video.duration_s, rate)))
    track = schema.Track("V1", kind=schema.TrackKind.Video)
    edges = [_count(video, one.start_s, rate) for one in video.segments]
    edges.append(_count(video, video.duration_s, rate))
    for number, (start, end) in enumerate(pairwise(edges)):
        if start == end:  # two frames of a varying rate in one of the timeline
            continue
        one = video.segments[number]
        record = {"kind": describe_kind(one.kind), "start_s": one.start_s, "end_s": one.end_s}
        record |= {"start_frame": one.start_frame, "end_frame": one.end_frame}
        record |= {} if one.score is None else {"score": one.score}
        track.append(
            schema.Clip(video.title_of(number), reference.clone(), span(start, end), {"bsp_hf": record})
        )
    name = escape_controls(video.video_id)
    timeline = schema.Timeline(name, metadata={"bsp_hf": {"encoder": video.encoder or ""}})
    timeline.tracks.append(track)
    return timeline


def _count(video: SegmentedVideo, time_s: float, rate: Fraction) -> int:
    """Return the number of the frame that a timeline of constant rate shows at a time."""
    return round(Fraction(time_s) * rate)
