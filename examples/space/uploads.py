"""What visitors bring: the limits on it, a copy that every browser plays, and the folder that stays small."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

import bsp_hf
from bsp_hf import VideoReader

logger = logging.getLogger(__name__)

# The work of a second of video: 1080p at 30 frames a second. Below half of its pixels, what a frame costs is
# the model's part, which does not shrink with it.
_FRAME_PIXELS, _FPS = 1920 * 1080, 30
_FEWEST_PIXELS = _FRAME_PIXELS / 2
# What Chromium, Firefox and Safari all play.
_PLAYED = {".mp4": {"h264", "av1"}, ".m4v": {"h264"}, ".webm": {"vp8", "vp9", "av1"}}
_PLAYED_PIXELS = {"yuv420p", "yuvj420p"}
_PLAYER_SHORT_SIDE = 480
_TIME_BASE = Fraction(1, 90_000)


class UnsuitableVideoError(ValueError):
    """A video that the page does not take, with a message for the person who brought it."""


@dataclass(frozen=True)
class Limits:
    """How large a video may be, and how long: `longest_s` also bounds its work, as seconds of 1080p at 30."""

    largest_mb: float
    longest_s: float

    def __str__(self) -> str:
        return f"up to {self.largest_mb:g} MB and {format_length(self.longest_s)} (minutes:seconds)"

    def check_length(self, name: str, length_s: float) -> None:
        """Refuse a video that is too long."""
        if length_s > self.longest_s:
            raise UnsuitableVideoError(
                f"{name} is longer than this page takes, which is {format_length(self.longest_s)} "
                "(minutes:seconds). Cut a part out, for instance with: "
                f"ffmpeg -ss 0 -t {self.longest_s:g} -i in.mp4 -c copy out.mp4"
            )

    def check_work(self, name: str, num_frames: float, num_pixels: int) -> None:
        """Refuse frames that are too many for their size."""
        work_s = num_frames * max(num_pixels, _FEWEST_PIXELS) / _FRAME_PIXELS / _FPS
        if work_s > self.longest_s:
            raise UnsuitableVideoError(
                f"{name} has so many or so large frames that it is as much work as {format_length(work_s)} "
                "(minutes:seconds) of 1080p at 30 frames a second; this page takes up to "
                f"{format_length(self.longest_s)} of that. "
                'Make it smaller, for instance with: ffmpeg -i in.mp4 -vf "scale=-2:480,fps=25" out.mp4'
            )


def format_length(length_s: float) -> str:
    """Return minutes and seconds."""
    return f"{round(length_s) // 60}:{round(length_s) % 60:02d}"


def check_video(path: Path, limits: Limits) -> bool:
    """Refuse what is no video or above the limits; return whether every browser plays it."""
    size_mb = path.stat().st_size / 1e6 if path.is_file() else 0
    if size_mb > limits.largest_mb:
        raise UnsuitableVideoError(
            f"{path.name} has {size_mb:.0f} MB; this page takes up to {limits.largest_mb:g} MB. "
            "Make it smaller, for instance with: ffmpeg -i in.mp4 -vf scale=-2:240 out.mp4"
        )
    try:
        with VideoReader(path) as video:
            about = video.metadata
    except (bsp_hf.VideoDecodeError, OSError) as error:
        raise refusal(error, path) from error
    length_s = about.duration_declared_s or 0.0
    limits.check_length(path.name, length_s)
    num_frames = max(about.num_frames_declared or 0, length_s * about.fps, 1)
    limits.check_work(path.name, num_frames, about.width * about.height)
    codecs = _PLAYED.get(path.suffix.lower(), ())
    return about.codec in codecs and about.pixel_format in _PLAYED_PIXELS


def refusal(error: Exception, path: Path) -> UnsuitableVideoError:
    """Return an error for the visitor, without the page's own paths."""
    return UnsuitableVideoError(str(error).replace(str(path), path.name) or f"{path.name} cannot be read")


def convert_for_player(path: Path, target: Path, limits: Limits) -> Iterator[float]:
    """Write a small H.264 copy whose frames are shown at the same seconds, yielding the second reached."""
    with VideoReader(path) as video, av.open(str(target), "w", format="mp4") as written:
        pixels = video.metadata.width * video.metadata.height
        stream = None
        for frame in video:
            limits.check_length(path.name, frame.time_s)
            limits.check_work(path.name, frame.index, pixels)
            if stream is None:
                height, width = frame.image.shape[:2]
                scale = min(1.0, _PLAYER_SHORT_SIDE / min(width, height))
                size = tuple(max(2, round(side * scale / 2) * 2) for side in (width, height))
                options = {"crf": "26", "preset": "ultrafast", "threads": "1"}
                rate = Fraction(video.metadata.fps).limit_denominator(1001)
                stream = written.add_stream("libx264", rate=rate, options=options)
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = _TIME_BASE
            image = av.VideoFrame.from_image(Image.fromarray(frame.image).resize(size))
            image.pts, image.time_base = round(frame.time_s / _TIME_BASE), _TIME_BASE
            written.mux(stream.encode(image))
            yield frame.time_s
        if stream is not None:
            written.mux(stream.encode())


def sweep(folder: Path, keep_s: float, most_mb: float) -> None:
    """Delete what came into a folder more than `keep_s` ago, and the oldest of more than `most_mb`.

    Whoever made them: files whose upload broke off, and files that were refused, are never heard of again.
    """
    now, files = time.time(), []
    for parent, folders, names in os.walk(folder, topdown=False):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            path = Path(parent, name)
            try:
                about = path.lstat()
            except OSError:
                continue  # gone meanwhile
            # Of the inode: copying a file may keep the time at which it was modified.
            files.append((about.st_ctime, about.st_size, path))
        for name in folders:
            path = Path(parent, name)
            try:
                if now - path.lstat().st_ctime > keep_s:
                    path.rmdir()
            except OSError:
                continue  # not empty, or gone meanwhile
    total_mb = sum(size for _, size, _ in files) / 1e6
    for changed_s, size, path in sorted(files):
        if now - changed_s <= keep_s and total_mb <= most_mb:
            break
        try:
            path.unlink()
        except OSError:
            logger.warning("%s could not be deleted", path)
        else:
            total_mb -= size / 1e6


def keep_sweeping(folder: Path, every_s: float, keep_s: float, most_mb: float) -> None:
    """Sweep a folder from time to time in a thread of its own, as long as the process runs."""

    def run() -> None:
        while True:
            time.sleep(every_s)
            try:
                sweep(folder, keep_s, most_mb)
            except Exception:  # whatever one sweep meets, the next one is due
                logger.exception("%s was not swept", folder)

    threading.Thread(target=run, name="sweep", daemon=True).start()
