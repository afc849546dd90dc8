"""What is known of a video: its frames and when they are shown, its header, what came of reading it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Completeness = bool | Literal["unknown"]
"""Whether all of a video was there; `"unknown"` where its format states neither its length nor its end."""


def join_completeness(parts: Iterable[Completeness]) -> Completeness:
    """Return the completeness of what consists of several parts."""
    found = set(parts)
    return False if False in found else "unknown" if "unknown" in found else True


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


@dataclass(frozen=True)
class VideoReport:
    """What came of reading a video.

    Args:
        num_frames (`int`): Frames decoded so far, before any resampling.
        duration_s (`float`): Seconds from the first of them to the end of the last.
        complete (`bool` or `"unknown"`, *optional*, defaults to `True`): Whether all that was asked for was
            read and nothing is known to be missing or damaged. `"unknown"` if nothing is missing of what
            came, but the format says neither how long the video is nor where it ends (MPEG, transport and raw
            streams, live recordings): a file that was cut between two frames looks the same.
        reason (`str`, *optional*): Why it is not complete.
        num_corrupt_frames (`int`, *optional*, defaults to 0): Frames given out although the decoder had to
            conceal damage in them.
        num_repaired_times (`int`, *optional*, defaults to 0): Frames that have no time stamp, or whose time
            is not what it says.
    """

    num_frames: int
    duration_s: float
    complete: Completeness = True
    reason: str | None = None
    num_corrupt_frames: int = 0
    num_repaired_times: int = 0
