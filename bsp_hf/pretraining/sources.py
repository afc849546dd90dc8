"""Trimmed videos to synthesize from: where they are, what class they show, how many frames they have."""

import csv
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from bsp_hf.encoder.video import VideoDecodeError, index_frames

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".gif", ".flv"})


@dataclass(frozen=True)
class TrimmedVideo:
    """One trimmed video.

    Args:
        path (`Path`): The video file.
        label (`str`): Its action class; `""` where classes are unknown.
        group (`str`): What must not be split between training and evaluation (a person, a scene, a source
            video); the path itself where nothing is known.
        split (`str`): `"train"`, `"test"` or `""` where the data set does not say.
        num_frames (`int`): Decodable frames; 0 until [`count_frames`] has counted them.
    """

    path: Path
    label: str
    group: str
    split: str = ""
    num_frames: int = 0


class SourceCatalog:
    """The sources that clips are synthesized from, with the lookups that drawing needs.

    Args:
        sources (`Sequence[TrimmedVideo]`): The videos, counted by [`count_frames`].
    """

    def __init__(self, sources: Sequence[TrimmedVideo]):
        self.sources = list(sources)
        self.lengths = np.array([source.num_frames for source in self.sources], dtype=np.int64)
        self.labels = sorted({source.label for source in self.sources})
        label_ids = {label: number for number, label in enumerate(self.labels)}
        self.label_ids = np.array([label_ids[source.label] for source in self.sources], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def _by_label(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.label_ids == label) for label in range(len(self.labels))]

    @cached_property
    def _outside_label(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.label_ids != label) for label in range(len(self.labels))]

    def same_class(self, anchor: int) -> np.ndarray:
        """Return the indices of the other sources of the anchor's class."""
        members = self._by_label[self.label_ids[anchor]]
        return members[members != anchor]

    def other_classes(self, anchor: int) -> np.ndarray:
        """Return the indices of the sources of all other classes."""
        return self._outside_label[self.label_ids[anchor]]


