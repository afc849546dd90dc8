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
    """What `iter_snippets` needs of a frame: a picture, and the second at which it is first shown."""

    @property
    def image(self) -> Any: ...  # noqa: D102  # Any: an array, or whatever the caller made of it

    @property
    def time_s(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class LocalizerGrid:
    """The time grid of a feature file in the words of ActionFormer and OpenTAD.

    Both place row `i` at second `(i * feat_stride + offset_frames) / fps`, where ActionFormer writes the
    offset as `0.5 * num_frames`.

    Args:
        feat_stride (`int`): Frames from one row to the next (ActionFormer `feat_stride`, OpenTAD
            `snippet_stride`).
        num_frames (`int`): Frames that one row covers (ActionFormer `num_frames`).
        offset_frames (`float`): Frames from the start of a row's window to its centre (OpenTAD
            `offset_frames`).
        fps (`float`): Frames per second on which the grid lies (ActionFormer `default_fps`).
    """

    feat_stride: int
    num_frames: int
    offset_frames: float
    fps: float


@dataclass(frozen=True)
class SnippetGrid:
    """Where the snippets of a video lie.

    Choice: snippet `i` starts at frame `i * stride_frames` and covers `snippet_frames` frames. At the end
        of the
    video at most one window may be partial. It is considered only if it holds a frame that no complete
    window holds; then `padding` decides: "repeat" keeps it, with its last frame repeated up to full length,
    "drop" leaves it out. A video shorter than one snippet therefore still gives one row with "repeat".

    Args:
        num_frames (`int`): Frames of the video.
        snippet_frames (`int`, *optional*, defaults to 8): Frames of a snippet.
        stride_frames (`int`, *optional*, defaults to 8): Frames from the start of one snippet to that of
            the next.
        padding (`str`, *optional*, defaults to `"repeat"`): What becomes of a partial last window, "repeat"
            or "drop".

    Raises:
        ValueError: If a count is negative, a length is not positive, or `padding` is unknown.

    Example:
    ```python
    >>> SnippetGrid(num_frames=20).windows().tolist()
    [[0, 8], [8, 16], [16, 20]]
    >>> SnippetGrid(num_frames=20, padding="drop").num_snippets
    2
    ```
    """

    num_frames: int
    snippet_frames: int = 8
    stride_frames: int = 8
    padding: PaddingMode = "repeat"

    def __post_init__(self) -> None:
        if self.num_frames < 0:
            raise ValueError(f"num_frames must not be negative, got {self.num_frames}.")
        _check_window(self.snippet_frames, self.stride_frames, self.padding)

    @property
    def num_snippets(self) -> int:
        """Number of snippets, which is the number of feature rows."""
        num_complete = max(0, (self.num_frames - self.snippet_frames) // self.stride_frames + 1)
        if self.padding == "drop":
            return num_complete
        next_start = num_complete * self.stride_frames
        covered = next_start - self.stride_frames + self.snippet_frames if num_complete else 0
        return num_complete + (next_start < self.num_frames and covered < self.num_frames)

    def windows(self) -> np.ndarray:
        """Return the real frames of each snippet.

        Returns:
            `np.ndarray`: int64 `(num_snippets, 2)`, half-open frame ranges. The last may be shorter than
            `snippet_frames`: repeated frames are not counted.
        """
        starts = np.arange(self.num_snippets, dtype=np.int64) * self.stride_frames
        return np.stack([starts, np.minimum(starts + self.snippet_frames, self.num_frames)], axis=1)

    def frame_indices(self) -> np.ndarray:
        """Return the frame that stands at each place of each snippet, repeats included.

        Returns:
            `np.ndarray`: int64 `(num_snippets, snippet_frames)`.
        """
        windows = self.windows()
        indices = windows[:, :1] + np.arange(self.snippet_frames, dtype=np.int64)
        return np.minimum(indices, windows[:, 1:] - 1)

    def spans_s(self, times_s: np.ndarray, frame_duration_s: float) -> np.ndarray:
        """Return the stretch of time that each snippet covers.

        A snippet begins when its first frame is shown and ends when its last real frame gives way to the
        next frame of the video. The last frame of the video is taken to be shown for `frame_duration_s`.

        Args:
            times_s (`np.ndarray`): `(num_frames,)`, the second at which each frame is first shown, never
                decreasing.
            frame_duration_s (`float`): Nominal duration of a frame in seconds; one over the frame rate.

        Returns:
            `np.ndarray`: float64 `(num_snippets, 2)`, half-open ranges in seconds.

        Raises:
            ValueError: If there is not one time for each frame, or `frame_duration_s` is not positive.
        """
        times = np.asarray(times_s, dtype=np.float64)
        if times.shape != (self.num_frames,):
            raise ValueError(
                f"times_s must hold one time for each of {self.num_frames} frames, got {times.shape}."
            )
        _check_frame_duration(frame_duration_s)
        if self.num_frames == 0:
            return np.empty((0, 2))
        edges = np.append(times, times[-1] + frame_duration_s)
        return edges[self.windows()]

    def centers_s(self, times_s: np.ndarray, frame_duration_s: float) -> np.ndarray:
        """Return the centre of each snippet, the time of its feature row: the middle of its span.

        At a constant rate this is `(start + snippet_frames / 2) / fps`, as ActionFormer and OpenTAD have it.

        Args:
            times_s (`np.ndarray`): See `spans_s`.
            frame_duration_s (`float`): See `spans_s`.

        Returns:
            `np.ndarray`: float64 `(num_snippets,)`, in seconds.

        Raises:
            ValueError: See `spans_s`.
        """
        return self.spans_s(times_s, frame_duration_s).mean(axis=1)


def localizer_grid(snippet_frames: int, stride_frames: int, fps: float) -> LocalizerGrid:
    """Say in the words of ActionFormer and OpenTAD where the rows of a feature track lie.

    The formula gives the same seconds as `SnippetGrid.centers_s` for every complete snippet of a video of
    constant frame rate. A padded last row lies a little earlier than the formula says, and at a variable
    frame rate the formula is only as good as the average rate.

    Args:
        snippet_frames (`int`): Frames of a snippet.
        stride_frames (`int`): Frames from one row to the next.
        fps (`float`): Frames per second.

    Returns:
        `LocalizerGrid`: The values to write into the configuration of either toolbox.

    Raises:
        ValueError: If a length or the rate is not positive.

    Example:
    ```python
    >>> localizer_grid(snippet_frames=8, stride_frames=8, fps=25.0)
    LocalizerGrid(feat_stride=8, num_frames=8, offset_frames=4.0, fps=25.0)
    ```
    """
    _check_window(snippet_frames, stride_frames, "repeat")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}.")
    return LocalizerGrid(stride_frames, snippet_frames, snippet_frames / 2, fps)


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
        """Time of the feature row in seconds; the same as `SnippetGrid.centers_s` gives."""
        return (self.start_s + self.end_s) / 2

    def stack(self) -> np.ndarray:
        """Copy pictures that are arrays into one uint8 array `(snippet_frames, H, W, 3)`."""
        return np.stack(self.images)


def iter_snippets(
    frames: Iterable[TimedImage],
    snippet_frames: int = 8,
    stride_frames: int = 8,
    *,
    frame_duration_s: float,
    padding: PaddingMode = "repeat",
) -> Iterator[Snippet]:
    """Group a stream of frames into snippets, holding one window and one frame at a time.

    The number of frames need not be known: the snippets are those of `SnippetGrid` for as many frames as
    come. A snippet is given out when the frame behind it arrives, which tells when it ends.

    Args:
        frames (`Iterable[TimedImage]`): Frames in display order, with `image` and `time_s`.
        snippet_frames (`int`, *optional*, defaults to 8): Frames of a snippet.
        stride_frames (`int`, *optional*, defaults to 8): Frames from the start of one snippet to that of
            the next.
        frame_duration_s (`float`): Seconds for which the last frame is taken to be shown; one over the
            frame rate.
        padding (`str`, *optional*, defaults to `"repeat"`): What becomes of a partial last window; see
            `SnippetGrid`.

    Returns:
        `Iterator[Snippet]`: The snippets in order.

    Raises:
        ValueError: If a length or duration is not positive, or `padding` is unknown.
    """
    _check_window(snippet_frames, stride_frames, padding)
    _check_frame_duration(frame_duration_s)
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


def _check_window(snippet_frames: int, stride_frames: int, padding: str) -> None:
    if snippet_frames < 1 or stride_frames < 1:
        raise ValueError(
            f"snippet_frames and stride_frames must be at least 1, got {snippet_frames} and {stride_frames}."
        )
    if padding not in ("repeat", "drop"):
        raise ValueError(f"padding must be 'repeat' or 'drop', got {padding!r}.")


def _check_frame_duration(frame_duration_s: float) -> None:
    if not frame_duration_s > 0:
        raise ValueError(
            f"frame_duration_s must be positive, got {frame_duration_s}; it is one over the frame rate."
        )
