"""Rows of action segments: ActivityNet, THUMOS14, COIN, CrossTask."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bsp_hf.metrics.text_files import read_text

from .reading import (
    AMBIGUOUS,
    BadRowError,
    Entry,
    JsonText,
    ReadingOptions,
    Row,
    SegmentRow,
    expect_mapping,
    numbered_lines,
    read_table,
    to_list,
    to_number,
    to_record,
    to_segment_row,
)

logger = logging.getLogger(__name__)

_RECORD_FACTS = ("duration", "duration_second", "fps", "frames", "duration_frame")
# What the tables of TSP call the class "Ambiguous".
_AMBIGUOUS_NUMBER = "-1"


def activitynet_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read the ActivityNet layout, which THUMOS14 and FineAction are also kept in, or its database alone.

    `{"database": {id: {"subset": ..., "duration": ..., "annotations": [{"segment": [start, end], "label":
    ...}]}}}`, times in seconds as numbers or text. `duration`, `fps` and `frames` may be absent, or called
    `duration_second` and `duration_frame`, as BMN and BSN do.
    """
    text = JsonText(path)
    data = expect_mapping(text.data, path, 'the ActivityNet layout, {"database": ...}')
    database = expect_mapping(
        data.get("database", data), path, 'a mapping from id to record under "database"'
    )
    for video_id, record in database.items():
        yield Entry(text.line_of(video_id), video_id, _record_rows(record, "annotations"))


def coin_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read COIN, either its official `{"database": {id: record}}` or a list of `{id: record}`.

    A record holds `annotation` (`[{"segment": [start, end], "label": step}]`), `class`, the video's task,
    `duration` and `subset`.
    """
    text = JsonText(path)
    data = text.data
    if isinstance(data, Mapping):
        parts = [expect_mapping(data.get("database"), path, 'a mapping under "database"')]
    elif isinstance(data, Sequence) and not isinstance(data, str):
        parts = [expect_mapping(part, path, "a list of {id: record}") for part in data]
    else:
        raise ValueError(f"{path} holds a {type(data).__name__}; expected the COIN layout.")
    for video_id, record in chain.from_iterable(part.items() for part in parts):
        yield Entry(text.line_of(video_id), video_id, _record_rows(record, "annotation"))


def _record_rows(record: Any, entries_name: str) -> Iterator[Row]:  # Any: parsed JSON
    record = to_record(record, "the record")
    facts = {name: record.get(name) for name in _RECORD_FACTS}
    yield {**facts, "subset": str(record.get("subset", "")), "task": str(record.get("class", ""))}
    if entries_name not in record:
        lists = [name for name, part in record.items() if isinstance(part, list) and part]
        others = [name for name in lists if all(isinstance(entry, Mapping) for entry in record[name])]
        if others:
            names = ", ".join(others)
            raise BadRowError(f"the record has no {entries_name}, but {names}; call it {entries_name}.")
    for entry in to_list(record.get(entries_name, []), entries_name):
        yield to_segment_row(entry)


def thumos_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a THUMOS14 table of G-TAD (`video,type,...,start,end`) or TSP (`video-name,t-init,t-end,...`).

    Labels are class names, or class numbers as text. Segments of the class "Ambiguous" (-1 in the tables of
    TSP), which are none of the 20 classes, are left out; their videos stay.
    """
    is_tsp = "video-name" in read_text(path).partition("\n")[0]
    columns = ("video-name", "t-init", "t-end", "label-idx") if is_tsp else ("video", "start", "end", "type")
    for row in read_table(path, columns):
        video_id, start, end, label = (row.values[name] for name in columns)
        facts = {name: row.values.get(name) for name in ("video-duration", "frame-rate", "video-frames")}
        rows: list[Row] = [
            {**facts, "subset": options.subset or ("test" if "test" in video_id else "validation")}
        ]
        if options.keep_ambiguous or label not in (AMBIGUOUS, _AMBIGUOUS_NUMBER):
            rows.append(SegmentRow((start, end), label))
        yield Entry(row.line, video_id, row.check(rows))


@dataclass(frozen=True)
class Task:
    """A task of CrossTask: its number, its name, and its steps in order."""

    task_id: str
    title: str
    steps: tuple[str, ...]


