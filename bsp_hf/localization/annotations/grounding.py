"""Rows of sentence queries: ActivityNet Captions, TACoS, Charades-STA, QVHighlights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bsp_hf.metrics.text_files import load_json

from .reading import (
    BadRowError,
    Entry,
    JsonText,
    QueryRow,
    ReadingOptions,
    Row,
    expect_mapping,
    numbered_lines,
    read_durations,
    to_list,
    to_number,
    to_positive,
    to_record,
    to_whole,
    warn_of_unread,
)

_CAPTION_NAMES = {"duration", "fps", "num_frames", "timestamps", "sentences"}


def captions_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read ActivityNet Captions or TACoS: `{id: {"timestamps": [[start, end]], "sentences": [...]}}`.

    Times are seconds beside a `duration` (ActivityNet Captions) and frames beside `fps` and `num_frames`
    (TACoS).
    """
    text = JsonText(path)
    data = expect_mapping(text.data, path, "a mapping from id to record")
    records = [record for record in data.values() if isinstance(record, Mapping)]
    warn_of_unread(path, {name for record in records for name in record} - _CAPTION_NAMES)
    for video_id, record in data.items():
        yield Entry(text.line_of(video_id), video_id, _caption_rows(record, options.subset))


def _caption_rows(record: Any, subset: str) -> Iterator[Row]:  # Any: parsed JSON
    record = to_record(record, "the record")
    windows, sentences = (to_list(record.get(name), name) for name in ("timestamps", "sentences"))
    if len(windows) != len(sentences):
        raise BadRowError("timestamps and sentences must be lists of one length.")
    if "duration" in record:
        scale, facts = 1.0, {"duration": to_positive(record["duration"], "duration")}
    else:
        fps = to_positive(record.get("fps"), "fps")
        num_frames = int(to_positive(record.get("num_frames"), "num_frames"))
        scale, facts = 1 / fps, {"duration": num_frames / fps, "fps": fps, "num_frames": num_frames}
    yield {**facts, "subset": subset}
    for window, sentence in zip(windows, sentences, strict=True):
        yield QueryRow(sentence, [window], scale)


def charades_sta_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read Charades-STA: lines of `VIDEO START END##sentence`, times in seconds.

    Durations come from a table with the columns `id` and `length`, such as `Charades_v1_train.csv`; without
    it they are unknown. A full stop at the end of the sentence is removed, as 2D-TAN does. Ends past the
    video stay: 2D-TAN clips them and LGI does not.
    """
    lengths_s = None if options.durations is None else read_durations(options.durations)
    for line, text in numbered_lines(path):
        head, mark, sentence = text.partition("##")
        parts = head.split()
        if not mark or len(parts) != 3:
            yield Entry(line, None, _bad_row(f"{text[:60]!r}: expected `VIDEO START END##sentence`."))
        elif lengths_s is not None and parts[0] not in lengths_s:
            yield Entry(line, parts[0], _bad_row(f"{options.durations} has no length of it."))
        else:
            facts = {"subset": options.subset, "duration": (lengths_s or {}).get(parts[0])}
            query = QueryRow(sentence.strip().removesuffix("."), [parts[1:]])
            yield Entry(line, parts[0], [facts, query])


def _bad_row(text: str) -> Iterator[Row]:
    raise BadRowError(text)
    yield {}  # makes a generator of it, which raises where the rows are read


def qvhighlights_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read QVHighlights: a JSON line for each query, with `qid`, `query`, `vid`, `duration` and windows.

    Rated clips (`relevant_clip_ids`, `saliency_scores`) are read where they are there. Queries without
    `relevant_windows`, as in the test part, are bad rows, for there is nothing to score them by.
    """
    for line, text in numbered_lines(path):
        yield Entry(line, None, _qvhighlights_rows(text, options.subset))


def _qvhighlights_rows(text: str, subset: str) -> Iterator[Row]:
    try:
        record = to_record(load_json(text), "the line")
    except ValueError as error:
        raise BadRowError(str(error)) from None
    missing = [name for name in ("qid", "query", "vid", "duration") if name not in record]
    if missing:
        raise BadRowError(f"{', '.join(missing)} missing.")
    windows = to_list(record.get("relevant_windows", []), "relevant_windows")
    query_id = to_whole(record["qid"], "qid")
    duration_s = to_positive(record["duration"], "duration")
    yield {"video_id": record["vid"], "subset": subset, "duration": duration_s}
    clips = to_list(record.get("relevant_clip_ids", []), "relevant_clip_ids")
    scores = to_list(record.get("saliency_scores", []), "saliency_scores")
    if len(clips) != len(scores):
        raise BadRowError(f"there are {len(clips)} relevant_clip_ids and {len(scores)} saliency_scores.")
    saliency = tuple(
        (to_whole(clip, "clip"), tuple(to_number(score, "score") for score in to_list(row, "scores")))
        for clip, row in zip(clips, scores, strict=True)
    )
    yield QueryRow(record["query"], windows, query_id=query_id, saliency=saliency)
