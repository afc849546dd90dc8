"""Reads annotations in any layout, and those of one's own as a plain CSV or JSON file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .detection import read_activitynet, read_coin, read_crosstask, read_thumos_table
from .grounding import read_captions, read_charades_sta, read_qvhighlights
from .reading import (
    AnnotationCollector,
    BadRowError,
    JsonText,
    expect_mapping,
    read_table,
    read_text,
    to_duration,
)
from .types import AnnotationSet

ANNOTATION_LAYOUTS: dict[str, str] = {
    "activitynet": '{"database": {id: {subset, duration, annotations}}}; also THUMOS14 in that form',
    "captions": "ActivityNet Captions, TACoS: {id: {duration or fps, num_frames, timestamps, sentences}}",
    "charades-sta": "lines of VIDEO START END##sentence; durations in a table of id and length",
    "coin": "{database: {id: {class, duration, annotation}}} or a list of such records",
    "crosstask": "a folder of TASK_VIDEO.csv, or a table task,video,step,start,end",
    "qvhighlights": "JSON lines with qid, query, vid, duration, relevant_windows",
    "thumos-table": "a table video,type,start,end or video-name,t-init,t-end,label-idx",
    "csv": "a table video,start,end with label or sentence, and optionally duration and subset",
    "json": "a list of {video, start, end, label or sentence}, or {id: {duration, segments, queries}}",
}
_WINDOW_COLUMNS = ("video", "start", "end")


def read_annotations(
    path: str | Path,
    layout: str | None = None,
    *,
    subset: str = "",
    durations: str | Path | None = None,
    tasks: str | Path | None = None,
    validation_videos: str | Path | None = None,
    strict: bool = False,
) -> AnnotationSet:
    r"""Read an annotation file.

    Args:
        path (`str` or `Path`): The file, plain or gzipped; for CrossTask also its folder.
        layout (`str`, *optional*): One of `ANNOTATION_LAYOUTS`; by default what [`detect_layout`] finds.
        subset (`str`, *optional*, defaults to `""`): Subset of the videos, for layouts of one file a subset.
        durations (`str` or `Path`, *optional*): Table of `id` and `length`, for `charades-sta`.
        tasks (`str` or `Path`, *optional*): List of tasks, for `crosstask`.
        validation_videos (`str` or `Path`, *optional*): List of held-out videos, for `crosstask`.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out and
            list it in `problems`.

    Returns:
        `AnnotationSet`: The videos.

    Raises:
        AnnotationError: If `strict` is set and a row is bad; it lists them by file and line.
        OSError: If the file cannot be opened.
        ValueError: If the layout is unknown, or the file has another one.

    Example:
    ```python
    >>> import tempfile, pathlib
    >>> from bsp_hf.localization.annotations.layouts import read_annotations
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("video,start,end,label\nv1,2.0,7.5,jump\nv1,9,8,run\n")
    >>> found = read_annotations(path)
    >>> found.videos[0].segments, found.problems[0].line
    ((Segment(start_s=2.0, end_s=7.5, label='jump'),), 3)

    ```
    """
    layout = detect_layout(path) if layout is None else layout
    if layout not in ANNOTATION_LAYOUTS:
        raise ValueError(f"layout {layout!r} is unknown; choose one of {', '.join(ANNOTATION_LAYOUTS)}.")
    if layout == "activitynet":
        return read_activitynet(path, strict)
    if layout == "captions":
        return read_captions(path, subset, strict)
    if layout == "charades-sta":
        return read_charades_sta(path, durations, subset, strict)
    if layout == "coin":
        return read_coin(path, strict)
    if layout == "crosstask":
        return read_crosstask(path, tasks, validation_videos, strict)
    if layout == "qvhighlights":
        return read_qvhighlights(path, subset, strict)
    if layout == "thumos-table":
        return read_thumos_table(path, subset, strict)
    return (
        read_plain_table(path, subset, strict) if layout == "csv" else read_plain_json(path, subset, strict)
    )


def detect_layout(path: str | Path) -> str:
    """Tell the layout of an annotation file from its content.

    Args:
        path (`str` or `Path`): The file or folder.

    Returns:
        `str`: One of `ANNOTATION_LAYOUTS`.

    Raises:
        OSError: If there is nothing at `path`.
        ValueError: If it is none of them.
    """
    if Path(path).is_dir():
        return "crosstask"
    name = Path(path).name.removesuffix(".gz")
    text = read_text(path)
    first = text.lstrip().partition("\n")[0]
    if name.endswith(".csv"):
        columns = set(first.strip().split(","))
        if {"task", "video", "step"} <= columns:
            return "crosstask"
        return "thumos-table" if "video-name" in columns or "type_idx" in columns else "csv"
    if name.endswith(".jsonl"):
        return "qvhighlights"
    if "##" in first and not name.endswith(".json"):
        return "charades-sta"
    if name.endswith(".json"):
        return _detect_json(path, text)
    raise ValueError(f"{path}: the layout cannot be told; pass one of {', '.join(ANNOTATION_LAYOUTS)}.")


def _detect_json(path: str | Path, text: str) -> str:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}). Is it complete?") from error
    if isinstance(data, Mapping) and isinstance(data.get("database"), Mapping):
        is_coin = any(isinstance(r, Mapping) and "annotation" in r for r in data["database"].values())
        return "coin" if is_coin else "activitynet"
    records: list[Any] = list(data.values()) if isinstance(data, Mapping) else list(data or ())
    first: Any = records[0] if records else {}  # Any: the leaves of somebody's JSON
    if isinstance(first, Mapping):
        if "timestamps" in first:
            return "captions"
        inner = next(iter(first.values()), None)
        if isinstance(data, list) and isinstance(inner, Mapping) and "annotation" in inner:
            return "coin"
    return "json"


def read_plain_table(path: str | Path, subset: str = "", strict: bool = False) -> AnnotationSet:
    """Read a table of one's own: columns `video`, `start`, `end`, and `label` or `sentence` or both.

    Columns `duration`, `subset` and `query_id` are read where they are there. A row without start and end
    names a video in which nothing happens.

    Args:
        path (`str` or `Path`): The file, `.csv` or `.csv.gz`; times in seconds.
        subset (`str`, *optional*, defaults to `""`): Subset where the table has no such column.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with segments, and queries for rows with a sentence.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If a column is missing.
    """
    collector = AnnotationCollector(path, strict)
    for row in read_table(path, _WINDOW_COLUMNS):
        _add_plain_row(collector, row.line, row.values, subset)
    return collector.finish()


def read_plain_json(path: str | Path, subset: str = "", strict: bool = False) -> AnnotationSet:
    """Read a JSON file of one's own.

    Either a list of records with the names of [`read_plain_table`]'s columns, or a mapping from id to
    `{"duration": ..., "subset": ..., "segments": [{"start": ..., "end": ..., "label": ...}], "queries":
    [{"start": ..., "end": ..., "sentence": ...}]}`, each part optional.

    Args:
        path (`str` or `Path`): The file, `.json` or `.json.gz`; times in seconds.
        subset (`str`, *optional*, defaults to `""`): Subset where the file says none.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with segments and queries.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If the file has another layout.
    """
    text = JsonText(path)
    collector = AnnotationCollector(path, strict)
    if isinstance(text.data, list):
        for number, record in enumerate(text.data):
            if _is_record(record):
                _add_plain_row(collector, text.line_of(str(record.get("video"))), record, subset)
            else:
                collector.note(1, f"entry {number} is {record!r}, expected a record.")
    else:
        for video_id, record in expect_mapping(text.data, path, "a list or a mapping from id").items():
            line = text.line_of(video_id)
            if not _is_record(record):
                collector.note(line, f"video {video_id}: holds a {type(record).__name__}, expected a record.")
                continue
            facts = {"video": video_id, "duration": record.get("duration"), "subset": record.get("subset")}
            entries = [entry for name in ("segments", "queries") for entry in record.get(name) or ()]
            for entry in entries or [{}]:
                if _is_record(entry):
                    _add_plain_row(collector, line, {**entry, **facts}, subset)
                else:
                    collector.note(line, f"video {video_id}: holds {entry!r}, expected a record.")
    return collector.finish()


def _add_plain_row(
    collector: AnnotationCollector, line: int, row: Mapping[str, Any], subset: str
) -> None:  # Any: cells or leaves of JSON
    video_id, duration_s = row.get("video"), None
    try:
        if row.get("duration") not in (None, ""):
            duration_s = to_duration(row["duration"])
    except BadRowError as error:
        collector.note(line, f"video {video_id}: {error}")
    facts = {"duration_s": duration_s, "subset": str(row.get("subset") or subset)}
    if not collector.add_video(line, video_id, **facts):
        return
    window = (row.get("start"), row.get("end"))
    if all(time in (None, "") for time in window):
        return
    if row.get("sentence") not in (None, ""):
        collector.add_query(line, str(video_id), row["sentence"], [window], query_id=row.get("query_id"))
    if row.get("label") not in (None, "") or row.get("sentence") in (None, ""):
        collector.add_segment(line, str(video_id), window, row.get("label") or "")


def _is_record(value: Any) -> bool:  # Any: somebody's JSON
    return isinstance(value, Mapping) and not isinstance(value, Sequence)
