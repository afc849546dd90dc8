"""Videos prepared for training: the table of a store, and how chosen frames of its videos are read."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bsp_hf.encoder.frame_index import FrameIndex
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.files import check_video_id

FORMAT_VERSION = 1
STORE_FILE, VIDEOS_FILE = "store.json", "videos.csv"
COLUMNS = ("name", "class", "split", "group", "frames", "fps", "width", "height", "pts_step", "sha256")
PLACES = ("file", "row")  # of the frames: an mp4 file, or a row of a shard
# Shards that a process keeps open; opening one takes less than decoding a picture.
_MOST_OPEN = 64


@dataclass(frozen=True)
class PreparedFile:
    """An mp4 file of a store. Its index follows from the way it was written, which was checked then."""

    path: Path
    digest: str
    num_frames: int
    fps: float
    width: int
    height: int
    pts_step: int
    keyframe_every: int

    def stamp(self) -> str:
        """Return the digest of the file as it was written."""
        return self.digest

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Return a context manager of the path, which the decoder opens."""
        yield self.path

    def index(self) -> FrameIndex:
        """Return the index that `index_frames` would find by reading all packets."""
        order = np.arange(self.num_frames, dtype=np.int64)
        keyframes = order[:: self.keyframe_every]
        return FrameIndex(
            num_frames=self.num_frames,
            times_s=order / self.fps,
            fps=self.fps,
            width=self.width,
            height=self.height,
            complete=True,
            reason=None,
            pts=order * self.pts_step,
            positions=order,
            keyframe_positions=keyframes,
            keyframe_stamps=keyframes * self.pts_step,
        )


@dataclass(frozen=True)
class PackedFrames:
    """The JPEG frames of a video in a row of an Arrow shard, of which single ones are read."""

    shard: Path
    row: int
    name: str
    digest: str
    fps: float

    def stamp(self) -> str:
        """Return the digest of the frames as they were written."""
        return self.digest

    @contextmanager
    def open(self) -> Iterator[bytes]:
        """Raise: there is no video file to decode."""
        raise VideoDecodeError(self.name, f"it is JPEG frames in {self.shard}; read frames of it")
        yield b""

    def read(self, frames: Sequence[int]) -> np.ndarray:
        """Return frames by their number, uint8 `(len(frames), height, width, 3)`, RGB."""
        try:
            cells = open_shard(self.shard).get_batch(self.row).column("frames")
            pictures = cells.flatten().field("bytes")
            buffers = (memoryview(pictures[frame].as_buffer()) for frame in frames)
            return np.stack([np.asarray(Image.open(io.BytesIO(buffer))) for buffer in buffers])
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, SyntaxError) as error:  # of Arrow and of Pillow
            raise VideoDecodeError(f"{self.shard}, row {self.row} ({self.name})", str(error)) from error


@lru_cache(_MOST_OPEN)
def open_shard(path: Path) -> Any:  # Any: a pyarrow.ipc.RecordBatchFileReader
    """Return a reader of a shard, whose record batches are one video each."""
    import pyarrow

    return pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))


@dataclass(frozen=True)
class StoredVideo:
    """A row of the table of a store."""

    name: str
    label: str
    split: str
    group: str
    num_frames: int
    origin: PreparedFile | PackedFrames


def is_prepared(folder: Path) -> bool:
    """Return whether a folder is a store of prepared videos, finished or not."""
    return (folder / STORE_FILE).is_file()


def read_prepared(folder: Path) -> list[StoredVideo]:
    """Read the table of a finished store, without looking at its videos."""
    try:
        record = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
        version, finished, keyframe_every = (
            record["format_version"],
            record["finished"],
            record["keyframe_every"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / STORE_FILE} is no record of prepared videos ({error!r}).") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format {version!r}, this version reads {FORMAT_VERSION}; prepare it again."
        )
    if not finished:
        raise ValueError(
            f"{folder} is not finished: run the same `bsp-hf prepare` again, which goes on where it stopped."
        )
    if not isinstance(keyframe_every, int) or isinstance(keyframe_every, bool) or keyframe_every < 1:
        raise ValueError(f"{folder / STORE_FILE}: keyframe_every is {keyframe_every!r}; prepare it again.")
    table = folder / VIDEOS_FILE
    videos, line = [], 1
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                line = reader.line_num
                videos.append(_read_row(folder, row, keyframe_every))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{table}, line {line}: not a row of prepared videos ({error!r}); prepare it again."
        ) from error
    return videos


def _read_row(folder: Path, row: dict[str, str], keyframe_every: int) -> StoredVideo:
    for name in ("name", "file"):
        check_video_id(row[name])
    place, num_frames, fps = folder / row["file"], int(row["frames"]), float(row["fps"])
    origin: PreparedFile | PackedFrames
    number, counts = 0, [num_frames]
    if row["row"]:
        number = int(row["row"])
        origin = PackedFrames(place, number, row["name"], row["sha256"], fps)
    else:
        width, height, pts_step = (int(row[name]) for name in ("width", "height", "pts_step"))
        counts += [width, height, pts_step]
        origin = PreparedFile(place, row["sha256"], num_frames, fps, width, height, pts_step, keyframe_every)
    if number < 0 or min(counts) < 1 or not 0 < fps < math.inf:
        raise ValueError("a number is out of range")
    return StoredVideo(row["name"], row["class"], row["split"], row["group"], num_frames, origin)
