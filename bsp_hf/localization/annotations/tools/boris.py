"""BORIS: projects (`.boris`) with state events, and its export of aggregated events as a table."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..reading import (
    BadRowError,
    Entry,
    JsonText,
    ReadingOptions,
    Row,
    SegmentRow,
    expect_mapping,
    read_table,
    to_list,
    to_number,
    to_record,
)
from ..types import AnnotatedVideo
from .media import Media, id_of_media, media_of

logger = logging.getLogger(__name__)

_FILE_COLUMNS, _FPS_COLUMNS = ("Media file name", "Media file"), ("FPS (frame/s)", "FPS")
EXPORT_COLUMNS = ("Observation id", "Behavior", "Behavior type", "Start (s)", "Stop (s)")


def boris_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a project, or a table of aggregated events.

    The first event of a subject and behaviour begins a state and the next ends it. Point events have no
    length and are left out. Videos are those of the first player; files that an observation shows one after
    another are videos of their own.
    """
    if path.name.removesuffix(".gz").endswith((".csv", ".tsv")):
        yield from _export_entries(path, options)
        return
    text = JsonText(path)
    project = expect_mapping(text.data, path, "a project of BORIS")
    behaviours = to_record(project.get("behaviors_conf") or {}, "behaviors_conf").values()
    points = {
        str(one.get("code"))
        for one in (to_record(behaviour, "behaviors_conf") for behaviour in behaviours)
        if "Point" in str(one.get("type"))
    }
    observations = expect_mapping(project.get("observations"), path, "observations of BORIS")
    for name, observation in observations.items():
        yield Entry(text.line_of(name), None, _observation_rows(name, observation, points, options.subset))


def _observation_rows(name: str, observation: Any, points: set[str], subset: str) -> Iterator[Row]:
    observation = to_record(observation, "the observation")
    files = observation.get("file") or {}
    files = to_list((files.get("1") or [] if isinstance(files, Mapping) else files), "file")
    if not all(isinstance(file, str) for file in files):
        raise BadRowError(f"file is {files!r}, expected names.")
    info = to_record(observation.get("media_info") or {}, "media_info")
    lengths, rates = (to_record(info.get(fact) or {}, fact) for fact in ("length", "fps"))
    if observation.get("time offset") not in (None, 0, 0.0):
        raise BadRowError(f"observation {name!r} has a time offset; set it to 0 in BORIS.")
    if len(files) > 1 and not all(file in lengths for file in files):
        raise BadRowError(f"observation {name!r}: the length of one of its {len(files)} files is not known.")
    starts_s = [0.0]
    for file in files[:-1]:
        starts_s.append(starts_s[-1] + to_number(lengths[file], "length"))
    states = _pair_events(name, to_list(observation.get("events") or [], "events"), points)
    for number, file in enumerate(files or [None]):
        ids = {"video_id": name if file is None else id_of_media(file), "subset": subset}
        yield {**ids, "duration": lengths.get(file) or None, "fps": rates.get(file) or None}
        for window, label in states:
            if not isinstance(window, tuple):
                if number == 0:
                    yield SegmentRow(window, label)  # which is refused, with its reason
                continue
            last = number == len(starts_s) - 1
            if starts_s[number] <= window[0] and (last or window[0] < starts_s[number + 1]):
                yield SegmentRow((window[0] - starts_s[number], window[1] - starts_s[number]), label)


