"""Frames, snippets and seconds: the only arithmetic between the three.

Windows are half-open ranges of whole frames, `[start, end)`; seconds come from the time stamps of the
frames, so they are right at a variable frame rate too. Time 0 is the first shown frame.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

PaddingMode = Literal["repeat", "drop"]


class TimedImage(Protocol):
    """A frame: a picture, in whatever form, and the second at which it is first shown."""

    @property
    def image(self) -> Any: ...  # noqa: D102  # Any: an array, or whatever the caller made of it

    @property
    def time_s(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Snippet:
    """One window of frames on its way to the encoder.

    Args:
        index (`int`): Number of the snippet; its row in the feature track.
        start_frame (`int`): First frame.
        end_frame (`int`): One past the last real frame; repeats are not counted.
        images (`tuple`): `snippet_frames` pictures, the last real one repeated where the video has ended.
            They belong to whoever made the frames.
        times_s (`np.ndarray`): float64 `(snippet_frames,)`, when each picture is first shown; repeated like
            them.
        start_s (`float`): When the first frame is shown.
        end_s (`float`): When the last real frame gives way to the next.
    """

    index: int
    start_frame: int
    end_frame: int
    images: tuple[Any, ...]  # Any: see TimedImage
    times_s: np.ndarray
    start_s: float
    end_s: float

    @property
    def center_s(self) -> float:
        """Time of the feature row: `(start_frame + snippet_frames / 2) / fps` at a constant rate."""
        return (self.start_s + self.end_s) / 2


def iter_snippets(
    frames: Iterable[TimedImage],
    snippet_frames: int = 8,
    stride_frames: int = 8,
    *,
    frame_duration_s: float,
    padding: PaddingMode = "repeat",
) -> Iterator[Snippet]:
    """Group a stream of frames into snippets, holding one window and one frame at a time.

    Choice: snippet `i` starts at frame `i * stride_frames` and covers `snippet_frames` frames. At the end of
    the video at most one window may be partial. It is considered only if it holds a frame that no complete
    window holds; then `padding` decides: "repeat" keeps it, with its last frame repeated up to full length,
    "drop" leaves it out. A video shorter than one snippet therefore still gives one row with "repeat".

    A snippet ends when its last real frame gives way to the next frame of the video, so it is given out when
    that arrives. The last frame of the video is taken to be shown for `frame_duration_s`, one over the rate.
    """
    if snippet_frames < 1 or stride_frames < 1:
        raise ValueError(
            f"snippet_frames and stride_frames must be at least 1, got {snippet_frames} and {stride_frames}."
        )
    if padding not in ("repeat", "drop"):
        raise ValueError(f"padding must be 'repeat' or 'drop', got {padding!r}.")
    if not frame_duration_s > 0:
        raise ValueError(
            f"frame_duration_s must be positive, got {frame_duration_s}; it is one over the frame rate."
        )
    return _group(frames, snippet_frames, stride_frames, frame_duration_s, padding)


def _group(
    frames: Iterable[TimedImage],
    snippet_frames: int,
    stride_frames: int,
    frame_duration_s: float,
    padding: PaddingMode,
) -> Iterator[Snippet]:
    held: deque[TimedImage] = deque()  # the frames from `start` on, at most one window
    start = num_snippets = num_frames = covered = 0
    last_s = 0.0

    def close_window(end_s: float) -> Snippet:
        nonlocal start, num_snippets, covered
        images = [frame.image for frame in held]
        times_s = [frame.time_s for frame in held]
        covered = start + len(held)
        missing = snippet_frames - len(held)
        snippet = Snippet(
            index=num_snippets,
            start_frame=start,
            end_frame=covered,
            images=tuple(images + images[-1:] * missing),
            times_s=np.array(times_s + times_s[-1:] * missing),
            start_s=times_s[0],
            end_s=end_s,
        )
        start += stride_frames
        num_snippets += 1
        for _ in range(min(stride_frames, len(held))):
            held.popleft()
        return snippet

    for frame in frames:
        if len(held) == snippet_frames:
            yield close_window(frame.time_s)
        if num_frames >= start:
            held.append(frame)
        num_frames += 1
        last_s = frame.time_s
    if len(held) == snippet_frames:
        yield close_window(last_s + frame_duration_s)
    if held and covered < num_frames and padding == "repeat":
        yield close_window(last_s + frame_duration_s)
