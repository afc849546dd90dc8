"""The segments of one video, to the frame, and the change with which each begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bsp_hf.localization.boundaries.kinds import CHANGE_KINDS


@dataclass(frozen=True)
class Change:
    """A frame at which a video changes: the first of the new segment."""

    frame: int
    kind: str
    score: float


@dataclass(frozen=True)
class VideoSegment:
    """A part of a video, half-open.

    Args:
        start_s (`float`): Second at which its first frame is shown.
        end_s (`float`): Second at which the next segment begins, or the video ends.
        start_frame (`int`): Number of its first frame in display order.
        end_frame (`int`): One past its last frame.
        kind (`str`, *optional*): How it begins, one of `CHANGE_KINDS`; `None` for the first.
        score (`float`, *optional*): Response of the encoder to that change.
    """

    start_s: float
    end_s: float
    start_frame: int
    end_frame: int
    kind: str | None = None
    score: float | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, eq=False)
class SegmentedVideo:
    """A video and its segments, which follow one another without a gap.

    Args:
        video_id (`str`): Name of the video.
        segments (`tuple[VideoSegment, ...]`): At least one.
        frame_times_s (`np.ndarray`): float64 `(num_frames,)`, when each frame of the file is shown.
        frame_rate (`Fraction`): Frames a second; the average where the rate varies.
        width (`int`): Width of the frames as shown, in pixels.
        height (`int`): Height of the frames.
        path (`str`, *optional*): The file, where there is one.
        times_s (`np.ndarray`, *optional*): `(num_windows,)`, seconds at which `scores` hold.
        scores (`np.ndarray`, *optional*): `(num_windows,)`, the boundary response; NaN where nothing was
            encoded.
        threshold (`float`, *optional*): Smallest response of a change.
        encoder (`str`, *optional*): Name of the encoder.
        error (`str`, *optional*): What of the video could not be read.
        thumbnails (`tuple[bytes, ...]`, *optional*, defaults to `()`): A JPEG of each segment.
    """

    video_id: str
    segments: tuple[VideoSegment, ...]
    frame_times_s: np.ndarray
    frame_rate: Fraction
    width: int
    height: int
    path: str | None = None
    times_s: np.ndarray | None = None
    scores: np.ndarray | None = None
    threshold: float | None = None
    encoder: str | None = None
    error: str | None = None
    thumbnails: tuple[bytes, ...] = ()

    @property
    def duration_s(self) -> float:
        """End of the last segment in seconds."""
        return self.segments[-1].end_s

    @property
    def has_constant_rate(self) -> bool:
        """Whether every frame is shown within half a frame of its number over the frame rate."""
        expected_s = np.arange(len(self.frame_times_s)) / float(self.frame_rate)
        return bool(np.abs(self.frame_times_s - expected_s).max() < 0.5 / float(self.frame_rate))

    def title_of(self, number: int) -> str:
        """Return the name of a segment by its number, from 0, as people read it."""
        kind = self.segments[number].kind
        return f"Segment {number + 1}" + (f": {CHANGE_KINDS.get(kind, kind)}" if kind else "")


def cut_into_segments(
    changes: Iterable[Change], frame_times_s: np.ndarray, end_s: float, frames: tuple[int, int]
) -> tuple[VideoSegment, ...]:
    """Return the segments between changes, from the first to the last of `frames`, which is exclusive."""
    first, last = frames
    inside = [change for change in changes if first < change.frame < last]
    edges = [first, *(change.frame for change in inside), last]
    times_s = [*(float(frame_times_s[frame]) for frame in edges[:-1]), end_s]
    return tuple(
        VideoSegment(
            times_s[number],
            times_s[number + 1],
            edges[number],
            edges[number + 1],
            inside[number - 1].kind if number else None,
            inside[number - 1].score if number else None,
        )
        for number in range(len(edges) - 1)
    )
