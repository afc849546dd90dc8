"""Frames of an opened video as they are wanted: by range, by rate, by number; and what is known of them."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, Protocol, TypeVar

import numpy as np

from .frame_times import FrameClock, exact_rate, exact_seconds, resample_nearest
from .video_source import PartialVideoWarning, VideoDecodeError

# The exact second of a picture, its number in display order, and the picture as PyAV gives it.
_Shown = tuple[Fraction, tuple[int, Any]]
_Self = TypeVar("_Self", bound="FrameStream")


@dataclass(frozen=True)
class VideoMetadata:
    """What the header and the first picture say about a video.

    Args:
        width (`int`): Width of the picture as shown, in pixels; the size of every frame.
        height (`int`): Height of the picture as shown.
        fps (`float`): Average frames per second; nominal where the rate varies.
        codec (`str`): Codec, as FFmpeg names it.
        container (`str`): Container, as FFmpeg names it.
        pixel_format (`str`): Pixel format of the first coded picture.
        rotation (`int`): Degrees counter-clockwise by which the coded picture is turned to be shown: 0, 90,
            180 or 270.
        mirrored (`bool`): Whether the coded picture is mirrored left to right before it is turned.
        pixel_aspect (`float`): Width of a pixel over its height; not applied to the frames.
        num_frames_declared (`int` or `None`): Frames that the container claims; a claim, never used as an
            index.
        duration_declared_s (`float` or `None`): Seconds that the container claims.
    """

    width: int
    height: int
    fps: float
    codec: str
    container: str
    pixel_format: str
    rotation: int
    mirrored: bool
    pixel_aspect: float
    num_frames_declared: int | None
    duration_declared_s: float | None

    @property
    def frame_duration_s(self) -> float:
        """Nominal seconds for which one frame is shown."""
        return 1 / self.fps


@dataclass(frozen=True)
class VideoReport:
    """What came of reading a video.

    Args:
        num_frames (`int`): Frames decoded so far, before any resampling.
        duration_s (`float`): Seconds from the first of them to the end of the last.
        complete (`bool`): Whether all that was asked for was read and nothing is known to be missing or
            damaged. Transport streams, GIFs and raw streams state no length: where they were cut between
            two frames, nothing can tell.
        reason (`str` or `None`): Why it is not complete.
        num_corrupt_frames (`int`): Frames given out although the decoder had to conceal damage in them.
        num_repaired_times (`int`): Frames that have no time stamp, or whose time is not what it says.
    """

    num_frames: int
    duration_s: float
    complete: bool
    reason: str | None
    num_corrupt_frames: int
    num_repaired_times: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One shown picture.

    Args:
        image (`np.ndarray`): uint8 `(H, W, 3)`, RGB, C-contiguous. It belongs to the caller; a frame that
            resampling repeats shares its memory with its repeats.
        time_s (`float`): Second at which it is first shown; when resampled, the time of the output.
        index (`int`): Its number in the video in display order, whatever was skipped or resampled.
    """

    image: np.ndarray
    time_s: float
    index: int


class OpenedVideo(Protocol):
    """What reading needs of an opened file; `video.py` has the real one. Pictures are frames of PyAV."""

    name: str
    time_base: Fraction
    fps: Fraction
    waiting_since_s: float

    @property
    def losses(self) -> list[str]:
        """What is known to be missing or damaged so far."""

    def pictures(self) -> Iterator[Any]:
        """Yield all pictures in display order."""

    def describe(self, picture: Any) -> VideoMetadata:
        """Gather what is known, given the first picture."""

    def convert(self, picture: Any, size: tuple[int, int]) -> np.ndarray:
        """Bring a picture to uint8 RGB of `(width, height)`."""

    def look_for_missing(self, num_frames: int) -> None:
        """Compare what came with what the container has promised."""

    def explain_no_frames(self) -> str:
        """Say why there is nothing to show."""

    def close(self) -> None:
        """Let go of the file."""


