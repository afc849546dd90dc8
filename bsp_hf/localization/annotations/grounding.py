"""Readers of sentence queries: ActivityNet Captions, TACoS, Charades-STA, QVHighlights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .reading import (
    AnnotationCollector,
    BadRowError,
    JsonText,
    expect_mapping,
    read_table,
    read_text,
    to_duration,
    to_list,
    to_number,
)
from .types import AnnotationSet


def read_captions(path: str | Path, subset: str = "", strict: bool = False) -> AnnotationSet:
    """Read ActivityNet Captions or TACoS: `{id: {"timestamps": [[start, end]], "sentences": [...]}}`.

    Times are seconds beside a `duration` (ActivityNet Captions) and frames beside `fps` and `num_frames`
    (TACoS).

    Args:
        path (`str` or `Path`): The file, `.json` or `.json.gz`.
        subset (`str`, *optional*, defaults to `""`): Subset of its videos; one file is one subset.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with queries.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If the file has another layout.
    """
    text = JsonText(path)
    collector = AnnotationCollector(path, strict)
    for video_id, record in expect_mapping(text.data, path, "a mapping from id to record").items():
        line = text.line_of(video_id)
        try:
            if not isinstance(record, Mapping):
                raise BadRowError(f"holds a {type(record).__name__}, expected a record.")
            windows, sentences = (to_list(record.get(name), name) for name in ("timestamps", "sentences"))
            if len(windows) != len(sentences):
                raise BadRowError("timestamps and sentences must be lists of one length.")
            facts, scale = _facts_and_scale(record)
        except BadRowError as error:
            collector.note(line, f"video {video_id}: {error}")
            continue
        if collector.add_video(line, video_id, subset=subset, **facts):
            for window, sentence in zip(windows, sentences, strict=True):
                collector.add_query(line, video_id, sentence, [window], scale)
    return collector.finish()


def _facts_and_scale(record: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return what is known of a video, and the seconds of one unit of its times."""
    if "duration" in record:
        return {"duration_s": to_duration(record["duration"])}, 1.0
    fps = to_duration(record.get("fps"), "fps")
    num_frames = int(to_duration(record.get("num_frames"), "num_frames"))
    return {"duration_s": num_frames / fps, "fps": fps, "num_frames": num_frames}, 1 / fps


def read_charades_sta(
    path: str | Path,
    durations: str | Path | None = None,
    subset: str = "",
    strict: bool = False,
) -> AnnotationSet:
    """Read Charades-STA: lines of `VIDEO START END##sentence`, times in seconds.

    A full stop at the end of the sentence is removed, as 2D-TAN does. Ends past the video stay: 2D-TAN clips
    them and LGI does not.

    Args:
        path (`str` or `Path`): `charades_sta_train.txt` or `charades_sta_test.txt`.
        durations (`str` or `Path`, *optional*): `Charades_v1_train.csv` or `Charades_v1_test.csv`, of which
            the columns `id` and `length` are read. Without it durations are unknown.
        subset (`str`, *optional*, defaults to `""`): Subset of its videos; one file is one subset.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with queries.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If the table of durations lacks a column.
    """
    collector = AnnotationCollector(path, strict)
    lengths_s = {} if durations is None else _read_lengths(collector, durations)
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        head, mark, sentence = text.partition("##")
        parts = head.split()
        if not mark or len(parts) != 3:
            collector.note(line, f"{text[:60]!r}: expected `VIDEO START END##sentence`.")
            continue
        video_id, start, end = parts
        if durations is not None and video_id not in lengths_s:
            collector.note(line, f"video {video_id}: {durations} has no length of it.")
            continue
        if collector.add_video(line, video_id, subset=subset, duration_s=lengths_s.get(video_id)):
            collector.add_query(line, video_id, sentence.strip().removesuffix("."), [(start, end)])
    return collector.finish()


def _read_lengths(collector: AnnotationCollector, path: str | Path) -> dict[str, float]:
    lengths_s: dict[str, float] = {}
    annotations, collector.path = collector.path, Path(path)
    for row in read_table(path, ("id", "length")):
        try:
            lengths_s[row.values["id"]] = to_duration(row.values["length"], "length")
        except BadRowError as error:
            collector.note(row.line, f"video {row.values['id']}: {error}")
    collector.path = annotations
    return lengths_s


def read_qvhighlights(path: str | Path, subset: str = "", strict: bool = False) -> AnnotationSet:
    """Read QVHighlights: a JSON line for each query, with `qid`, `query`, `vid`, `duration` and windows.

    Queries without `relevant_windows`, as in the test part, get a problem each, for there is nothing to score
    them by.

    Args:
        path (`str` or `Path`): The file, `.jsonl` or `.jsonl.gz`.
        subset (`str`, *optional*, defaults to `""`): Subset of its videos; one file is one subset.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with queries, several moments each.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If no line can be read.
    """
    collector = AnnotationCollector(path, strict)
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
            if not isinstance(record, Mapping):
                raise BadRowError(f"holds a {type(record).__name__}, expected a record.")
            missing = [name for name in ("qid", "query", "vid", "duration") if name not in record]
            if missing:
                raise BadRowError(f"{', '.join(missing)} missing.")
            windows = to_list(record.get("relevant_windows", []), "relevant_windows")
            facts = {"duration_s": to_duration(record["duration"])}
            query_id = int(to_number(record["qid"], "qid"))
        except ValueError as error:  # BadRowError, and what json raises
            collector.note(line, str(error))
            continue
        if collector.add_video(line, record["vid"], subset=subset, **facts):
            collector.add_query(line, record["vid"], record["query"], windows, query_id=query_id)
    return collector.finish()
