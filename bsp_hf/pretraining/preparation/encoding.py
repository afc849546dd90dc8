"""One video, or the videos of one shard, written anew for training."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bsp_hf.encoder.frame_times import exact_rate
from bsp_hf.encoder.video import VideoReader, index_frames
from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError
from bsp_hf.files import atomic_file, hash_file

from ..frame_store import shrink_frame
from ..prepared_store import PreparedFile
from ..rendering.files import write_h264_video
from ..sources import TrimmedVideo
from .settings import KEYFRAME_EVERY, PreparationSettings


@dataclass(frozen=True)
class PreparedUnit:
    """What is written and recorded at once, and resumed as a whole: a file and the videos that it holds."""

    file: str  # relative to the store
    videos: tuple[TrimmedVideo, ...]
    names: tuple[str, ...]  # of the videos in the store


@dataclass
class UnitResult:
    """What became of a unit; values of JSON, for the journal."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)  # name, reason


def write_unit(unit: PreparedUnit, folder: Path, scratch: Path, settings: PreparationSettings) -> UnitResult:
    """Write the file of a unit; a video that cannot be read, or in part only, is among the failures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialVideoWarning)  # it is in the table of failures
        if settings.form == "jpeg":
            return _write_shard(unit, folder / unit.file, scratch, settings)
        result = UnitResult()
        (name,), (video,) = unit.names, unit.videos
        try:
            row, loss = _write_video(video, folder / unit.file, scratch, settings)
        except (VideoDecodeError, OSError) as error:
            result.failures.append((name, _explain(error)))
            return result
        result.rows.append({"name": name, "file": unit.file, "row": "", **row})
        if loss:
            result.failures.append((name, loss))
        return result


def _explain(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


class _Frames:
    """The frames of a video at the size of the store; `loss` is what was missing, once all are read."""

    def __init__(self, video: VideoReader, settings: PreparationSettings) -> None:
        # H.264 in 4:2:0 has even sizes only.
        even = 1 if settings.form == "jpeg" else 2
        frames = (shrink_frame(frame.image, settings.short_side, even) for frame in video)
        first = next(frames)
        self._frames = chain([first], frames)
        self._video = video
        self.height, self.width = first.shape[:2]
        self.fps = video.metadata.fps

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._frames

    @property
    def loss(self) -> str:
        report = self._video.report
        return "" if report.complete else f"partial: {report.reason}; {report.num_frames} frames are kept"

    def facts(self, num_frames: int, pts_step: int, digest: str) -> dict[str, Any]:
        size = {"width": self.width, "height": self.height}
        return {"frames": num_frames, "fps": self.fps, **size, "pts_step": pts_step, "sha256": digest}


def _write_video(
    video: TrimmedVideo, path: Path, scratch: Path, settings: PreparationSettings
) -> tuple[dict[str, Any], str]:
    every = KEYFRAME_EVERY[settings.form]
    with video.open() as opened, VideoReader(opened, timeout_s=settings.timeout_s) as reader:
        frames = _Frames(reader, settings)
        # Frames are numbered, not timed, in training; some containers claim rates that no other takes.
        fps = exact_rate(min(max(frames.fps, 1.0), 240.0)).limit_denominator(1001)
        with atomic_file(path, scratch) as temporary:
            # All frames are references, so the index is known; without loop filter and arithmetic coding they
            # decode half as fast again. I and P frames are of one quality, for a step every 12 frames would
            # mark where two videos join.
            plain = f"mbtree=0:bframes=0:scenecut=0:keyint={every}:min-keyint={every}:ipratio=1.0"
            options = {"tune": "fastdecode", "x264-params": plain}
            num_frames = write_h264_video(temporary, frames, fps=fps, crf=settings.crf, options=options)
            found = index_frames(temporary)
            pts_step = int(found.pts[1]) if found.num_frames > 1 else 1
            facts = frames.facts(num_frames, pts_step, hash_file(temporary))
            expected = PreparedFile(
                path, "", num_frames, frames.fps, frames.width, frames.height, pts_step, every
            ).index()
            for part in (
                "num_frames",
                "width",
                "height",
                "pts",
                "positions",
                "keyframe_positions",
                "keyframe_stamps",
            ):
                if not np.array_equal(getattr(found, part), getattr(expected, part)):
                    raise RuntimeError(
                        f"{path}: {part} of the encoded file is {getattr(found, part)}, not "
                        f"{getattr(expected, part)}; this build of x264 cannot be used, pass --form jpeg."
                    )
        return facts, frames.loss


def _write_shard(unit: PreparedUnit, path: Path, scratch: Path, settings: PreparationSettings) -> UnitResult:
    import pyarrow
    from datasets import Features, List, Value
    from datasets import Image as ImageFeature

    strings = {name: Value("string") for name in ("name", "class", "split", "group")}
    schema = Features(strings | {"fps": Value("float64"), "frames": List(ImageFeature())}).arrow_schema
    result = UnitResult()
    with atomic_file(path, scratch) as temporary, pyarrow.ipc.new_file(str(temporary), schema) as writer:
        # One record batch a video, so that no more than one is in memory and each is found by its number.
        for name, video in zip(unit.names, unit.videos, strict=True):
            try:
                pictures, facts, loss = _encode_pictures(video, settings)
            except (VideoDecodeError, OSError) as error:
                result.failures.append((name, _explain(error)))
                continue
            values = {"name": name, "class": video.label, "split": video.split, "group": video.group}
            frames = [{"bytes": picture, "path": None} for picture in pictures]
            row = {**values, "fps": facts["fps"], "frames": frames}
            writer.write_batch(pyarrow.RecordBatch.from_pylist([row], schema=schema))
            result.rows.append({"name": name, "file": unit.file, "row": len(result.rows), **facts})
            if loss:
                result.failures.append((name, loss))
    return result


def _encode_pictures(
    video: TrimmedVideo, settings: PreparationSettings
) -> tuple[list[bytes], dict[str, Any], str]:
    digest = hashlib.sha256()
    pictures = []
    with video.open() as opened, VideoReader(opened, timeout_s=settings.timeout_s) as reader:
        frames = _Frames(reader, settings)
        for frame in frames:
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=settings.quality, subsampling="4:2:0")
            pictures.append(buffer.getvalue())
            digest.update(pictures[-1])
        return pictures, frames.facts(len(pictures), 0, digest.hexdigest()), frames.loss
