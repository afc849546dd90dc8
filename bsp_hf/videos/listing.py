"""Folders, patterns, lists, tables, addresses and archives as a list of videos with ids."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bsp_hf.files import escape_controls, guess_encoding

from .items import InputCollisionError, UnusableVideo, VideoItem, locate, open_file_system
from .tables import read_table
from .tar import TAR_SUFFIXES, TarMember, list_tar, member_id
from .walk import is_passed_over, is_video_name, walk_files, walk_videos

LIST_SUFFIXES = (".txt", ".lst", ".list")
_MAGIC = re.compile(r"[*?\[]")
_NUMBERED = re.compile(r"\{(\d+)\.\.(\d+)\}")

Found = VideoItem | UnusableVideo


@dataclass(frozen=True)
class FoundVideos:
    """The videos of a job.

    Args:
        items (`tuple[VideoItem, ...]`): The videos in the order of their ids.
        unusable (`tuple[UnusableVideo, ...]`): What was found and cannot be tried.
    """

    items: tuple[VideoItem, ...]
    unusable: tuple[UnusableVideo, ...] = ()


def find_videos(
    inputs: str | Path | VideoItem | Iterable[str | Path | VideoItem],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> FoundVideos:
    """List the videos of inputs of many kinds, with their ids.

    Each input is one of:

    - a folder: all videos in it and under it; an id is the path in the folder without suffix;
    - a pattern like `clips/**/*.mp4`, also with `{000..019}`: ids start at the folder before the first
      wildcard;
    - a list, `.txt`: one video a line, relative to the list; `#` begins a comment;
    - a table, `.csv`, with the columns `file` and, optionally, `id`, `start_s` and `end_s`, relative to the
      table; its rows may be parts of one file, each with its own id;
    - an archive, `.tar` or compressed, in the WebDataset layout; an id is the key of a member, or its path
      without suffix where several members share a key;
    - an address that fsspec reads, `s3://`, `hf://`, `memory://`: of a file, a folder, a pattern or an
      archive;
    - any other file: one video; its id is its name without suffix.

    Args:
        inputs (`str`, `Path`, `VideoItem` or several): Where the videos are.
        start_s (`float`, *optional*, defaults to 0.0): First second of every video that has no range of its
            own.
        end_s (`float`, *optional*): End in seconds of these.

    Returns:
        `FoundVideos`: The videos, and what cannot be used.

    Raises:
        FileNotFoundError: If an input does not exist, or there is no video in it.
        InputCollisionError: If two videos have one id; it names both.
        ValueError: If a list or table is faulty; it names the line.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike, VideoItem)) else list(inputs)
    found: list[Found] = []
    for number, one in enumerate(given):
        if isinstance(one, VideoItem):
            found.append(one)
        elif isinstance(one, (str, bytes, os.PathLike)) and one:
            found += _look_at(os.fsdecode(one))
        else:
            found.append(
                UnusableVideo(f"videos[{number}]", f"it is {one!r}, not a path, address or VideoItem")
            )
    if not found:
        raise FileNotFoundError("there is no video to extract features of; pass a folder, files or a list.")
    # A video that two inputs name is one video.
    items = dict.fromkeys(item.cut(start_s, end_s) for item in found if isinstance(item, VideoItem))
    num_of_id = Counter(item.video_id for item in items)
    items = dict.fromkeys(
        replace(item, video_id=member_id(item.origin.member))
        if num_of_id[item.video_id] > 1 and isinstance(item.origin, TarMember)
        else item
        for item in items
    )
    check_ids_differ(items)
    unusable = tuple(item for item in found if isinstance(item, UnusableVideo))
    return FoundVideos(tuple(sorted(items, key=lambda item: item.video_id)), unusable)


def check_ids_differ(items: Iterable[VideoItem]) -> None:
    """Raise an `InputCollisionError` that names both if two videos would write to one place."""
    first: dict[str, VideoItem] = {}
    for item in items:
        other = first.setdefault(item.video_id, item)
        if other != item:
            raise InputCollisionError(
                f"{other.name} and {item.name} would both have the id {item.video_id!r} and write to one "
                "file. Give them ids in a CSV table with the columns id,file, or extract them into two "
                "folders."
            )


def _look_at(text: str) -> Iterator[Found]:
    if _NUMBERED.search(text):
        for expanded in _expand_numbers(text):
            yield from _look_at(expanded)
    elif text.startswith("file://"):
        yield from _look_at(text.removeprefix("file://"))
    elif "://" in text:
        yield from _look_at_address(text)
    elif os.path.isdir(text):
        yield from _look_in_folder(Path(text))
    elif not os.path.lexists(text) and _MAGIC.search(text):
        yield from _look_by_pattern(text)
    elif not os.path.lexists(text):
        raise FileNotFoundError(f"{text} does not exist: give a folder, a video, a list or a pattern.")
    elif text.endswith(LIST_SUFFIXES):
        yield from _read_list(Path(text))
    elif text.endswith(".csv"):
        yield from _read_table(Path(text))
    elif text.endswith(TAR_SUFFIXES):
        yield from _describe(text, text)
    else:
        yield from _describe(Path(text).name, text)