def scan_video_folder(video_dir: str | Path, metadata: str | Path | None = None) -> list[TrimmedVideo]:
    """List the videos of a folder.

    Without a table, the first folder under `video_dir` is the class (`CLASS/clip.mp4`), except that
    `train/CLASS/clip.mp4` and `test/CLASS/clip.mp4` also give the split. With a table, its rows say all.

    Args:
        video_dir (`str` or `Path`): The folder.
        metadata (`str` or `Path`, *optional*):
            CSV file with a column `file` or `file_name` (relative to `video_dir`), `class` or `label`, and
            optionally `split` (`train`, or `test` / `val` / `validation`) and `group`.

    Returns:
        `list[TrimmedVideo]`: The videos, sorted by path, frames not yet counted.

    Raises:
        ValueError: If the folder holds no video, or the table lacks a column or leaves the folder.
        FileNotFoundError: If the folder, the table or a file of the table does not exist.
    """
    root = Path(video_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; --video_dir wants a folder of CLASS/clip.mp4 files.")
    if metadata is not None:
        return _read_table(root, Path(metadata))
    sources = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        folders = path.relative_to(root).parts[:-1]
        split = ""
        if len(folders) > 1 and folders[0] in ("train", "test", "val", "validation"):
            split = "train" if folders[0] == "train" else "test"
            folders = folders[1:]
        sources.append(TrimmedVideo(path, folders[0] if folders else "", str(path.relative_to(root)), split))
    if not sources:
        raise ValueError(
            f"{root} holds no video. Expected CLASS/clip.mp4 (any of {', '.join(sorted(VIDEO_SUFFIXES))})."
        )
    return sources


def _read_table(root: Path, table: Path) -> list[TrimmedVideo]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = set(rows[0]) if rows else set()
    file_column = next((name for name in ("file", "file_name") if name in columns), None)
    label_column = next((name for name in ("class", "label") if name in columns), None)
    if file_column is None or label_column is None:
        raise ValueError(
            f"{table} needs the columns file (or file_name) and class (or label); it has {sorted(columns)}."
        )
    sources = []
    for number, row in enumerate(rows, start=2):
        path = root / row[file_column]
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{table}, line {number}: {row[file_column]} leaves the folder {root}.")
        if not path.is_file():
            raise FileNotFoundError(f"{table}, line {number}: {path} does not exist.")
        split = (row.get("split") or "").lower()
        split = "test" if split in ("test", "val", "validation") else split
        sources.append(TrimmedVideo(path, row[label_column], row.get("group") or row[file_column], split))
    return sorted(sources, key=lambda source: source.path)


def split_sources(
    sources: Sequence[TrimmedVideo], eval_fraction: float = 0.1, seed: int = 0
) -> tuple[list[TrimmedVideo], list[TrimmedVideo]]:
    """Divide sources into training and held-out ones, never through a group.

    Args:
        sources (`Sequence[TrimmedVideo]`): All of them. Where their `split` is given, it decides.
        eval_fraction (`float`, *optional*, defaults to 0.1): Share of the groups of every class to hold out.
        seed (`int`, *optional*, defaults to 0): Seed of the draw.

    Returns:
        `tuple`: Training and held-out sources.

    Raises:
        ValueError: If only some sources have a split, or either part would be empty.
    """
    named = [source for source in sources if source.split]
    if named and len(named) != len(sources):
        missing = next(source for source in sources if not source.split)
        raise ValueError(f"{missing.path} has no split, but {len(named)} others have; give all or none.")
    if named:
        held_out = {source.group for source in sources if source.split != "train"}
    else:
        rng = np.random.default_rng(seed)
        held_out = set()
        for label in sorted({source.label for source in sources}):
            groups = sorted({source.group for source in sources if source.label == label} - held_out)
            count = max(1, round(eval_fraction * len(groups))) if len(groups) > 1 else 0
            held_out.update(groups[i] for i in rng.permutation(len(groups))[:count])
    train = [source for source in sources if source.group not in held_out]
    test = [source for source in sources if source.group in held_out]
    if not train or not test:
        raise ValueError(f"the split leaves {len(train)} sources to train on and {len(test)} held out; both need some.")
    return train, test


def count_frames(
    sources: Sequence[TrimmedVideo], num_workers: int = 0, cache: str | Path | None = None
) -> tuple[list[TrimmedVideo], list[tuple[Path, str]]]:
    """Count the decodable frames of every source.

    Args:
        sources (`Sequence[TrimmedVideo]`): The videos.
        num_workers (`int`, *optional*, defaults to 0): Processes to count in; 0 counts in this one.
        cache (`str` or `Path`, *optional*):
            JSON file that remembers what was counted, by path, size and time of change.

    Returns:
        `tuple`: The readable sources with their number of frames, and `(path, reason)` of every other.
    """
    counts = _CountCache(Path(cache) if cache is not None else None)
    todo = [source.path for source in sources if counts.get(source.path) is None]
    broken: dict[Path, str] = {}
    if todo:
        logger.info("counting the frames of %d videos", len(todo))
    with tqdm(total=len(todo), desc="counting frames", unit="video", disable=None) as progress:
        for path, result in _map_count(todo, num_workers):
            if isinstance(result, int):
                counts.put(path, result)
            else:
                broken[path] = result
                logger.warning("left out: %s", result)
            progress.update()
    counts.save()
    readable = [
        replace(source, num_frames=counts.get(source.path)) for source in sources if source.path not in broken
    ]
    return readable, list(broken.items())


def _map_count(paths: list[Path], num_workers: int) -> Iterable[tuple[Path, int | str]]:
    if num_workers < 1 or len(paths) < 2:
        yield from map(_count_one, paths)
        return
    with ProcessPoolExecutor(num_workers) as pool:
        yield from pool.map(_count_one, paths, chunksize=8)


def _count_one(path: Path) -> tuple[Path, int | str]:
    try:
        return path, index_frames(path).num_frames
    except (VideoDecodeError, OSError) as error:
        return path, str(error)


class _CountCache:
    """Frame counts by path, valid while the file keeps its size and time of change."""

    def __init__(self, path: Path | None):
        self.path = path
        self.counts: dict[str, list[int]] = {}
        if path is not None and path.is_file():
            self.counts = json.loads(path.read_text(encoding="utf-8"))

    @staticmethod
    def _stamp(video: Path) -> list[int]:
        status = video.stat()
        return [status.st_size, status.st_mtime_ns]

    def get(self, video: Path) -> int | None:
        *stamp, count = self.counts.get(str(video.resolve()), [0, 0, 0])
        return count if count and stamp == self._stamp(video) else None

    def put(self, video: Path, count: int) -> None:
        self.counts[str(video.resolve())] = [*self._stamp(video), count]

    def save(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self.counts), encoding="utf-8")
        temporary.replace(self.path)


__all__ = ["SourceCatalog", "TrimmedVideo", "count_frames", "scan_video_folder", "split_sources"]
