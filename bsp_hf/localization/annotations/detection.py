"""Readers of action segments: ActivityNet, THUMOS14, COIN, CrossTask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
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

THUMOS_IGNORED = ("Ambiguous", "-1")
_OPTIONAL_FACTS = {"duration": "duration_s", "fps": "fps", "frames": "num_frames"}


def read_activitynet(path: str | Path, strict: bool = False) -> AnnotationSet:
    """Read the ActivityNet layout, which THUMOS14 and FineAction are also kept in.

    `{"database": {id: {"subset": ..., "duration": ..., "annotations": [{"segment": [start, end], "label":
    ...}]}}}`, times in seconds as numbers or text. `duration`, `fps` and `frames` may be absent.

    Args:
        path (`str` or `Path`): The file, `.json` or `.json.gz`.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with segments.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If the file has another layout.
    """
    text = JsonText(path)
    database = expect_mapping(text.data, path, 'the ActivityNet layout, {"database": ...}').get("database")
    database = expect_mapping(database, path, 'a mapping from id to record under "database"')
    collector = AnnotationCollector(path, strict)
    for video_id, record in database.items():
        _add_record(collector, text.line_of(video_id), video_id, record, "annotations")
    return collector.finish()


def read_coin(path: str | Path, strict: bool = False) -> AnnotationSet:
    """Read COIN, either its official `{"database": {id: record}}` or a list of `{id: record}`.

    A record holds `annotation` (`[{"segment": [start, end], "label": step}]`), `class`, `duration` and
    `subset`.

    Args:
        path (`str` or `Path`): The file, `.json` or `.json.gz`.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with their task and its steps as segments.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If the file has another layout.
    """
    text = JsonText(path)
    data = text.data
    if isinstance(data, Mapping):
        parts = [expect_mapping(data.get("database"), path, 'a mapping under "database"')]
    elif isinstance(data, Sequence) and not isinstance(data, str):
        parts = [expect_mapping(part, path, "a list of {id: record}") for part in data]
    else:
        raise ValueError(f"{path} holds a {type(data).__name__}; expected the COIN layout.")
    collector = AnnotationCollector(path, strict)
    for video_id, record in chain.from_iterable(part.items() for part in parts):
        _add_record(collector, text.line_of(video_id), video_id, record, "annotation")
    return collector.finish()


def _add_record(
    collector: AnnotationCollector,
    line: int,
    video_id: str,
    record: Any,  # Any: somebody's JSON
    entries_name: str,
) -> None:
    if not isinstance(record, Mapping):
        collector.note(line, f"video {video_id}: holds a {type(record).__name__}, expected a record.")
        return
    facts: dict[str, Any] = {"subset": str(record.get("subset", "")), "task": str(record.get("class", ""))}
    for name, fact in _OPTIONAL_FACTS.items():
        if record.get(name) is not None:
            try:
                number = to_duration(record[name], name)
                facts[fact] = int(number) if fact == "num_frames" else number
            except BadRowError as error:
                collector.note(line, f"video {video_id}: {error}")
    if not collector.add_video(line, video_id, **facts):
        return
    try:
        entries = to_list(record.get(entries_name, []), entries_name)
    except BadRowError as error:
        collector.note(line, f"video {video_id}: {error}")
        return
    for entry in entries:
        if not isinstance(entry, Mapping):
            collector.note(line, f"video {video_id}: holds {entry!r}, expected a segment with a label.")
        else:
            collector.add_segment(line, video_id, entry.get("segment"), entry.get("label", ""))


def read_thumos_table(
    path: str | Path, subset: str = "", strict: bool = False, keep_ambiguous: bool = False
) -> AnnotationSet:
    """Read a THUMOS14 table of G-TAD (`video,type,...,start,end`) or TSP (`video-name,t-init,t-end,...`).

    Args:
        path (`str` or `Path`): The file, `.csv` or `.csv.gz`.
        subset (`str`, *optional*, defaults to `""`): Subset of its videos; by default `"test"` or
            `"validation"`, by the id.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.
        keep_ambiguous (`bool`, *optional*, defaults to `False`): Keep segments of the class "Ambiguous" (-1
            in the tables of TSP), which are none of the 20 classes. Their videos stay either way.

    Returns:
        `AnnotationSet`: Videos with segments; labels are class names, or class numbers as text.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        ValueError: If a column is missing.
    """
    header = read_text(path).partition("\n")[0]
    is_tsp = "video-name" in header
    columns = ("video-name", "t-init", "t-end", "label-idx") if is_tsp else ("video", "start", "end", "type")
    collector = AnnotationCollector(path, strict)
    for row in read_table(path, columns):
        video_id, start, end, label = (row.values[name] for name in columns)
        facts: dict[str, Any] = {"subset": subset or ("test" if "test" in video_id else "validation")}
        try:
            if is_tsp and row.values.get("video-duration"):
                facts["duration_s"] = to_duration(row.values["video-duration"], "video-duration")
                facts["fps"] = to_duration(row.values.get("frame-rate"), "frame-rate")
                facts["num_frames"] = int(to_duration(row.values.get("video-frames"), "video-frames"))
        except BadRowError as error:
            collector.note(row.line, f"video {video_id}: {error}")
        if not collector.add_video(row.line, video_id, **facts):
            continue
        if keep_ambiguous or label not in THUMOS_IGNORED:
            collector.add_segment(row.line, video_id, (start, end), label)
    return collector.finish()


@dataclass(frozen=True)
class Task:
    """A task of CrossTask.

    Args:
        task_id (`str`): Its number.
        title (`str`): Its name.
        steps (`tuple[str, ...]`): Its steps in order.
    """

    task_id: str
    title: str
    steps: tuple[str, ...]


def read_crosstask_tasks(path: str | Path) -> dict[str, Task]:
    """Read a list of tasks of CrossTask: blocks of id, title, url, number of steps, steps with commas.

    Args:
        path (`str` or `Path`): `tasks_primary.txt` or `tasks_related.txt`.

    Returns:
        `dict[str, Task]`: The tasks by id.

    Raises:
        ValueError: If a block is incomplete or counts its steps wrongly; the message names the line.
    """
    tasks: dict[str, Task] = {}
    lines = [*read_text(path).splitlines(), ""]
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


def read_crosstask(
    path: str | Path,
    tasks: str | Path | None = None,
    videos: str | Path | None = None,
    strict: bool = False,
) -> AnnotationSet:
    """Read the steps of CrossTask.

    Args:
        path (`str` or `Path`): The official folder `annotations` of `TASK_VIDEO.csv` files (lines of step,
            start, end), or one table `task,video,step,start,end` of all videos.
        tasks (`str` or `Path`, *optional*): `tasks_primary.txt`; gives the steps their names. Videos of tasks
            that it does not list are left out. Without it a step is called by its number.
        videos (`str` or `Path`, *optional*): `videos_val.csv` (lines of task, video, url): its videos get the
            subset `"validation"`, all others `"training"`. Choice: the paper's 3:1 split was not published.
        strict (`bool`, *optional*, defaults to `False`): Raise if a row is bad, rather than leave it out.

    Returns:
        `AnnotationSet`: Videos with their task and steps.

    Raises:
        AnnotationError: If `strict` is set and a row is bad.
        FileNotFoundError: If the folder holds no annotation.
        ValueError: If a table lacks a column.
    """
    known = None if tasks is None else read_crosstask_tasks(tasks)
    held_out = None if videos is None else _held_out_videos(videos)
    collector = AnnotationCollector(path, strict)
    for file, line, task_id, video_id, step, start, end in _crosstask_rows(Path(path)):
        collector.path = file
        if known is not None and task_id not in known:
            continue
        steps = known[task_id].steps if known is not None else None
        subset = "" if held_out is None else "validation" if video_id in held_out else "training"
        title = known[task_id].title if known is not None else task_id
        if not collector.add_video(line, video_id, subset=subset, task=title):
            continue
        try:
            number = to_number(step, "step")
            if number != int(number) or number < 1 or (steps is not None and number > len(steps)):
                count = "" if steps is None else f" to {len(steps)}"
                raise BadRowError(f"step is {step!r}, task {task_id} has steps from 1{count}.")
        except BadRowError as error:
            collector.note(line, f"video {video_id}: {error}")
            continue
        label = str(int(number)) if steps is None else steps[int(number) - 1]
        collector.add_segment(line, video_id, (start, end), label)
    collector.path = Path(path)
    return collector.finish()


CrossTaskRow = tuple[Path, int, str, str, str, str, str]


def _crosstask_rows(path: Path) -> list[CrossTaskRow]:
    rows: list[CrossTaskRow] = []
    if not path.is_dir():
        columns = ("task", "video", "step", "start", "end")
        for row in read_table(path, columns):
            task_id, video_id, step, start, end = (row.values[name] for name in columns)
            rows.append((path, row.line, task_id, video_id, step, start, end))
        return rows
    files = sorted(file for file in path.iterdir() if file.name.endswith((".csv", ".csv.gz")))
    if not files:
        raise FileNotFoundError(
            f"{path} holds no TASK_VIDEO.csv; give the folder `annotations` of CrossTask."
        )
    for file in files:
        # Ids of YouTube may hold underscores themselves, numbers of tasks do not.
        task_id, _, video_id = file.name.removesuffix(".gz").removesuffix(".csv").partition("_")
        for line, text in enumerate(read_text(file).splitlines(), start=1):
            if text.strip():
                step, start, end = ([*text.split(","), "", "", ""])[:3]
                rows.append((file, line, task_id, video_id, step, start, end))
    return rows


def _held_out_videos(path: str | Path) -> frozenset[str]:
    fields = [line.split(",") for line in read_text(path).splitlines() if line.strip()]
    short = [number for number, parts in enumerate(fields, start=1) if len(parts) < 2]
    if short:
        raise ValueError(f"{path}, line {short[0]}: expected task, video and url with commas between.")
    return frozenset(parts[1] for parts in fields)
