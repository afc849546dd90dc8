"""Frames of source videos on demand: decoded where they lie, or kept decoded in memory-mapped files."""

import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bsp_hf.encoder.frame_index import FrameIndex
from bsp_hf.encoder.video import VideoReader, index_frames, read_frames
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.files import atomic_file

from .prepared_store import PackedFrames, PreparedFile
from .sources import TrimmedVideo

# An index is small, but making one means reading the whole file's packets.
_MOST_INDICES = 4096


class FrameStore:
    """Reads chosen frames of a source.

    With a folder, every video is decoded once, at a reduced size, and read from a memory-mapped file after
    that: some fifty times faster, for about 20 MB per 10 s of video at a short side of 128 pixels. Several
    processes may share the folder. Without a folder every read decodes. `short_side` is that of what is kept,
    in pixels; smaller videos keep their size.
    """

    def __init__(self, folder: str | Path | None = None, short_side: int = 128):
        self.folder = Path(folder) if folder is not None else None
        self.short_side = short_side
        self._indices: dict[str, FrameIndex] = {}

    def read(self, source: TrimmedVideo, frames: np.ndarray) -> np.ndarray:
        """Return frames of a video, numbered as displayed: uint8 `(num_frames, height, width, 3)`, a copy."""
        if isinstance(source.origin, PackedFrames):
            _check_frames(source, frames, source.num_frames)
            return source.origin.read(frames.tolist())
        if self.folder is None:
            index = self.index(source)
            _check_frames(source, frames, index.num_frames)
            with source.open() as video:
                return read_frames(video, frames.tolist(), index)
        key = hashlib.sha256(f"{source.stamp}|{self.short_side}".encode()).hexdigest()[:16]
        path = self.folder / f"{source.path.stem}-{key}.npy"
        if not path.is_file():
            self._decode_all(source, path)
        kept = np.asarray(np.load(path, mmap_mode="r"))
        _check_frames(source, frames, len(kept))
        return kept[frames]

    def index(self, source: TrimmedVideo) -> FrameIndex:
        """Return the times and keyframes of a video, made once."""
        if isinstance(source.origin, PreparedFile):
            return source.origin.index()
        stamp = source.stamp
        if stamp not in self._indices:
            if len(self._indices) >= _MOST_INDICES:
                del self._indices[next(iter(self._indices))]
            with source.open() as video:
                self._indices[stamp] = index_frames(video)
        return self._indices[stamp]

    def fps(self, source: TrimmedVideo) -> float:
        """Return the average frames per second of a video."""
        if isinstance(source.origin, PackedFrames):
            return source.origin.fps
        return self.index(source).fps

    def _decode_all(self, source: TrimmedVideo, path: Path) -> None:
        num_frames = self.index(source).num_frames
        with source.open() as opened, VideoReader(opened) as video:
            images = (shrink_frame(frame.image, self.short_side) for frame in islice(video, num_frames))
            first = next(images)
            with atomic_file(path) as temporary:
                # One frame after the other, so that no more of the video is ever in memory.
                kept = np.lib.format.open_memmap(temporary, "w+", np.uint8, (num_frames, *first.shape))
                kept[0], number = first, 0
                for number, image in enumerate(images, start=1):
                    kept[number] = image
                kept.flush()
                if number + 1 < num_frames:
                    reason = f"frame {number + 1} of {num_frames} does not decode"
                    raise VideoDecodeError(str(source.path), reason)


def shrink_frame(image: np.ndarray, short_side: int, multiple_of: int = 1) -> np.ndarray:
    """Return a frame whose shorter side has so many pixels at most, and both sides a multiple of a number."""
    scale = min(1.0, short_side / min(image.shape[:2]))
    size = tuple(max(1, round(side * scale / multiple_of)) * multiple_of for side in image.shape[:2])
    if size == image.shape[:2]:
        return image
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return pixels[0].permute(1, 2, 0).numpy()


def _check_frames(source: TrimmedVideo, frames: np.ndarray, num_frames: int) -> None:
    outside = [int(frame) for frame in frames if not 0 <= frame < num_frames]
    if outside:
        raise IndexError(f"{source.path} has {num_frames} frames, there is no frame {outside[0]}.")
