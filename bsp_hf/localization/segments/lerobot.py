"""Proposed subtasks of a LeRobot v3 data set in its own layout; lerobot itself is not needed."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bsp_hf.encoder.video import index_frames
from bsp_hf.files import atomic_folder, link_missing
from bsp_hf.localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
from bsp_hf.metrics.text_files import read_json_object

from .segmenting import check_choice, divide_video, find_changes
from .types import SegmentedVideo

_INFO, _SUBTASKS, _COLUMN = "meta/info.json", "meta/subtasks.parquet", "subtask_index"


@dataclass(frozen=True)
class Episode:
    """An episode: its number, its rows, and where its video is in a file that holds several."""

    index: int
    length: int
    video: Path
    from_s: float
    to_s: float


@dataclass(frozen=True)
class LeRobotData:
    """What a data set says of itself, and its episodes as one camera shows them."""

    folder: Path
    info: dict[str, Any]
    camera: str
    episodes: tuple[Episode, ...]


def is_lerobot(folder: Path) -> bool:
    """Return whether a folder holds a data set of LeRobot."""
    return (folder / _INFO).is_file() and (folder / "meta").is_dir() and (folder / "data").is_dir()


def read_lerobot(folder: Path, camera: str | None = None) -> LeRobotData:
    """Read the episodes of a data set of version 3; by default as its first camera shows them."""
    info = _read_info(folder)
    cameras = [name for name, one in info["features"].items() if one.get("dtype") == "video"]
    chosen = camera or next(iter(cameras), "")
    if chosen not in cameras:
        raise ValueError(f"{folder} has no camera {chosen}; it has {', '.join(cameras) or 'none'}.")
    place = f"videos/{chosen}"
    numbers = ["episode_index", "length", f"{place}/chunk_index", f"{place}/file_index"]
    names = [*numbers, f"{place}/from_timestamp", f"{place}/to_timestamp"]
    episodes: dict[int, Episode] = {}
    files = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise ValueError(f"{folder}: meta/episodes holds no parquet file; is the data set complete?")
    for file in files:
        for row in _read_table(file, names).select(names).to_pylist():
            *counts, from_s, to_s = row.values()
            are_counts = all(isinstance(count, int) and count >= 0 for count in counts)
            are_seconds = all(isinstance(time_s, int | float) for time_s in (from_s, to_s))
            if not are_counts or not are_seconds or not 0 <= from_s < to_s < math.inf:
                raise ValueError(f"{file}: {row} is no episode: whole numbers, and seconds in their order.")
            index, length, chunk, number = counts
            if index in episodes:
                raise ValueError(f"{file}: episode {index} comes twice.")
            path = _locate_video(info["video_path"], chosen, chunk, number, folder)
            episodes[index] = Episode(index, length, path, from_s, to_s)
    return LeRobotData(folder, info, chosen, tuple(episodes[index] for index in sorted(episodes)))


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / _INFO
    info = read_json_object(path)
    version = str(info.get("codebase_version"))
    if not version.startswith("v3"):
        raise ValueError(f"{path}: its layout is {version}; convert it to v3.0 with lerobot's own script.")
    features, template = info.get("features"), info.get("video_path")
    if not isinstance(features, dict) or not all(isinstance(one, dict) for one in features.values()):
        raise ValueError(f"{path}: features must be an object of objects.")
    if not isinstance(template, str):
        raise ValueError(f"{path}: video_path is {template!r}; expected a text with {{video_key}} and so on.")
    if _COLUMN in features or (folder / _SUBTASKS).exists():
        raise ValueError(f"{folder} has subtasks already; remove {_COLUMN} to have others proposed.")
    return info


def _read_table(file: Path, columns: Sequence[str]) -> Any:  # Any: a table of pyarrow
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    missing = set(columns) - set(table.column_names)
    if missing:
        raise ValueError(f"{file}: the columns {', '.join(sorted(missing))} are missing.")
    return table


def _locate_video(template: str, camera: str, chunk: int, number: int, folder: Path) -> Path:
    """Return the file of a video, which lies in the data set."""
    try:
        name = template.format(video_key=camera, chunk_index=chunk, file_index=number)
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{folder / _INFO}: video_path {template!r} names something else than video_key, chunk_index and "
            "file_index."
        ) from error
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{folder / _INFO}: video_path leads out of the data set, to {name}.")
    return folder / name


def segment_episodes(
    data: LeRobotData,
    detector: VideoBoundaryDetectionPipeline,
    *,
    kinds: Sequence[str] | None = None,
    min_segment_s: float = 0.0,
    max_segments: int | None = None,
    **parameters: Any,  # Any: those of the pipeline
) -> Iterator[tuple[Episode, SegmentedVideo]]:
    """Yield each episode with its segments, in its own seconds and frames; a file is read once.

    Where one episode follows another, the encoder sees a cut that is none: changes within half a window of
    the ends of an episode do not count.
    """
    check_choice(kinds, min_segment_s, max_segments)
    by_file = defaultdict(list)
    for episode in data.episodes:
        by_file[episode.video].append(episode)
    for path, episodes in by_file.items():
        index = index_frames(path)
        changes = find_changes(index, detector(path, **parameters))
        half_frame_s = 0.5 / index.fps  # seconds of a table are rounded
        margin = detector.model.config.num_frames // 2
        for episode in episodes:
            if episode.to_s > index.times_s[-1] + 2.5 / index.fps:
                raise ValueError(
                    f"episode {episode.index} ends at {episode.to_s:.2f} s of {path}, whose last frame is at "
                    f"{index.times_s[-1]:.2f} s."
                )
            start_s, end_s = max(0.0, episode.from_s - half_frame_s), episode.to_s - half_frame_s
            first, last = np.searchsorted(index.times_s, [start_s, end_s])
            divided = divide_video(
                path,
                index,
                [one for one in changes if first + margin <= one.frame <= last - margin],
                kinds=kinds,
                min_segment_s=min_segment_s,
                max_segments=max_segments,
                start_s=start_s,
                end_s=end_s,
            )
            yield episode, _count_from_start(divided, int(first))


def _count_from_start(divided: SegmentedVideo, first: int) -> SegmentedVideo:
    """Return the segments of an episode with its own seconds and frames."""
    start_s = divided.segments[0].start_s
    segments = tuple(
        replace(
            one,
            start_s=one.start_s - start_s,
            end_s=one.end_s - start_s,
            start_frame=one.start_frame - first,
            end_frame=one.end_frame - first,
        )
        for one in divided.segments
    )
    return replace(divided, segments=segments)


def write_subtasks(data: LeRobotData, segments: dict[int, SegmentedVideo], output: Path) -> int:
    """Write a data set with proposed subtasks, and return how many names they have.

    It appears whole, with its videos linked to those of the data set, or copied where that is impossible;
    the data set itself is left as it is. Every frame gets its `subtask_index`, and `meta/subtasks.parquet`
    the names `segment 1` and so on, by the place in the episode.
    """
    import pandas
    import pyarrow
    import pyarrow.parquet as parquet

    if output.resolve().is_relative_to(data.folder.resolve()):
        raise ValueError(f"{output} lies in the data set itself; choose another output.")
    count = max(len(one.segments) for one in segments.values())
    with atomic_folder(output) as new:
        for file in sorted((data.folder / "data").glob("*/*.parquet")):
            table = _read_table(file, ("episode_index", "frame_index"))
            numbers = _number_rows(table, segments)
            table = table.append_column(_COLUMN, pyarrow.array(numbers, pyarrow.int64()))
            table = table.replace_schema_metadata(_describe_column(table.schema.metadata))
            place = new / file.relative_to(data.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, place, compression="snappy")
        features = {**data.info["features"], _COLUMN: {"dtype": "int64", "shape": [1], "names": None}}
        (new / "meta").mkdir()
        info = json.dumps({**data.info, "features": features}, indent=4, ensure_ascii=False)
        (new / _INFO).write_text(info, encoding="utf-8")
        names = pandas.Index([f"segment {number + 1}" for number in range(count)], dtype=object)
        pandas.DataFrame({_COLUMN: np.arange(count)}, index=names).to_parquet(new / _SUBTASKS)
        link_missing(data.folder, new)
    return count


def _number_rows(table: Any, segments: dict[int, SegmentedVideo]) -> np.ndarray:  # Any: a table of pyarrow
    """Return the number of the segment in which each row lies."""
    episodes, frames = (table.column(name).to_numpy() for name in ("episode_index", "frame_index"))
    numbers = np.zeros(len(frames), np.int64)
    for episode in np.unique(episodes):
        if int(episode) not in segments:
            raise ValueError(f"episode {episode} has rows, but meta/episodes does not hold it.")
        starts = [one.start_frame for one in segments[int(episode)].segments]
        rows = episodes == episode
        numbers[rows] = np.searchsorted(starts, frames[rows], side="right") - 1
    return numbers


def _describe_column(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes]:
    """Return the metadata of a table with the new column, without which `datasets` would not read it."""
    kept = dict(metadata or {})
    if b"huggingface" in kept:
        described = json.loads(kept[b"huggingface"])
        described.get("info", {}).get("features", {})[_COLUMN] = {"dtype": "int64", "_type": "Value"}
        kept[b"huggingface"] = json.dumps(described).encode()
    kept.pop(b"pandas", None)  # which lists the columns, too
    return kept