def _expand_numbers(text: str) -> Iterator[str]:
    match = _NUMBERED.search(text)
    if match is None:
        yield text
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expand_numbers(f"{text[: match.start()]}{number:0{len(first)}d}{text[match.end() :]}")


def _look_in_folder(folder: Path) -> Iterator[Found]:
    found = walk_videos(folder)
    if not found:
        archives = any(path.name.endswith(TAR_SUFFIXES) for path in walk_files(folder))
        hint = f"; for its archives pass '{folder}/*.tar'" if archives else ""
        raise FileNotFoundError(f"there is no video in {folder} or under it{hint}.")
    for path in found:
        yield from _describe(path.relative_to(folder).as_posix(), str(path))


def _look_by_pattern(pattern: str) -> Iterator[Found]:
    before = pattern[: _MAGIC.search(pattern).start()]  # type: ignore[union-attr]  # the caller has seen it
    root = Path(before.rpartition("/")[0] or ("/" if before.startswith("/") else "."))
    paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]
    if "**" in pattern:  # which glob follows around circles of links
        walked = set(walk_files(root))
        paths = [path for path in paths if path in walked]
    if not paths:
        raise FileNotFoundError(f"no file matches {pattern}.")
    for path in paths:
        yield from _describe(path.relative_to(root).as_posix(), str(path))


def _look_at_address(url: str) -> Iterator[Found]:
    if url.endswith(TAR_SUFFIXES) and not _MAGIC.search(url):
        yield from _describe(url, url)
        return
    file_system, path = open_file_system(url)
    file_system.invalidate_cache()  # of an earlier job in this process
    magic = _MAGIC.search(path)
    if magic:
        root, paths = path[: magic.start()].rpartition("/")[0], sorted(file_system.glob(path))
    elif file_system.isdir(path):
        root = path.rstrip("/")
        paths = [
            one
            for one in sorted(file_system.find(path))
            if is_video_name(one) and not any(map(is_passed_over, one.removeprefix(root).split("/")))
        ]
    else:
        root, paths = path.rpartition("/")[0], [path]
    if not paths:
        raise FileNotFoundError(f"there is no video at {url}.")
    for one in paths:
        yield from _describe(one.removeprefix(root).lstrip("/"), file_system.unstrip_protocol(one))


def _describe(inside: str, name: str) -> Iterator[Found]:
    """Yield the video of a file, or those of an archive; ids begin at the start of `inside`."""
    try:
        if name.endswith(TAR_SUFFIXES):
            yield from list_tar(name)
        else:
            yield VideoItem(_without_suffix(inside), name, locate(name))
    except ValueError as error:  # an archive that is none, or a name that cannot be an id, stops no other
        yield UnusableVideo(escape_controls(name), str(error))


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _read_list(path: Path) -> Iterator[Found]:
    # Lists of file names hold what the disk holds, and that need not be UTF-8.
    with path.open(encoding=guess_encoding(path), errors="surrogateescape") as lines:
        try:
            entries = {number: line.strip(" \t\r\n") for number, line in enumerate(lines, 1)}
        except UnicodeError as error:
            raise ValueError(f"{path} is no text: {error}. Save it as UTF-8.") from error
    files = {number: line for number, line in entries.items() if line and not line.startswith("#")}
    absolute = [os.path.dirname(file) for file in files.values() if os.path.isabs(file)]
    shared = os.path.commonpath(absolute) if absolute else ""
    for number, file in files.items():
        place = f"{path}, line {number}"
        try:
            video_id = _id_of(os.path.relpath(file, shared) if os.path.isabs(file) else file)
            item = _make_item(path, place, video_id, file)
        except ValueError as error:
            reason = str(error).removeprefix(f"{place}: ")
            yield UnusableVideo(escape_controls(file), f"{place}: {reason}")
            continue
        if escape_controls(file) != file and not os.path.lexists(item.name):
            reason = f"{place}: there is no such file, and the line is not UTF-8"
            yield UnusableVideo(escape_controls(file), reason)
        else:
            yield item


def _read_table(path: Path) -> Iterator[Found]:
    for row in read_table(path):
        start_s, end_s = row.read_seconds("start_s"), row.read_seconds("end_s")
        video_id = row["id"] or _id_of(row["file"])
        yield _make_item(path, row.place, video_id, row["file"], start_s or 0.0, end_s)


def _id_of(entry: str) -> str:
    """Return the id of an entry of a list: its path without `./`, without what leads up, without suffix."""
    if "://" in entry:
        return PurePosixPath(entry).stem
    parts = [part for part in PurePosixPath(entry.replace(os.sep, "/")).parts if part not in ("..", "/")]
    return _without_suffix("/".join(parts))


def _make_item(
    table: Path, place: str, video_id: str, file: str, start_s: float = 0.0, end_s: float | None = None
) -> VideoItem:
    name = file if "://" in file else str(table.parent / file)
    try:
        return VideoItem(video_id, name, locate(name), start_s, end_s)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
