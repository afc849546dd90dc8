"""Reading of annotation files, plain or gzipped: every bad row is kept with its file and line."""

import csv
import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from bsp_hf.files import check_video_id

from .types import AnnotatedVideo, AnnotationError, AnnotationProblem, AnnotationSet, MomentQuery, Segment

logger = logging.getLogger(__name__)


class BadRowError(ValueError):
    """What is wrong with one row; turned into an [`AnnotationProblem`] by the collector."""


def read_text(path: str | Path) -> str:
    """Return the text of a file; gzipped if its name ends in `.gz`.

    Args:
        path (`str` or `Path`): A UTF-8 file.

    Returns:
        `str`: Its text.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is damaged or not UTF-8.
    """
    content = Path(path).read_bytes()
    try:
        return (gzip.decompress(content) if Path(path).suffix == ".gz" else content).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable text file ({error}). Is it complete?") from error


class JsonText:
    """A JSON file that still knows its lines.

    Args:
        path (`str` or `Path`): The file.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is not JSON; the message names the line.
    """

    def __init__(self, path: str | Path) -> None:
        self._text = read_text(path)
        try:
            self.data: Any = json.loads(self._text)  # Any: the leaves of somebody's JSON
        except ValueError as error:
            raise ValueError(f"{path} is not a readable JSON file ({error}). Is it complete?") from error
        self._place, self._line = 0, 1

    def line_of(self, key: str) -> int:
        """Return the line on which a key or string stands next.

        Records are asked for in their order, so the search goes on where the last one ended.

        Args:
            key (`str`): The key.

        Returns:
            `int`: Its line, counted from 1; that of the record before if it is not found.
        """
        for ensure_ascii in (False, True):
            place = self._text.find(json.dumps(key, ensure_ascii=ensure_ascii), self._place)
            if place >= 0:
                self._line += self._text.count("\n", self._place, place)
                self._place = place + 1
                break
        return self._line


@dataclass(frozen=True)
class TableRow:
    """A row of a CSV file with a header.

    Args:
        line (`int`): Its line, counted from 1.
        values (`dict[str, str]`): Values by column.
    """

    line: int
    values: dict[str, str]


def read_table(path: str | Path, needed: Sequence[str]) -> Iterator[TableRow]:
    """Read a CSV file whose first line names the columns.

    Args:
        path (`str` or `Path`): The file, plain or gzipped.
        needed (`Sequence[str]`): Columns that must be there.

    Yields:
        `TableRow`: The rows; blank lines are passed over, and missing values are empty.

    Raises:
        ValueError: If a needed column is missing.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{path}, line 1: the columns {', '.join(missing)} are missing; found "
            f"{', '.join(reader.fieldnames or ()) or 'nothing'}."
        )
    for row in reader:
        yield TableRow(reader.line_num, {str(name): value or "" for name, value in row.items() if name})


def to_number(value: Any, name: str) -> float:  # Any: a leaf of somebody's JSON or a cell
    """Return a finite number.

    Args:
        value: A number, or text of one.
        name (`str`): What it is, for the message.

    Returns:
        `float`: The number.

    Raises:
        BadRowError: If it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRowError(f"{name} is {value!r}, expected a number.") from None
    if isinstance(value, bool) or not isfinite(number):
        raise BadRowError(f"{name} is {value!r}, expected a finite number.")
    return number


def to_duration(value: Any, name: str = "duration") -> float:  # Any: a leaf of somebody's JSON or a cell
    """Return a positive number.

    Args:
        value: A number, or text of one.
        name (`str`, *optional*, defaults to `"duration"`): What it is, for the message.

    Returns:
        `float`: The number.

    Raises:
        BadRowError: If it is none.
    """
    number = to_number(value, name)
    if number <= 0:
        raise BadRowError(f"{name} is {value!r}, expected a positive number.")
    return number


def to_list(value: Any, name: str) -> list[Any]:  # Any: a leaf of somebody's JSON
    """Return a list.

    Args:
        value: A list.
        name (`str`): What it is, for the message.

    Returns:
        `list`: The same.

    Raises:
        BadRowError: If it is none.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise BadRowError(f"{name} is {value!r}, expected a list.")
    return list(value)


def to_window(value: Any, scale: float = 1.0) -> tuple[float, float]:  # Any: a leaf of somebody's JSON
    """Return start and end of a pair.

    Args:
        value: Two numbers, or two texts of numbers.
        scale (`float`, *optional*, defaults to 1.0): Factor that makes seconds of them.

    Returns:
        `tuple[float, float]`: Start and end in seconds.

    Raises:
        BadRowError: If they are no pair, the start is negative, or the end does not lie behind it.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise BadRowError(f"segment is {value!r}, expected [start, end].")
    start, end = to_number(value[0], "start"), to_number(value[1], "end")
    if start < 0:
        raise BadRowError(f"the segment starts at {start:g}, before the video.")
    if not start < end:
        raise BadRowError(f"the segment from {start:g} to {end:g} does not end after its start.")
    return start * scale, end * scale


