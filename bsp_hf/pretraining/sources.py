"""Trimmed videos to synthesize from: where they are, what class they show, how many frames they have."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from bsp_hf.encoder.video import index_frames
from bsp_hf.encoder.video_source import VideoDecodeError, VideoSource
from bsp_hf.files import atomic_write_text
from bsp_hf.videos.items import LocalFile, VideoOrigin
from bsp_hf.videos.tables import TableRow, has_column, read_table
from bsp_hf.videos.walk import VIDEO_SUFFIXES, walk_videos

from .prepared_store import PackedFrames, PreparedFile, is_prepared, read_prepared

logger = logging.getLogger(__name__)

_SPLITS = {
    "train": "train",
    "training": "train",
    **dict.fromkeys(("test", "testing", "val", "valid", "validate", "validation", "eval"), "test"),
}
_COUNTS_BETWEEN_SAVES = 1000


@dataclass(frozen=True)
class TrimmedVideo:
    """One trimmed video."""

    path: Path  # with an `origin` only its name
    label: str  # `""` where classes are unknown
    # what must not be split between training and evaluation; the path itself where nothing is known
    group: str
    split: str = ""  # `"train"`, `"test"` or `""` where the data set does not say
    num_frames: int = 0  # decodable ones; 0 until `count_frames` has counted them
    origin: VideoOrigin | None = None  # where the bytes are, if not in a file of their own at `path`

    def open(self) -> AbstractContextManager[VideoSource]:
        """Return a context manager of what the decoder reads."""
        return (self.origin or LocalFile(self.path)).open()

    @property
    def stamp(self) -> str:
        """What changes whenever the video does: path, size and time of change of a file."""
        if self.origin is not None:
            return self.origin.stamp()
        return f"{self.path.resolve()}|{LocalFile(self.path).stamp()}"


class SourceCatalog:
    """The counted sources that clips are synthesized from, with the lookups that drawing needs.

    `appearance`, `(num_sources, dim)`, says what each looks like, for partners that look alike.
    """

    def __init__(self, sources: Sequence[TrimmedVideo], appearance: np.ndarray | None = None):
        self.sources = list(sources)
        if appearance is not None and len(appearance) != len(self.sources):
            raise ValueError(f"got {len(appearance)} rows of appearance for {len(self.sources)} sources.")
        self.appearance = appearance
        self.lengths = np.array([source.num_frames for source in self.sources], dtype=np.int64)
        self.labels = sorted({source.label for source in self.sources})
        label_ids = {label: number for number, label in enumerate(self.labels)}
        self.label_ids = np.array([label_ids[source.label] for source in self.sources], dtype=np.int64)
        self.is_labelled = np.array([source.label != "" for source in self.sources], dtype=bool)

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

    @cached_property
    def longest_in_class(self) -> np.ndarray:
        """Frames of the longest other source of each source's class; 0 without any. `(num_sources,)`."""
        longest = np.zeros(len(self), np.int64)
        for members in self._by_label:
            if len(members) > 1:
                order = members[np.argsort(self.lengths[members], kind="stable")]
                longest[members] = self.lengths[order[-1]]
                longest[order[-1]] = self.lengths[order[-2]]
        return longest

    @cached_property
    def longest_outside_class(self) -> np.ndarray:
        """Frames of the longest source of any other class; 0 without any. `(num_sources,)`."""
        by_label = [self.lengths[others].max(initial=0) for others in self._outside_label]
        return np.array(by_label, dtype=np.int64)[self.label_ids]

    def distances(self, anchor: int, others: np.ndarray) -> np.ndarray:
        """Return how unlike a source some others look; infinite where that is not known."""
        if self.appearance is None:
            raise ValueError("partners that look alike need a catalog with appearance.")
        distances = np.linalg.norm(self.appearance[others] - self.appearance[anchor], axis=1)
        return np.where(np.isnan(distances), np.inf, distances)