def read_crosstask_tasks(path: str | Path) -> dict[str, Task]:
    """Read a list of tasks of CrossTask by their ids: blocks of id, title, url, number of steps, steps.

    The steps stand on one line with commas between. A block that is incomplete or counts its steps wrongly is
    a `ValueError` that names its line.
    """
    tasks: dict[str, Task] = {}
    lines = [*read_text(path).split("\n"), ""]
    block: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            block.append(line.strip())
            continue
        if block:
            steps = tuple(block[4].split(",")) if len(block) == 5 else ()
            if not steps or block[3] != str(len(steps)):
                raise ValueError(
                    f"{path}, line {number - len(block)}: expected five lines: id, title, url, number of "
                    f"steps, and as many steps with commas between; found {block}."
                )
            tasks[block[0]] = Task(block[0], block[1], steps)
        block = []
    if not tasks:
        raise ValueError(f"{path} lists no task.")
    return tasks


def crosstask_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read the steps of CrossTask from the official folder, or from a table `task,video,step,start,end`.

    The folder `annotations` holds `TASK_VIDEO.csv` files, lines of step, start, end. A list of tasks gives
    the steps their names, and videos of tasks that it lacks are left out; without it a step is called by its
    number. Videos of the list `validation_videos` (lines of task, video, url) get the subset `"validation"`,
    all others `"training"`. Choice: the paper's 3:1 split was not published.
    """
    known = None if options.tasks is None else read_crosstask_tasks(options.tasks)
    held_out = None if options.validation_videos is None else _held_out_videos(options.validation_videos)
    for step in _read_steps(path):
        if known is not None and step.task_id not in known:
            continue
        task = Task(step.task_id, step.task_id, ()) if known is None else known[step.task_id]
        subset = "" if held_out is None else "validation" if step.video_id in held_out else "training"
        yield Entry(step.line, step.video_id, _step_rows(step, task, subset), step.path)


@dataclass(frozen=True)
class _Step:
    """A row of CrossTask as the file has it; `problem` says what is wrong with the row as a whole."""

    path: Path
    line: int
    task_id: str
    video_id: str
    number: str
    window: tuple[str, str]
    problem: str | None = None


def _step_rows(step: _Step, task: Task, subset: str) -> Iterator[Row]:
    if step.problem is not None:
        raise BadRowError(step.problem)
    yield {"subset": subset, "task": task.title}
    number = to_number(step.number, "step")
    if number != int(number) or number < 1 or (task.steps and number > len(task.steps)):
        count = f" to {len(task.steps)}" if task.steps else ""
        raise BadRowError(f"step is {step.number!r}, task {task.task_id} has steps from 1{count}.")
    yield SegmentRow(step.window, task.steps[int(number) - 1] if task.steps else str(int(number)))


def _read_steps(path: Path) -> Iterator[_Step]:
    if not path.is_dir():
        columns = ("task", "video", "step", "start", "end")
        for row in read_table(path, columns, columns):
            cells = row.values
            window = (cells["start"], cells["end"])
            yield _Step(path, row.line, cells["task"], cells["video"], cells["step"], window, row.problem)
        return
    files = sorted(file for file in path.iterdir() if file.name.endswith((".csv", ".csv.gz")))
    if not files:
        raise FileNotFoundError(
            f"{path} holds no TASK_VIDEO.csv; give the folder `annotations` of CrossTask."
        )
    for file in files:
        # Ids of YouTube may hold underscores themselves, numbers of tasks do not.
        task_id, _, video_id = file.name.removesuffix(".gz").removesuffix(".csv").partition("_")
        lines = list(numbered_lines(file))
        if not lines:
            logger.warning("%s holds no step: its video is left out", file)
        for line, text in lines:
            number, start, end = [*text.split(","), "", "", ""][:3]
            yield _Step(file, line, task_id, video_id, number, (start, end))


def _held_out_videos(path: str | Path) -> frozenset[str]:
    fields = [(line, text.split(",")) for line, text in numbered_lines(path)]
    short = [line for line, parts in fields if len(parts) < 2]
    if short:
        raise ValueError(f"{path}, line {short[0]}: expected task, video and url with commas between.")
    return frozenset(parts[1] for _, parts in fields)