def _pair_events(name: str, events: list[Any], points: set[str]) -> list[tuple[Any, str]]:
    """Return start, end and behaviour of the states; a start without an end as a window that is refused."""
    open_since: dict[tuple[Any, ...], float] = {}
    states: list[tuple[Any, str]] = []
    num_points = 0
    for event in events:
        if len(to_list(event, "event")) < 3 or not all(isinstance(text, str) for text in event[1:3]):
            raise BadRowError(f"event is {event!r}, expected time, subject, behaviour and so on.")
    for event in sorted(events, key=lambda one: to_number(one[0], "time")):
        time_s, subject, code, modifiers = [*event, ""][:4]
        if code in points:
            num_points += 1
            continue
        key = (subject, code, str(modifiers))
        if key in open_since:
            states.append(((open_since.pop(key), float(time_s)), code))
        else:
            open_since[key] = float(time_s)
    if num_points:
        logger.warning("observation %r: %d point events have no length and are left out", name, num_points)
    states.extend(
        (f"{start_s:g} s, without an end", str(code)) for (_, code, _), start_s in open_since.items()
    )
    return states


def _export_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    rows = list(read_table(path, EXPORT_COLUMNS))
    files = defaultdict(set)
    for row in rows:
        files[row.values["Observation id"]].add(_first_of(row.values, _FILE_COLUMNS))
    for row in rows:
        yield Entry(row.line, None, row.check(_export_rows(row.values, files, options.subset)))


def _export_rows(values: dict[str, str], files: Mapping[str, set[str]], subset: str) -> Iterator[Row]:
    observation, file = values["Observation id"], _first_of(values, _FILE_COLUMNS)
    if to_number(values.get("Time offset (s)") or 0, "Time offset (s)"):
        raise BadRowError(f"observation {observation!r} has a time offset; set it to 0 in BORIS.")
    if len(files[observation]) > 1:
        raise BadRowError(
            f"observation {observation!r} counts time over several files; read the project instead."
        )
    yield {
        "video_id": id_of_media(file) if file else observation,
        "subset": subset,
        "fps": _first_of(values, _FPS_COLUMNS) or None,
    }
    if values["Behavior type"] == "STATE":
        yield SegmentRow((values["Start (s)"], values["Stop (s)"]), values["Behavior"])


def _first_of(values: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((values[name] for name in names if values.get(name)), "")


def render_boris(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return a project with an observation for each video and a state event for each label."""
    labels = sorted({segment.label or "segment" for video in videos for segment in video.segments})
    now = datetime.now().isoformat(timespec="seconds")
    project = {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": "",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": {
            str(number): {
                "type": "State event",
                "key": chr(ord("a") + number) if number < 26 else "",
                "code": label,
                "description": "",
                "color": "",
                "category": "",
                "modifiers": "",
                "excluded": "",
                "coding map": "",
            }
            for number, label in enumerate(labels)
        },
        "observations": {
            video.video_id: _observation(video, media_of(video, media), now) for video in videos
        },
        "behavioral_categories": [],
        "behavioral_categories_config": {},
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return json.dumps(project, indent=1, ensure_ascii=False) + "\n"


def _observation(video: AnnotatedVideo, file: str, now: str) -> dict[str, Any]:
    ordered = sorted(video.segments, key=lambda one: (one.label, one.start_s))
    for one, other in pairwise(ordered):
        if one.label == other.label and other.start_s < one.end_s:
            raise ValueError(
                f"{video.video_id}: two segments {one.label!r} overlap at {other.start_s:g} s, which state "
                "events of BORIS cannot; write another format."
            )
    events: list[Any] = []
    # By the starts, so that where one ends and the next begins, the end comes first.
    for segment in sorted(video.segments, key=lambda one: (one.start_s, one.end_s)):
        for time_s in (segment.start_s, segment.end_s):
            frame = "NA" if video.fps is None else round(time_s * video.fps)
            events.append([round(time_s, 6), "", segment.label or "segment", "", "", frame])
    events.sort(key=lambda event: event[0])
    return {
        "file": {"1": [file], **{str(player): [] for player in range(2, 9)}},
        "type": "MEDIA",
        "date": now,
        "description": "",
        "time offset": 0.0,
        "events": events,
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {} if video.duration_s is None else {file: video.duration_s},
            "fps": {} if video.fps is None else {file: video.fps},
            "hasVideo": {file: True},
            "hasAudio": {file: False},
            "offset": {"1": 0.0},
        },
    }