def scan_video_folder(video_dir: str | Path, metadata: str | Path | None = None) -> list[TrimmedVideo]:
    """List the videos of a folder, sorted by path, by the same rules as for extraction; count no frames.

    Without a table, the first folder under `video_dir` is the class (`CLASS/clip.mp4`). Folders called
    `train`, `test`, `val` or the like, in any case, give the split (`train/CLASS/clip.mp4`) if there are no
    others beside them. Videos outside a class folder have no class. With a table, its rows say all.

    The table is a CSV file with a column `file` or `file_name` (relative to `video_dir`), `class` or `label`,
    and optionally `split` (`train`, or `test` / `val` / `validation`) and `group`; or one of Kinetics' own
    lists (`label`, `youtube_id`, `time_start`, `time_end`, `split`), whose videos are found by their names in
    any folder, and may be missing. A folder that `bsp-hf prepare` has written has a table of its own, with
    all frames counted.
    """
    root = Path(video_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; pass the one that holds CLASS/clip.mp4 files.")
    if is_prepared(root):
        if metadata is not None:
            raise ValueError(f"{root} was prepared, and keeps its own table; leave out {metadata}.")
        return [
            TrimmedVideo(
                root / video.name, video.label, video.group, video.split, video.num_frames, video.origin
            )
            for video in read_prepared(root)
        ]
    if metadata is not None:
        return _read_sources(root, Path(metadata))
    names = [path.relative_to(root) for path in walk_videos(root)]
    if not names:
        raise ValueError(
            f"{root} holds no video. Expected CLASS/clip.mp4 (any of {', '.join(sorted(VIDEO_SUFFIXES))})."
        )
    tops = sorted({name.parts[0] for name in names if len(name.parts) > 1})
    split_folders = [top for top in tops if top.lower() in _SPLITS]
    if split_folders and len(split_folders) < len(tops):
        other = next(top for top in tops if top not in split_folders)
        raise ValueError(
            f"{root} holds {split_folders[0]!r}, which names a split, beside {other!r}. Lay the videos out "
            "as SPLIT/CLASS/clip.mp4 or as CLASS/clip.mp4, or pass a table (--metadata)."
        )
    sources = []
    for name in names:
        folders, split = list(name.parts[:-1]), ""
        if folders and split_folders:
            split = _SPLITS[folders.pop(0).lower()]
        sources.append(TrimmedVideo(root / name, folders[0] if folders else "", name.as_posix(), split))
    return sources


def _read_sources(root: Path, table: Path) -> list[TrimmedVideo]:
    sources: dict[Path, TrimmedVideo] = {}
    is_kinetics = has_column(table, "youtube_id")
    by_stem = {path.stem: path for path in walk_videos(root)} if is_kinetics else {}
    num_missing = 0
    for row in read_table(table, needed=("id",) if is_kinetics else ("file", "label")):
        name, split, group = row["file"], row["split"].lower(), row["group"]
        if is_kinetics:
            found = _find_kinetics(row, by_stem)
            if found is None:  # gone from YouTube before it was downloaded
                num_missing += 1
                continue
            name, group = found.relative_to(root).as_posix(), row["id"]
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{row.place}: {name} leaves the folder {root}.")
        if not path.is_file():
            raise FileNotFoundError(f"{row.place}: {path} does not exist.")
        if path in sources:
            raise ValueError(f"{row.place}: {name} is listed twice.")
        if split and split not in _SPLITS:
            raise ValueError(
                f"{row.place}: split {row['split']!r} is unknown; use one of {', '.join(_SPLITS)}."
            )
        sources[path] = TrimmedVideo(path, row["label"], group or name, _SPLITS.get(split, ""))
    if num_missing and not sources:
        raise ValueError(
            f"{root} holds none of the {num_missing} videos of {table}; they are looked for as "
            "ID_START_END.mp4, with six digits for either second, or ID.mp4, in any folder."
        )
    if num_missing:
        logger.warning("%s: %d of its videos are not in %s", table, num_missing, root)
    if not sources:
        raise ValueError(f"{table} has no row below its header.")
    return [sources[path] for path in sorted(sources)]


def _find_kinetics(row: TableRow, by_stem: Mapping[str, Path]) -> Path | None:
    """Return the file of a row of Kinetics' own lists, under any of the names that its downloaders write."""
    names = [row["id"]]
    start_s, end_s = row.read_seconds("start_s"), row.read_seconds("end_s")
    if start_s is not None and end_s is not None:
        span = round(start_s), round(end_s)
        names = ["{}_{:06d}_{:06d}".format(row["id"], *span), "{}_{}_{}".format(row["id"], *span), *names]
    return next((by_stem[name] for name in names if name in by_stem), None)


def split_sources(
    sources: Sequence[TrimmedVideo], eval_fraction: float = 0.1, seed: int = 0
) -> tuple[list[TrimmedVideo], list[TrimmedVideo]]:
    """Divide sources into training and held-out ones, never through a group.

    Where their `split` is given, it decides; else `eval_fraction` of the groups of every class are held out.
    """
    if not 0 < eval_fraction < 1:
        raise ValueError(f"eval_fraction={eval_fraction} must be between 0 and 1, both exclusive.")
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
        raise ValueError(
            f"the split leaves {len(train)} sources to train on and {len(test)} held out; both need some. "
            "A class needs two groups to be divided; a table can give split and group."
        )
    return train, test


def count_frames(
    sources: Sequence[TrimmedVideo], num_workers: int = 0, cache: str | Path | None = None
) -> tuple[list[TrimmedVideo], list[tuple[Path, str]]]:
    """Return the readable sources with their number of frames, and `(path, reason)` of every other.

    The JSON file `cache` keeps what was counted, by [`~TrimmedVideo.stamp`], also before an interruption.
    Without `num_workers`, frames are counted in this process.
    """
    cache = Path(cache) if cache is not None else None
    counts = _read_counts(cache)
    todo, num_frames, broken = [], dict[int, int](), dict[int, str]()
    for number, source in enumerate(sources):
        if isinstance(source.origin, PackedFrames | PreparedFile):
            num_frames[number] = source.num_frames  # counted when it was written
            continue
        try:
            known = counts.get(source.stamp)
        except OSError as error:
            broken[number] = str(error)
            continue
        if known is None:
            todo.append(number)
        else:
            num_frames[number] = known
    if todo:
        logger.info("counting the frames of %d videos", len(todo))
    with tqdm(total=len(todo), desc="counting frames", unit="video", disable=None) as progress:
        counted = _map_count([sources[number] for number in todo], num_workers)
        for position, (number, (stamp, result)) in enumerate(zip(todo, counted, strict=True), start=1):
            if isinstance(result, int):
                num_frames[number] = counts[stamp] = result
            else:
                broken[number] = result
            if cache is not None and (position % _COUNTS_BETWEEN_SAVES == 0 or position == len(todo)):
                atomic_write_text(cache, json.dumps({"format_version": 1, "counts": counts}))
            progress.update()
    for number in sorted(broken):
        logger.warning("left out: %s", broken[number])
    readable = [
        replace(source, num_frames=num_frames[i]) for i, source in enumerate(sources) if i in num_frames
    ]
    return readable, [(sources[number].path, broken[number]) for number in sorted(broken)]


def _map_count(sources: list[TrimmedVideo], num_workers: int) -> Iterable[tuple[str, int | str]]:
    if num_workers < 1 or len(sources) < 2:
        yield from map(_count_one, sources)
        return
    with ProcessPoolExecutor(num_workers) as pool:
        yield from pool.map(_count_one, sources, chunksize=8)


def _count_one(source: TrimmedVideo) -> tuple[str, int | str]:
    """Return the video's stamp, and its number of frames or why it has none."""
    try:
        with source.open() as video:
            return source.stamp, index_frames(video).num_frames
    except VideoDecodeError as error:
        return "", f"{source.path}: {error.reason}"
    except OSError as error:
        return "", str(error)


def _read_counts(cache: Path | None) -> dict[str, int]:
    if cache is None or not cache.is_file():
        return {}
    try:
        return dict(json.loads(cache.read_text(encoding="utf-8"))["counts"])
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is not a table of frame counts (%r); it is written anew", cache, error)
        return {}


def relative_names(sources: Sequence[TrimmedVideo]) -> list[str]:
    """Return the paths of videos relative to the folder they have in common, with forward slashes."""
    if not sources:
        return []
    try:
        common = os.path.commonpath({os.path.dirname(source.path) for source in sources})
    except ValueError:  # several drives, or absolute and relative paths
        return [source.path.as_posix() for source in sources]
    return [Path(os.path.relpath(source.path, common or ".")).as_posix() for source in sources]


def digest_sources(sources: Sequence[TrimmedVideo]) -> str:
    """Return what changes whenever the list of videos or one of them does, but not if their folder moves."""
    records = []
    for name, source in zip(relative_names(sources), sources, strict=True):
        contents = source.origin.stamp() if source.origin else source.path.stat().st_size
        records.append([name, source.label, source.num_frames, contents])
    return hashlib.sha256(json.dumps(records).encode()).hexdigest()[:32]
