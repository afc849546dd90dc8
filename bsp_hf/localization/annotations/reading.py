"""Rows of annotation files put together video by video; every bad row is kept with its file and line."""

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose, isfinite
from pathlib import Path
from typing import Any

from bsp_hf.files import check_video_id
from bsp_hf.metrics.text_files import parse_json, read_text

from .types import AnnotatedVideo, AnnotationError, AnnotationProblem, AnnotationSet, MomentQuery, Segment

logger = logging.getLogger(__name__)

# What the files call the numbers that are known of a video.
_NUMBERS = {
    **dict.fromkeys(("duration", "duration_second", "video-duration"), "duration_s"),
    **dict.fromkeys(("fps", "frame-rate"), "fps"),
    **dict.fromkeys(("frames", "duration_frame", "num_frames", "video-frames"), "num_frames"),
}


# None of the classes of THUMOS14, in whichever layout it is kept.
AMBIGUOUS = "Ambiguous"
LABEL_NAMES = ("label", "class", "action")
SENTENCE_NAMES = ("sentence", "caption", "query", "description")


class BadRowError(ValueError):
    """What is wrong with one row; it becomes an [`AnnotationProblem`]."""


@dataclass(frozen=True)
class SegmentRow:
    """A segment as the file has it: start and end in seconds, and a class."""

    window: Any
    label: Any = ""
    unread: Sequence[str] = ()  # names of what stands there in place of a label


@dataclass(frozen=True)
class QueryRow:
    """A query as the file has it: a sentence, its moments in units of `scale` seconds, and perhaps an id."""

    sentence: Any
    windows: Sequence[Any]
    scale: float = 1.0
    query_id: Any = None
    saliency: tuple[tuple[int, tuple[float, ...]], ...] = ()