class FrameStream:
    """The frames of an opened video: forward, once. Iterate over it inside a `with` block.

    Not to be shared between threads without a lock.

    Args:
        opened (`OpenedVideo`): The file; it is closed with the stream.
        fps (`float` or `Fraction`, *optional*): Rate to resample to.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive.

    Raises:
        VideoDecodeError: If not one frame can be decoded.
        ValueError: If the rate or the range is impossible.
    """

    def __init__(
        self,
        opened: OpenedVideo,
        *,
        fps: float | Fraction | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> None:
        self.name = opened.name
        """`str`: Name of the file, for messages."""
        self._opened = opened
        self._num_frames = 0
        self._num_corrupt = 0
        self._last_s = Fraction(0)
        self._is_over = False
        self._has_warned = False
        try:
            if not start_s >= 0 or (end_s is not None and not end_s > start_s):
                raise ValueError(
                    f"start_s must not be negative and end_s must be later, got {start_s} and {end_s}."
                )
            self._clock = FrameClock(opened.time_base, 1 / opened.fps)
            shown = self._decode()
            first = next(shown, None)
            if first is None:
                raise VideoDecodeError(self.name, opened.explain_no_frames())
            self.metadata: VideoMetadata = opened.describe(first[1][1])
            """`VideoMetadata`: What the file says about itself."""
            self._shown: Iterator[_Shown] = chain([first], shown)
            self._frames: Iterator[Frame] = self._deliver(
                None if fps is None else exact_rate(fps), start_s, end_s
            )
        except BaseException:
            opened.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = next(self._frames, None)
        if frame is not None:
            return frame
        report = self.report
        if self._is_over and not report.complete and not self._has_warned:
            self._has_warned = True
            message = f"{self.name}: {report.reason}. {report.num_frames} frames were decoded."
            warnings.warn(message, PartialVideoWarning, stacklevel=2)
        raise StopIteration

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def waiting_since_s(self) -> float:
        """`float`: When the last frame came, by `time.monotonic`; another thread may look at it."""
        return self._opened.waiting_since_s

    @property
    def report(self) -> VideoReport:
        """`VideoReport`: What came of reading so far; final when the iteration has ended."""
        losses = self.damage
        if not self._is_over:
            losses.append(f"reading was stopped after {self._num_frames} frames")
        return VideoReport(
            num_frames=self._num_frames,
            duration_s=float(self._last_s + self._clock.frame_duration_s),
            complete=not losses,
            reason="; ".join(losses) or None,
            num_corrupt_frames=self._num_corrupt,
            num_repaired_times=self._clock.num_repaired,
        )

    @property
    def damage(self) -> list[str]:
        """`list[str]`: What is known to be missing or damaged so far, in words."""
        losses = self._opened.losses
        if self._num_corrupt:
            losses.append(f"{self._num_corrupt} frames are damaged")
        return losses

    def close(self) -> None:
        """Let go of the file. Frames already given out stay valid."""
        self._shown, self._frames = iter(()), iter(())
        self._opened.close()

    def skim(self) -> np.ndarray:
        """Read all there is without converting a picture, whatever rate and range were asked for.

        Returns:
            `np.ndarray`: float64 `(num_frames,)`, the second at which each frame is shown.
        """
        times_s = np.array([float(time_s) for time_s, _ in self._shown])
        self._is_over = True
        return times_s

    def pick(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        """Read as far as needed and convert some frames only, whatever rate and range were asked for.

        Args:
            indices (`Sequence[int]`): Numbers of frames in display order.

        Returns:
            `dict`: The images of those that there are.
        """
        wanted = set(indices)
        size = self.metadata.width, self.metadata.height
        images: dict[int, np.ndarray] = {}
        for _, (index, picture) in self._shown:
            if index in wanted:
                images[index] = self._opened.convert(picture, size)
                if len(images) == len(wanted):
                    break
        return images

    def _decode(self) -> Iterator[_Shown]:
        for picture in self._opened.pictures():
            self._last_s = self._clock.read(picture.pts, picture.dts)
            self._num_corrupt += bool(picture.is_corrupt)
            self._num_frames += 1
            yield self._last_s, (self._num_frames - 1, picture)
        self._opened.look_for_missing(self._num_frames)

    def _deliver(self, rate: Fraction | None, start_s: float, end_s: float | None) -> Iterator[Frame]:
        """Choose by range and rate, then convert what was chosen and nothing else."""
        if rate is None:
            chosen = _cut(self._shown, start_s, end_s)
        else:
            end = None if end_s is None else exact_seconds(end_s)
            duration_s = self._clock.frame_duration_s
            chosen = resample_nearest(self._shown, rate, duration_s, exact_seconds(start_s), end)
        size = self.metadata.width, self.metadata.height
        last_index, image = -1, np.empty(0)
        for time_s, (index, picture) in chosen:
            if index != last_index:
                last_index, image = index, self._opened.convert(picture, size)
            yield Frame(image, float(time_s), index)
        self._is_over = True


def _cut(shown: Iterator[_Shown], start_s: float, end_s: float | None) -> Iterator[_Shown]:
    for time_s, picture in shown:
        if end_s is not None and float(time_s) >= end_s:
            return
        if float(time_s) >= start_s:
            yield time_s, picture


def read_orientation(picture: Any) -> tuple[int, bool]:  # Any: a PyAV frame
    """Read how a picture is to be shown from its display matrix.

    Choice: angles other than multiples of 90 are rounded to the next.

    Args:
        picture: A frame of PyAV.

    Returns:
        `tuple`: Degrees counter-clockwise by which it is turned (0, 90, 180 or 270), and whether it is
            mirrored left to right before.
    """
    try:
        matrix = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know every kind of side data and then refuses all
        return round(picture.rotation / 90) * 90 % 360, False
    if matrix is None:
        return 0, False
    # (x, y) of the coded picture is shown at (a x + c y, b x + d y), y pointing down.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (180 if a + d < 0 else 0), bool(mirrored)
    return (90 if c > b else 270), bool(mirrored)
