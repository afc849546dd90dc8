"""Rows of annotations of one's own: a plain CSV or JSON file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .reading import (
    Entry,
    JsonText,
    QueryRow,
    ReadingOptions,
    Row,
    SegmentRow,
    expect_mapping,
    read_table,
    to_record,
)


def plain_table_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a table with columns `video`, `start`, `end` in seconds, and `label` or `sentence` or both.

    Columns `duration`, `subset` and `query_id` are read where they are there. A row without start and end
    names a video in which nothing happens.
    """
    for row in read_table(path, ("video", "start", "end")):
        yield Entry(row.line, row.values["video"], _plain_rows(row.values, options.subset))


def plain_json_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a JSON list of records, or a mapping from video id to record; times in seconds.

    Those of a list have the names of [`plain_table_entries`]'s columns. Those of a mapping are `{"duration":
    ..., "subset": ..., "segments": [{"start": ..., "end": ..., "label": ...}], "queries": [{"start": ...,
    "end": ..., "sentence": ...}]}`, each part optional.
    """
    text = JsonText(path)
    if isinstance(text.data, list):
        for number, record in enumerate(text.data):
            video_id = record.get("video") if isinstance(record, Mapping) else None
            line = 1 if video_id is None else text.line_of(str(video_id))
            yield Entry(line, video_id, _plain_rows(record, options.subset, f"entry {number}"))
    else:
        for video_id, record in expect_mapping(text.data, path, "a list or a mapping from id").items():
            yield Entry(text.line_of(video_id), video_id, _video_rows(record, options.subset))


def _video_rows(record: Any, subset: str) -> Iterator[Row]:  # Any: parsed JSON
    record = to_record(record, "the record")
    yield {"duration": record.get("duration"), "subset": str(record.get("subset") or subset)}
    for entry in (entry for name in ("segments", "queries") for entry in record.get(name) or ()):
        if isinstance(entry, Mapping):
            yield from list(_plain_rows(entry, subset))[1:]
        else:
            yield SegmentRow(entry)


def _plain_rows(row: Any, subset: str, name: str = "the row") -> Iterator[Row]:  # Any: cells, or JSON
    row = to_record(row, name)
    yield {"duration": row.get("duration"), "subset": str(row.get("subset") or subset)}
    window = (row.get("start"), row.get("end"))
    if all(time in (None, "") for time in window):
        return
    label, sentence = ("" if row.get(name) is None else row[name] for name in ("label", "sentence"))
    if sentence != "":
        yield QueryRow(sentence, [window], query_id=row.get("query_id"))
    if label != "" or sentence == "":
        yield SegmentRow(window, label)