# A mapping holds facts: the names of `_NUMBERS`, `subset`, `task`, and `video_id` where the entry has none.
Row = Mapping[str, Any] | SegmentRow | QueryRow


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a file about one video."""

    line: int  # the place in the file
    video_id: Any  # None where only the rows know it
    rows: Iterable[Row]  # facts first; iterating may raise `BadRowError`, which ends the entry
    path: Path | None = None  # where several files are read as one


@dataclass(frozen=True)
class ReadingOptions:
    """What some layouts need besides the file, see `read_annotations`."""

    subset: str = ""
    durations: str | Path | None = None
    tasks: str | Path | None = None
    validation_videos: str | Path | None = None
    keep_ambiguous: bool = False
    fps: float | None = None


def collect_annotations(
    path: Path, entries: Iterable[Entry], strict: bool = False, keep_ambiguous: bool = False
) -> AnnotationSet:
    """Return what the entries of a file annotate; with `strict`, bad rows are an [`AnnotationError`]."""
    collector = _Collector(path, keep_ambiguous)
    try:
        for entry in entries:
            collector.add(entry)  # which lists what is wrong with its rows
    except BadRowError as error:
        raise ValueError(f"{path}: {error}") from error
    return collector.finish(strict)


@dataclass
class _Draft:
    segments: list[Segment] = field(default_factory=list)
    queries: list[MomentQuery] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # Any: the other fields of AnnotatedVideo


class _Collector:
    def __init__(self, path: Path, keep_ambiguous: bool) -> None:
        self._path, self._keeps_ambiguous = path, keep_ambiguous
        self._drafts: dict[str, _Draft] = {}
        self._problems: list[AnnotationProblem] = []
        self._lines_of_queries: dict[tuple[str, str], int] = {}
        self._num_queries = 0

    def add(self, entry: Entry) -> None:
        video_id, draft, rows = entry.video_id, None, iter(entry.rows)
        path = entry.path or self._path
        while True:
            texts: list[str] = []
            try:
                row = next(rows, None)
                if row is None:
                    return
                if isinstance(row, Mapping):
                    video_id, draft = row.get("video_id", video_id), None
                    opened = self._open(video_id)
                    texts.extend(_add_facts(opened, row))
                    draft = opened
                elif draft is None:
                    continue  # the video has no usable id or contradicts itself, which is noted once
                elif isinstance(row, SegmentRow):
                    segment = _to_segment(row)
                    if self._keeps_ambiguous or segment.label != AMBIGUOUS:
                        draft.segments.append(segment)
                else:
                    draft.queries.append(self._to_query(path, entry.line, video_id, row))
            except BadRowError as error:
                texts.append(str(error))
            prefix = "" if video_id is None else f"video {video_id}: "
            self._problems.extend(AnnotationProblem(path, entry.line, prefix + text) for text in texts)

    def _open(self, video_id: Any) -> _Draft:  # Any: a part of parsed JSON
        try:
            check_video_id(video_id)
        except (TypeError, ValueError) as error:
            raise BadRowError(str(error)) from None
        return self._drafts.setdefault(video_id, _Draft())

    def _to_query(self, path: Path, line: int, video_id: str, row: QueryRow) -> MomentQuery:
        # Bad rows are counted too, so that numbers stay the same however a file is read.
        number, self._num_queries = self._num_queries, self._num_queries + 1
        if not isinstance(row.sentence, str) or not row.sentence.strip():
            raise BadRowError(f"the sentence is {row.sentence!r}, expected words.")
        if not row.windows:
            raise BadRowError("the sentence has no moment.")
        windows_s = tuple(to_window(window, row.scale) for window in row.windows)
        query_id = str(number if row.query_id in (None, "") else row.query_id)
        first_line = self._lines_of_queries.get((video_id, query_id))
        if first_line is not None:
            # Not a row to leave out: which of the two a prediction answers cannot be known.
            raise ValueError(
                f"{path}, line {line}: query id {query_id} of video {video_id} is that of line {first_line} "
                "too; give every query of a video an id of its own."
            )
        self._lines_of_queries[video_id, query_id] = line
        return MomentQuery(query_id, row.sentence.strip(), windows_s, row.saliency)

    def finish(self, strict: bool) -> AnnotationSet:
        problems = tuple(self._problems)
        if problems and strict:
            raise AnnotationError(problems)
        segments = [segment for draft in self._drafts.values() for segment in draft.segments]
        if not segments and not any(draft.queries for draft in self._drafts.values()):
            first = f" The first of {len(problems)} bad rows: {problems[0]}" if problems else ""
            found = f"names {len(self._drafts)} videos, but no segment and no query; is it of another layout?"
            raise ValueError(f"{self._path} {found if self._drafts else 'annotates no video.'}{first}")
        num_unnamed = sum(not segment.label for segment in segments)
        if 0 < num_unnamed < len(segments):
            logger.warning("%s: %d of %d segments have no label", self._path, num_unnamed, len(segments))
        for problem in problems[:3]:
            logger.warning("left out: %s", problem)
        if len(problems) > 3:
            logger.warning("left out %d more bad rows of %s", len(problems) - 3, self._path)
        counts = Counter(name for _, name in self._lines_of_queries)
        repeated = [name for name, count in counts.items() if count > 1]
        if repeated:
            logger.warning(
                "%s: %d query ids repeat in several videos, first %s; queries are known by video and id",
                *(self._path, len(repeated), repeated[0]),
            )
        videos = (
            AnnotatedVideo(
                video_id, segments=tuple(draft.segments), queries=tuple(draft.queries), **draft.facts
            )
            for video_id, draft in self._drafts.items()
        )
        return AnnotationSet(tuple(videos), problems)


def _add_facts(draft: _Draft, row: Mapping[str, Any]) -> Iterator[str]:
    """Keep the facts that are not known yet, and yield numbers that are none.

    Another subset or duration than before is a [`BadRowError`].
    """
    for name, value in row.items():
        if name == "video_id" or value in (None, ""):
            continue
        fact = _NUMBERS.get(name, name)
        try:
            number = to_positive(value, name) if name in _NUMBERS else value
        except BadRowError as error:
            yield str(error)
            continue
        known = draft.facts.setdefault(fact, int(number) if fact == "num_frames" else number)
        is_same = known == number or (fact == "duration_s" and isclose(known, number, rel_tol=1e-6))
        if fact in ("subset", "duration_s") and not is_same:
            before = repr(known) if fact == "subset" else f"{known:g}"
            raise BadRowError(f"{name} is {value!r}, but {before} before; a video has one.")


def _to_segment(row: SegmentRow) -> Segment:
    is_number = isinstance(row.label, int) and not isinstance(row.label, bool)
    if not isinstance(row.label, str) and not is_number:
        raise BadRowError(f"label is {row.label!r}, expected text.")
    if row.unread:
        raise BadRowError(f"the segment has no label, but {', '.join(row.unread)}; call it label.")
    return Segment(*to_window(row.window), str(row.label))


def find_value(record: Mapping[str, Any], names: Sequence[str]) -> Any:  # Any: a part of parsed JSON
    """Return what stands under the first of some names that is there and not empty; `""` if none is."""
    return next((record[name] for name in names if record.get(name) not in (None, "")), "")


def to_segment_row(entry: Any) -> SegmentRow:  # Any: a part of parsed JSON
    """Return a segment that is kept as `segment`, a pair, or as `start` and `end`, perhaps with a label."""
    if not isinstance(entry, Mapping):
        return SegmentRow(entry)
    window = entry["segment"] if "segment" in entry else (entry.get("start"), entry.get("end"))
    label = find_value(entry, LABEL_NAMES)
    unread = sorted(map(str, entry.keys() - {"segment", "start", "end", *LABEL_NAMES}))
    return SegmentRow(window, label, unread if label == "" and not entry.keys() & {*LABEL_NAMES} else ())


def to_number(value: Any, name: str) -> float:  # Any: a part of parsed JSON or a cell
    """Return a finite number, from a number or its text; the name is for the message."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRowError(f"{name} is {value!r}, expected a number.") from None
    if isinstance(value, bool) or not isfinite(number):
        raise BadRowError(f"{name} is {value!r}, expected a finite number.")
    return number