@dataclass
class _Draft:
    segments: list[Segment] = field(default_factory=list)
    queries: list[MomentQuery] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # Any: the other fields of AnnotatedVideo


class AnnotationCollector:
    """Puts the rows of one or several files together, video by video.

    Args:
        path (`str` or `Path`): The file being read; `path` may be set anew for the next one.
        strict (`bool`, *optional*, defaults to `False`): Whether bad rows are an error in the end.
    """

    def __init__(self, path: str | Path, strict: bool = False) -> None:
        self.path = Path(path)
        self.strict = strict
        self._drafts: dict[str, _Draft] = {}
        self._problems: list[AnnotationProblem] = []
        self._num_queries = 0

    def note(self, line: int, text: str) -> None:
        """Keep a bad row.

        Args:
            line (`int`): Its line.
            text (`str`): What is wrong.
        """
        self._problems.append(AnnotationProblem(self.path, line, text))

    def add_video(self, line: int, video_id: Any, **facts: Any) -> bool:  # Any: fields of AnnotatedVideo
        """Add a video, or facts about it that are not known yet.

        Args:
            line (`int`): Line, in case something is wrong.
            video_id: Its id.
            facts: Other fields of [`AnnotatedVideo`].

        Returns:
            `bool`: Whether the id can be one.
        """
        try:
            check_video_id(video_id)
        except (TypeError, ValueError) as error:
            self.note(line, str(error))
            return False
        known = self._drafts.setdefault(video_id, _Draft()).facts
        for name, value in facts.items():
            if known.get(name) in (None, ""):
                known[name] = value
        return True

    def add_segment(
        self, line: int, video_id: str, window: Any, label: Any = "", scale: float = 1.0
    ) -> None:  # Any: leaves of somebody's JSON
        """Add a segment of a video that was added.

        Args:
            line (`int`): Line, in case something is wrong.
            video_id (`str`): The video.
            window: Start and end.
            label: The class, `""` for none.
            scale (`float`, *optional*, defaults to 1.0): Factor that makes seconds of the window.
        """
        try:
            if not isinstance(label, str):
                raise BadRowError(f"label is {label!r}, expected text.")
            segment = Segment(*to_window(window, scale), label)
        except BadRowError as error:
            self.note(line, f"video {video_id}: {error}")
        else:
            self._drafts[video_id].segments.append(segment)

    def add_query(
        self,
        line: int,
        video_id: str,
        sentence: Any,
        windows: Sequence[Any],
        scale: float = 1.0,
        query_id: Any = None,
    ) -> None:  # Any: leaves of somebody's JSON
        """Add a query of a video that was added.

        Args:
            line (`int`): Line, in case something is wrong.
            video_id (`str`): The video.
            sentence: The sentence.
            windows (`Sequence`): Start and end of each moment.
            scale (`float`, *optional*, defaults to 1.0): Factor that makes seconds of the windows.
            query_id (*optional*): Its id in the file; its running number if there is none.
        """
        number, self._num_queries = self._num_queries, self._num_queries + 1
        try:
            if not isinstance(sentence, str) or not sentence.strip():
                raise BadRowError(f"the sentence is {sentence!r}, expected words.")
            if not windows:
                raise BadRowError("the sentence has no moment.")
            moments = tuple(to_window(window, scale) for window in windows)
        except BadRowError as error:
            self.note(line, f"video {video_id}: {error}")
        else:
            name = str(number if query_id is None else query_id)
            self._drafts[video_id].queries.append(MomentQuery(name, sentence.strip(), moments))

    def finish(self) -> AnnotationSet:
        """Return what was read.

        Returns:
            `AnnotationSet`: The videos in file order, and the bad rows.

        Raises:
            AnnotationError: If there are bad rows and `strict` is set.
            ValueError: If there is no video.
        """
        problems = tuple(self._problems)
        if problems and self.strict:
            raise AnnotationError(problems)
        if not self._drafts:
            first = f" The first of {len(problems)} bad rows: {problems[0]}" if problems else ""
            raise ValueError(f"{self.path} annotates no video.{first}")
        for problem in problems[:3]:
            logger.warning("left out: %s", problem)
        if len(problems) > 3:
            logger.warning("left out %d more bad rows of %s", len(problems) - 3, self.path)
        videos = (
            AnnotatedVideo(
                video_id, segments=tuple(draft.segments), queries=tuple(draft.queries), **draft.facts
            )
            for video_id, draft in self._drafts.items()
        )
        return AnnotationSet(tuple(videos), problems)


def expect_mapping(data: Any, path: str | Path, what: str) -> Mapping[str, Any]:  # Any: somebody's JSON
    """Return a mapping, or say what was found in its place.

    Args:
        data: What a file holds.
        path (`str` or `Path`): The file.
        what (`str`): What is expected.

    Returns:
        `Mapping`: The same.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} holds a {type(data).__name__}; expected {what}.")
    return data
