"""Videos to frames: exact, streamed, right in time, and plain about what is broken.

Frames come in display order as uint8 RGB with the second at which each is first shown; time 0 is the first
shown frame. Nothing is decoded ahead and nothing is kept, so memory does not grow with the length of the
video.

Pictures are what FFmpeg makes of them: the colour matrix and range of the stream are respected (BT.601
where it names none), deep pixels are brought to 8 bit without tone mapping, gray becomes three equal
channels, alpha is dropped. Display matrices are honoured, sample aspect ratios are not
(`VideoMetadata.pixel_aspect` tells them).
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

from .frame_index import FrameIndex, SeekingFailedError, check_indices, index_packets, read_by_seeking
from .video_file import VideoFile
from .video_reader import Frame, FrameStream
from .video_source import PartialVideoWarning, VideoDecodeError, VideoSource

logger = logging.getLogger(__name__)


class VideoReader(FrameStream):
    """A video being read; `open_video` makes it.

    Args:
        source: See `open_video`, like all that follows.
        fps (`float` or `Fraction`, *optional*): Rate to resample to.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive.
        num_threads (`int`, *optional*, defaults to 1): Threads of the decoder.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take.
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
        super().__init__(VideoFile(source, num_threads, timeout_s), fps=fps, start_s=start_s, end_s=end_s)


def open_video(
    source: VideoSource,
    *,
    fps: float | Fraction | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    num_threads: int = 1,
    timeout_s: float | None = 60.0,
) -> VideoReader:
    """Open a video and decode its first frame. Iterate for the frames; `metadata`, `report` have the facts.

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

    Returns:
        `VideoReader`: A context manager and iterator of `Frame`.

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
    >>> from bsp_hf.encoder.video import open_video
    >>> with open_video("video.mp4", fps=10) as video:  # doctest: +SKIP
    ...     for frame in video:
    ...         print(frame.time_s, frame.image.shape)
    ```
    """
    return VideoReader(
        source, fps=fps, start_s=start_s, end_s=end_s, num_threads=num_threads, timeout_s=timeout_s
    )


def iter_frames(
    source: VideoSource,
    *,
    fps: float | Fraction | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    num_threads: int = 1,
    timeout_s: float | None = 60.0,
) -> Iterator[Frame]:
    """Iterate over the frames of a video and close it afterwards, also when the iteration is abandoned.

    Args:
        source: See `open_video`, like all that follows.
        fps (`float` or `Fraction`, *optional*): Rate to resample to.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive.
        num_threads (`int`, *optional*, defaults to 1): Threads of the decoder.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take.

    Yields:
        `Frame`: The frames in display order.

    Raises:
        VideoDecodeError: See `open_video`; raised by the first `next`.

    Warns:
        PartialVideoWarning: See `open_video`.
    """
    with open_video(
        source, fps=fps, start_s=start_s, end_s=end_s, num_threads=num_threads, timeout_s=timeout_s
    ) as video:
        yield from video


def index_frames(source: VideoSource, *, num_threads: int = 1, timeout_s: float | None = 60.0) -> FrameIndex:
    """Count the frames of a video and note their times and keyframes, for `read_frames`.

    Where the container has an index and each packet is one frame (mp4, Matroska, AVI; H.264, HEVC, VP9 and
    the like), only the packets are read, in a small part of the time that decoding takes. If anything looks
    odd (missing or doubled time stamps, edit lists, interlacing, damage), and for all other files, every
    frame is decoded.

    Args:
        source: See `open_video`; an open file must be seekable.
        num_threads (`int`, *optional*, defaults to 1): Threads of the decoder.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take.

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
    with open_video(source, num_threads=num_threads, timeout_s=timeout_s) as video:
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
    exactly are decoded from the start; the frames are the same either way.

    Args:
        source: See `open_video`; an open file must be seekable.
        indices (`Sequence[int]`): Numbers of frames in display order; any order, repeats allowed.
        index (`FrameIndex`, *optional*): What `index_frames` returned for this file; made anew if not given.
        num_threads (`int`, *optional*, defaults to 1): Threads of the decoder.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take.

    Returns:
        `np.ndarray`: uint8 `(len(indices), H, W, 3)`, RGB, in the order of `indices`.

    Raises:
        IndexError: If a number is negative or not less than the number of frames.
        VideoDecodeError: If a frame cannot be decoded.

    Warns:
        PartialVideoWarning: If there is damage on the way to these frames.

    Example:
    ```python
    >>> from bsp_hf.encoder.video import index_frames, read_frames
    >>> index = index_frames("video.mp4")  # doctest: +SKIP
    >>> clip = read_frames("video.mp4", range(100, 116), index)  # doctest: +SKIP
    ```
    """
    if index is None:
        index = index_frames(source, num_threads=num_threads, timeout_s=timeout_s)
    numbers = check_indices(indices, index.num_frames)
    images: dict[int, np.ndarray] | None = None
    if index.is_seekable and numbers:
        with VideoFile(source, num_threads, timeout_s) as opened:
            try:
                images = read_by_seeking(opened, index, numbers)
            except SeekingFailedError as failure:
                logger.debug("%s is decoded from the start: %s", opened.name, failure)
    if images is None and numbers:
        with open_video(source, num_threads=num_threads, timeout_s=timeout_s) as video:
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