def to_whole(value: Any, name: str) -> int:  # Any: a part of parsed JSON or a cell
    """Return a whole number, from a number or its text."""
    number = to_number(value, name)
    if number != int(number):
        raise BadRowError(f"{name} is {value!r}, expected a whole number.")
    return int(number)


def to_positive(value: Any, name: str) -> float:  # Any: a part of parsed JSON or a cell
    """Return a positive number, from a number or its text."""
    number = to_number(value, name)
    if number <= 0:
        raise BadRowError(f"{name} is {value!r}, expected a positive number.")
    return number


def to_list(value: Any, name: str) -> list[Any]:  # Any: a part of parsed JSON
    """Return a list."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise BadRowError(f"{name} is {value!r}, expected a list.")
    return list(value)


def to_record(value: Any, name: str) -> Mapping[str, Any]:  # Any: a part of parsed JSON
    """Return a mapping by names."""
    if not isinstance(value, Mapping):
        raise BadRowError(f"{name} is {value!r}, expected a record.")
    return value


def to_window(value: Any, scale: float = 1.0) -> tuple[float, float]:  # Any: a part of parsed JSON
    """Return start and end in seconds, from a pair in units of `scale` seconds."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise BadRowError(f"segment is {value!r}, expected [start, end].")
    start, end = to_number(value[0], "start"), to_number(value[1], "end")
    if start < 0:
        raise BadRowError(f"the segment starts at {start:g}, before the video.")
    if not start < end:
        raise BadRowError(f"the segment from {start:g} to {end:g} does not end after its start.")
    return start * scale, end * scale


