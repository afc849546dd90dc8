"""Reads what `bsp-hf picture` draws besides features: boundaries in seconds, records of trainings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Names under which files of this package and of others keep boundaries.
_BOUNDARY_NAMES = ("true_boundaries", "boundaries", "boundaries_s")
_SEGMENT_NAMES = ("segments", "annotations", "actions")


@dataclass(frozen=True)
class KnownBoundaries:
    """Boundaries of one video.

    Args:
        times_s (`tuple[float, ...]`): When, in seconds.
        kinds (`tuple[str, ...]`, *optional*): The kind of each, if the file says.
    """

    times_s: tuple[float, ...]
    kinds: tuple[str, ...] | None = None


def read_boundaries(text: str) -> KnownBoundaries:
    """Read boundaries from `3.2,7.5` or from a JSON file.

    A file holds a list of seconds, or of objects with `time_s` and perhaps `kind`, under one of the names
    `true_boundaries`, `boundaries` and `boundaries_s`; or segments (`segment`: [start, end], or `start_s` and
    `end_s`) under `segments`, `annotations` or `actions`, whose ends are taken.

    Args:
        text (`str`): The seconds, or the name of the file.

    Returns:
        `KnownBoundaries`: In order of time.

    Raises:
        ValueError: If it is neither.
    """
    path = Path(text)
    if not path.is_file():
        try:
            return KnownBoundaries(tuple(sorted(float(word) for word in text.split(","))))
        except ValueError:
            raise ValueError(
                f"--boundaries {text}: this is neither a file nor seconds such as 3.2,7.5."
            ) from None
    content = read_json(path)
    if isinstance(content, dict) and len(content) == 1 and isinstance(next(iter(content.values())), dict):
        content = next(iter(content.values()))  # {video id: its annotations}
    for name in _BOUNDARY_NAMES:
        if isinstance(content, dict) and content.get(name):
            content = content[name]
            break
    if isinstance(content, dict):
        segments = next((content[name] for name in _SEGMENT_NAMES if content.get(name)), None)
        if segments is not None:
            ends_s = {round(end_s, 6) for segment in segments for end_s in _ends_of(segment, path)}
            return KnownBoundaries(tuple(sorted(ends_s)))
    if not isinstance(content, list):
        raise ValueError(f"{path}: found none of {', '.join(_BOUNDARY_NAMES + _SEGMENT_NAMES)} in it.")
    if all(isinstance(entry, dict) and "time_s" in entry for entry in content):
        rising = sorted(content, key=lambda entry: float(entry["time_s"]))
        kinds = tuple(str(entry["kind"]).replace("_", " ") for entry in rising if "kind" in entry)
        times_s = tuple(float(entry["time_s"]) for entry in rising)
        return KnownBoundaries(times_s, kinds if len(kinds) == len(times_s) else None)
    try:
        return KnownBoundaries(tuple(sorted(float(entry) for entry in content)))
    except (TypeError, ValueError):
        raise ValueError(f"{path}: its boundaries are neither seconds nor objects with time_s.") from None


def _ends_of(segment: Any, path: Path) -> Sequence[float]:  # Any: JSON
    if isinstance(segment, dict) and "segment" in segment:
        segment = segment["segment"]
    elif isinstance(segment, dict) and {"start_s", "end_s"} <= segment.keys():
        segment = [segment["start_s"], segment["end_s"]]
    if not isinstance(segment, list) or len(segment) != 2:
        raise ValueError(f"{path}: a segment is [start, end] in seconds, got {segment!r}.")
    return [float(end_s) for end_s in segment]


@dataclass(frozen=True)
class LabelledSpan:
    """One segment: start and end in seconds, its label, and its score where it was predicted."""

    span_s: tuple[float, float]
    label: str
    score: float = 1.0


@dataclass(frozen=True)
class SegmentsOfVideo:
    """True and predicted segments of one video, the latter from the likeliest on."""

    video_id: str
    duration_s: float
    true: tuple[LabelledSpan, ...]
    predicted: tuple[LabelledSpan, ...]


def read_segments(results: Path, annotations: Path, video_id: str | None, most: int) -> SegmentsOfVideo:
    """Read predictions and annotations of one video in ActivityNet's layouts.

    Args:
        results (`Path`): JSON with `results`: for each id a list of `segment`, `label` and `score`.
        annotations (`Path`): JSON with `database`, or just its content: for each id `duration` and a list of
            `segment` and `label` under `annotations` or `actions`.
        video_id (`str`, *optional*): The video; by default the first that both files hold.
        most (`int`): Most predictions to keep.

    Returns:
        `SegmentsOfVideo`: The segments.

    Raises:
        ValueError: If a file has another layout, or does not hold the video.
    """
    found, truth = read_json(results), read_json(annotations)
    found = found.get("results", found) if isinstance(found, dict) else {}
    truth = truth.get("database", truth) if isinstance(truth, dict) else {}
    # ActivityNet's own results leave out the "v_" of the names of the videos.
    spelled = {name.removeprefix("v_"): name for name in found}
    known = {name: spelled.get(name.removeprefix("v_"), name) for name in truth}
    shared = [name for name, other in known.items() if other in found]
    video_id = video_id or next(iter(shared), None)
    if video_id is None or video_id not in shared:
        raise ValueError(f"{results} and {annotations} do not both hold {video_id or 'one video'}.")
    entry, predicted = truth[video_id], found[known[video_id]]
    named = entry.get("annotations") or entry.get("actions") or []
    spans = [LabelledSpan(_span(part, annotations), str(part.get("label", "action"))) for part in named]
    guesses = [
        LabelledSpan(
            _span(part, results), str(part.get("label", "action")), min(1.0, max(0.0, float(part["score"])))
        )
        for part in sorted(predicted, key=lambda part: -float(part["score"]))[:most]
    ]
    ends_s = [span.span_s[1] for span in (*spans, *guesses)]
    return SegmentsOfVideo(
        video_id, float(entry.get("duration") or max(ends_s, default=1.0)), tuple(spans), tuple(guesses)
    )


def _span(part: Any, path: Path) -> tuple[float, float]:  # Any: JSON
    start_s, end_s = _ends_of(part, path)
    return start_s, end_s


def read_training_record(path: Path) -> dict[str, Any]:
    """Read the record of a training run from its folder or file.

    Args:
        path (`Path`): A checkpoint folder, or its `training_record.json`.

    Returns:
        `dict`: The record; its `history` holds what was logged.

    Raises:
        ValueError: If there is none, or it has no history.
    """
    file = path / "training_record.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{file} is missing: a training writes it when it ends.")
    record = read_json(file)
    if not isinstance(record, dict) or not record.get("history"):
        raise ValueError(f"{file}: it holds no history of a training.")
    return record


def read_json(path: Path) -> Any:  # Any: JSON
    """Read a JSON file; a broken one is a `ValueError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: this is no JSON ({error}).") from error
