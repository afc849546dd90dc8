"""Videos to frames: exact, streamed, right in time, and plain about what is broken.

Frames come in display order as uint8 RGB with the second at which each is first shown; time 0 is the first
shown frame. Nothing is decoded ahead and nothing is kept, so memory does not grow with the length of the
video.

Pictures are what FFmpeg makes of them: the colour matrix and range of the stream are respected (BT.601
where it names none), deep pixels are brought to 8 bit without tone mapping, gray becomes three equal
channels, alpha is dropped. Display matrices are honoured, sample aspect ratios are not
(`VideoMetadata.pixel_aspect` has them).
"""

import logging
import operator
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from .frame_index import FrameIndex, index_packets, read_by_seeking
from .frame_times import FrameClock, check_range, choose_frames, exact_rate
from .video_file import SeekingFailedError, VideoFile
from .video_records import Frame, VideoMetadata, VideoReport
from .video_source import PartialVideoWarning, VideoDecodeError, VideoSource

logger = logging.getLogger(__name__)

# The exact second of a picture, its number in display order, and the picture as PyAV gives it.
_Shown = tuple[Fraction, tuple[int, Any]]


class VideoReader:
    """The frames of a video: forward, once. Iterate over it inside a `with` block.

    Opening decodes the first frame; `metadata` and `report` say what is known. Not to be shared between
    threads without a lock.

    Args:
        source: A path, the bytes of a file, or an open binary file, which is read from its beginning and
            left open. Addresses are not fetched.
        fps (`float` or `Fraction`, *optional*): Resample by time to this rate: output `k`, at `start_s + k
            / fps`, is the frame whose time is nearest to it, of two equally near the earlier
            (`resample_nearest`). `None` gives every frame once, at its own time.
        start_s (`float`, *optional*, defaults to 0.0): Frames shown before this second are decoded but not
            given out.
        end_s (`float`, *optional*): Reading stops at this second, exclusive. `None` reads to the end.
        num_threads (`int`, *optional*, defaults to 1): Threads of the decoder, which share one picture
            between them. Frames are never decoded in parallel: that can deadlock, and it takes the cores
            from the model.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take before the file
            is given up, looked at between reads and between packets. `None` waits for ever.

    Raises:
        VideoDecodeError: If not one frame can be decoded: no video, an empty file, one cut before its
            index. It names the file and the reason.
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        TypeError: If the source is none of the above.
        ValueError: If the rate or the range is impossible.

    Warns:
        PartialVideoWarning: At the end, if frames are missing or damaged. All that decode are given out.

    Example:
    ```python
    >>> from bsp_hf import VideoReader
    >>> with VideoReader("video.mp4", fps=10) as video:  # doctest: +SKIP
    ...     for frame in video:
    ...         print(frame.time_s, frame.image.shape)
    ```
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        fps: float | Fraction | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        num_threads: int = 1,
        timeout_s: float | None = 60.0,
    ) -> None:
        self._opened = VideoFile(source, num_threads, timeout_s)
        self.name = self._opened.name
        """`str`: Name of the file, for messages."""
        self._num_frames = 0
        self._num_corrupt = 0
        self._last_s = Fraction(0)
        self._is_over = False
        self._has_warned = False
        try:
            check_range(start_s, end_s)
            rate = None if fps is None else exact_rate(fps)
            self._clock = FrameClock(self._opened.time_base, 1 / self._opened.fps)
            shown = self._decode()
            first = next(shown, None)
            if first is None:
                raise VideoDecodeError(self.name, self._opened.ledger.explain_no_frames())
            self.metadata: VideoMetadata = self._opened.describe(first[1][1])
            """`VideoMetadata`: What the file says about itself."""
            self._shown: Iterator[_Shown] = chain([first], shown)
            self._frames: Iterator[Frame] = self._convert_chosen(rate, start_s, end_s)
        except BaseException:
            self._opened.close()
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

    def __enter__(self) -> "VideoReader":
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
            complete=False if losses else self._opened.ledger.complete,
            reason="; ".join(losses) or None,
            num_corrupt_frames=self._num_corrupt,
            num_repaired_times=self._clock.num_repaired,
        )

    @property
    def damage(self) -> list[str]:
        """`list[str]`: What is known to be missing or damaged so far, in words."""
        losses = self._opened.ledger.losses
        if self._num_corrupt:
            losses.append(f"{self._num_corrupt} frames are damaged")
        return losses

    def close(self) -> None:
        """Close the file. Frames already given out stay valid."""
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
        while self._opened.ledger.awaits_join and next(self._shown, None):
            pass
        self._opened.excuse_joins()
        return images

    def _decode(self) -> Iterator[_Shown]:
        for picture, stamp in self._opened.pictures():
            self._last_s = self._clock.read(stamp, is_repaired=stamp != picture.pts)
            self._num_corrupt += bool(picture.is_corrupt)
            self._num_frames += 1
            yield self._last_s, (self._num_frames - 1, picture)
        self._opened.look_for_missing(self._num_frames)

    def _convert_chosen(self, rate: Fraction | None, start_s: float, end_s: float | None) -> Iterator[Frame]:
        size = self.metadata.width, self.metadata.height
        last_index, image = -1, np.empty(0)
        chosen = choose_frames(self._shown, rate, self._clock.frame_duration_s, start_s, end_s)
        for time_s, (index, picture) in chosen:
            if index != last_index:
                last_index, image = index, self._opened.convert(picture, size)
            yield Frame(image, float(time_s), index)
        self._is_over = True


def open_video(source: VideoSource) -> VideoReader:
    """Open a video to read every frame of it, in order and as it is shown.

    Args:
        source: As for [`VideoReader`], which has the options.

    Returns:
        `VideoReader`: To be used in a `with` block.
    """
    return VideoReader(source)


def index_frames(source: VideoSource, *, num_threads: int = 1, timeout_s: float | None = 60.0) -> FrameIndex:
    """Count the frames of a video and note their times and keyframes, for [`read_frames`].

    Where the container has an index and each packet is one frame (mp4, Matroska, AVI; H.264, HEVC, VP9 and
    the like), only the packets are read, in a small part of the time that decoding takes. If anything looks
    odd (missing or doubled time stamps, edit lists, interlacing, damage), and for all other files, every
    frame is decoded. The parameters are those of [`VideoReader`]; an open file must be seekable.

    Returns:
        `FrameIndex`: Picklable; belongs to this file as it is now.

    Raises:
        VideoDecodeError: If not one frame can be decoded.

    Warns:
        PartialVideoWarning: If frames are missing or damaged.
    """
    with VideoFile(source, num_threads, timeout_s) as opened:
        index = index_packets(opened)
    if isinstance(index, FrameIndex):
        return index
    logger.debug("%s is indexed by decoding it: %s", opened.name, index)
    with VideoReader(source, num_threads=num_threads, timeout_s=timeout_s) as video:
        times_s = video.skim()
        report, metadata = video.report, video.metadata
    if not report.complete:
        warnings.warn(f"{opened.name}: {report.reason}.", PartialVideoWarning, stacklevel=2)
    return FrameIndex.of_decoded(times_s, metadata, report)


def read_frames(
    source: VideoSource,
    indices: Sequence[int],
    index: FrameIndex | None = None,
    *,
    num_threads: int = 1,
    timeout_s: float | None = 60.0,
) -> np.ndarray:
    """Read frames by their number in the full decode, decoding as little as possible.

    Decoding starts at the keyframe before each group of frames. Files that cannot be trusted to seek
    exactly are decoded from the start; the frames are the same either way. `indices` are numbers in display
    order, in any order and with repeats; without an `index` of the file, one is made. The other parameters
    are those of [`VideoReader`]; an open file must be seekable.

    Returns:
        `np.ndarray`: uint8 `(len(indices), H, W, 3)`, RGB, in the order of `indices`.

    Raises:
        IndexError: If a number is negative or not less than the number of frames.
        VideoDecodeError: If a frame cannot be decoded.

    Warns:
        PartialVideoWarning: If there is damage on the way to these frames.
    """
    if index is None:
        index = index_frames(source, num_threads=num_threads, timeout_s=timeout_s)
    numbers = [operator.index(i) for i in indices]
    for number in numbers:
        if not 0 <= number < index.num_frames:
            count = f"the video has {index.num_frames} frames, 0 to {index.num_frames - 1}"
            raise IndexError(f"Frame {number} was asked for, but {count}.")
    images: dict[int, np.ndarray] | None = None
    if index.is_seekable and numbers:
        with VideoFile(source, num_threads, timeout_s) as opened:
            try:
                images = read_by_seeking(opened, index, numbers)
            except SeekingFailedError as failure:
                logger.debug("%s is decoded from the start: %s", opened.name, failure)
    if images is None and numbers:
        with VideoReader(source, num_threads=num_threads, timeout_s=timeout_s) as video:
            images = video.pick(numbers)
            if video.damage:
                warnings.warn(f"{video.name}: {'; '.join(video.damage)}.", PartialVideoWarning, stacklevel=2)
            missing = [i for i in numbers if i not in images]
            if missing:
                reason = f"frame {missing[0]} of {index.num_frames} does not decode"
                raise VideoDecodeError(video.name, "; ".join([reason, *video.damage]))
    if not images:
        return np.empty((0, index.height, index.width, 3), np.uint8)
    return np.stack([images[i] for i in numbers])


def decoder_version() -> str:
    """Return what decodes, for the record of a feature track, like `"PyAV 18.1.0, libavcodec 62.28.102"`."""
    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def missing_codecs() -> tuple[str, ...]:
    """Return the usual codecs that this build of the decoder cannot read; none with the wheels of PyPI."""
    return tuple(name for name in ("h264", "hevc", "vp9", "av1") if name not in av.codecs_available)