class JsonText:
    """A JSON file, its content as `data`, that still knows its lines."""

    def __init__(self, path: str | Path) -> None:
        self._text = read_text(path)
        self.data: Any = parse_json(self._text, path)  # Any: parsed JSON
        self._place, self._line = 0, 1

    def line_of(self, key: str) -> int:
        """Return the line, counted from 1, on which a key or string stands next; that of the last if nowhere.

        Records are asked for in their order, so the search goes on where the last one ended.
        """
        for ensure_ascii in (False, True):
            place = self._text.find(json.dumps(key, ensure_ascii=ensure_ascii), self._place)
            if place >= 0:
                self._line += self._text.count("\n", self._place, place)
                self._place = place + 1
                break
        return self._line


def expect_mapping(data: Any, path: str | Path, what: str) -> Mapping[str, Any]:  # Any: parsed JSON
    """Return a mapping that a whole file holds; anything else is a `ValueError` that names the file."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} holds a {type(data).__name__}; expected {what}.")
    return data


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, counted from 1, less blank ones.

    A newline alone ends a line: U+2028 and its like stand inside real sentences.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


@dataclass(frozen=True)
class TableRow:
    """A row of a CSV file with a header: its line, counted from 1, and its values by column.

    `problem` says what is wrong with the row as a whole.
    """

    line: int
    values: dict[str, str]
    problem: str | None = None

    def check(self, rows: Iterable[Row] = ()) -> Iterator[Row]:
        """Yield the rows that were made of this one, unless it is bad."""
        if self.problem is not None:
            raise BadRowError(self.problem)
        yield from rows


def read_table(
    path: str | Path, needed: Sequence[str], known: Collection[str] | None = None
) -> Iterator[TableRow]:
    """Yield the rows of a CSV file whose first line names the columns; missing values are empty.

    Blank lines are passed over, and so are spaces around cells. A needed column that is not there, or a
    column that is there twice, is a `ValueError`; columns other than the `known` ones are named in a warning.
    """
    rows = _read_cells(path)
    columns = next(rows, (1, []))[1]
    missing = [name for name in needed if name not in columns]
    if missing:
        hint = "; columns have commas between them" if len(columns) == 1 else ""
        raise ValueError(
            f"{path}, line 1: the columns {', '.join(missing)} are missing; found "
            f"{', '.join(columns) or 'nothing'}{hint}."
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"{path}, line 1: the column {repeated[0]} stands twice; rename or remove one.")
    if known is not None:
        warn_of_unread(path, set(columns) - {"", *known})
    for line, cells in rows:
        problem = None
        if len(cells) != len(columns):
            advice = "quote texts with commas" if len(cells) > len(columns) else "leave cells empty, not out"
            problem = f"the row has {len(cells)} cells for {len(columns)} columns; {advice}."
        yield TableRow(line, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)), problem)


def _read_cells(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not blank, as number of the last line and stripped cells."""
    delimiter = "\t" if Path(path).name.removesuffix(".gz").endswith(".tsv") else ","
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True, delimiter=delimiter)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}; does a text lack one of its quotes?"
        ) from error


def warn_of_unread(path: str | Path, names: Collection[Any]) -> None:  # Any: keys of parsed JSON
    """Name columns or keys of a file that nothing is read from."""
    if names:
        logger.warning("%s: not read: %s", path, ", ".join(sorted(map(str, names))))


def require_files(*paths: str | Path | None) -> None:
    """Check that the files that are named exist, whether they will be read or not."""
    for path in paths:
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"there is no file at {path}.")


def read_durations(path: str | Path) -> dict[str, float]:
    """Return seconds by video, from a table with a column `id` or `video` and one `length` or `duration`."""
    durations_s: dict[str, float] = {}
    for row in read_table(path, ()):
        video_id = row.values.get("id") or row.values.get("video") or ""
        try:
            list(row.check())
            if not video_id:
                raise BadRowError("expected a column id or video.")
            durations_s[video_id] = to_positive(
                row.values.get("length") or row.values.get("duration"), "duration"
            )
        except BadRowError as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from error
    return durations_s
