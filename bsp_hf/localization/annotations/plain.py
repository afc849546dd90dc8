"""Rows of annotations of one's own: a plain CSV or JSON file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .reading import (
    LABEL_NAMES,
    SENTENCE_NAMES,
    Entry,
    JsonText,
    QueryRow,
    ReadingOptions,
    Row,
    SegmentRow,
    expect_mapping,
    find_value,
    read_table,
    to_record,
    to_segment_row,
    warn_of_unread,
)

WINDOW_COLUMNS = ("video", "start", "end")
_ENTRY_NAMES = {"start", "end", "segment", "query_id", *LABEL_NAMES, *SENTENCE_NAMES}
_ROW_NAMES = {"video", "duration", "subset", *_ENTRY_NAMES}
_RECORD_NAMES = {"duration", "subset", "segments", "queries"}


def plain_table_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a table with columns `video`, `start`, `end` in seconds, and `label` or `sentence` or both.

    Columns `duration`, `subset` and `query_id` are read where they are there. A row without start and end
    names a video in which nothing happens.
    """
    for row in read_table(path, WINDOW_COLUMNS, _ROW_NAMES):
        yield Entry(row.line, row.values["video"], row.check(_plain_rows(row.values, options.subset)))


def plain_json_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a JSON list of records, or a mapping from video id to record; times in seconds.

    Those of a list have the names of [`plain_table_entries`]'s columns. Those of a mapping are `{"duration":
    ..., "subset": ..., "segments": [{"start": ..., "end": ..., "label": ...}], "queries": [{"start": ...,
    "end": ..., "sentence": ...}]}`, each part optional.
    """
    text = JsonText(path)
    if isinstance(text.data, list):
        records = [record for record in text.data if isinstance(record, Mapping)]
        warn_of_unread(path, {name for record in records for name in record} - _ROW_NAMES)
        for number, record in enumerate(text.data):
            video_id = record.get("video") if isinstance(record, Mapping) else None
            line = 1 if video_id is None else text.line_of(str(video_id))
            yield Entry(line, video_id, _plain_rows(record, options.subset, f"entry {number}"))
    else:
        data = expect_mapping(text.data, path, "a list or a mapping from id")
        warn_of_unread(path, set(_unread_names(data)))
        for video_id, record in data.items():
            yield Entry(text.line_of(video_id), video_id, _video_rows(record, options.subset))


def _unread_names(data: Mapping[str, Any]) -> Iterator[str]:
    for record in data.values():
        if isinstance(record, Mapping):
            yield from record.keys() - _RECORD_NAMES
            for entry in _entries_of(record):
                yield from entry.keys() - _ENTRY_NAMES if isinstance(entry, Mapping) else ()


def _entries_of(record: Mapping[str, Any]) -> Iterator[Any]:  # Any: parsed JSON
    for name in ("segments", "queries"):
        yield from record.get(name) or ()


def _video_rows(record: Any, subset: str) -> Iterator[Row]:  # Any: parsed JSON
    record = to_record(record, "the record")
    yield {"duration": record.get("duration"), "subset": str(record.get("subset") or subset)}
    for entry in _entries_of(record):
        if isinstance(entry, Mapping):
            yield from list(_plain_rows(entry, subset))[1:]
        else:
            yield SegmentRow(entry)


def _plain_rows(row: Any, subset: str, name: str = "the row") -> Iterator[Row]:  # Any: cells, or JSON
    row = to_record(row, name)
    yield {"duration": row.get("duration"), "subset": str(row.get("subset") or subset)}
    segment = to_segment_row(row)
    if segment.window == (None, None) or segment.window == ("", ""):
        return
    sentence = find_value(row, SENTENCE_NAMES)
    if sentence != "":
        yield QueryRow(sentence, [segment.window], query_id=row.get("query_id"))
    if segment.label != "" or sentence == "":
        yield SegmentRow(segment.window, segment.label)
