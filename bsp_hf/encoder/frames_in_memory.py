"""Frames that are already decoded, read as a video file is: by range, by rate, in seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from .frame_times import exact_rate, exact_seconds, resample_nearest
from .video_reader import Frame


@dataclass(frozen=True)
class FramesReport:
    """What came of reading frames that were decoded before: all there is.

    Args:
        duration_s (`float`): Seconds from the first frame to the end of the last.
        complete (`bool`, *optional*, defaults to `True`): Always true.
        reason (`None`, *optional*): Why it is not complete.
    """

    duration_s: float
    complete: bool = True
    reason: None = None


class FramesInMemory:
    """Frames in memory in the place of an opened video.

    Args:
        frames: uint8 `(num_frames, height, width, 3)`, RGB: an array or a tensor, or a list of PIL images or
            `(height, width, 3)` arrays. Not copied if it is one array.
        input_fps (`float`): Their frames per second.
        fps (`float`, *optional*): Rate to resample to, as a file would be.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive.

    Raises:
        ValueError: If these are no such frames, or the rate or the range is impossible.
    """

    def __init__(
        self,
        frames: Any,  # Any: see above
        input_fps: float,
        fps: float | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> None:
        self._frames = stack_frames(frames)
        self._rate = exact_rate(input_fps)
        self._new_rate = None if fps is None else exact_rate(fps)
        if not start_s >= 0 or (end_s is not None and not end_s > start_s):
            raise ValueError(
                f"start_s must not be negative and end_s must be later, got {start_s} and {end_s}."
            )
        self._start_s, self._end_s = start_s, end_s
        self.fps = float(input_fps)
        """`float`: Frames per second of what was given."""
        self.report = FramesReport(float(len(self._frames) / self._rate))
        """`FramesReport`: What came of reading."""

    def __enter__(self) -> "FramesInMemory":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        for time_s, index in self._chosen():
            yield Frame(self._frames[index], float(time_s), index)

    def _chosen(self) -> Iterator[tuple[Fraction, int]]:
        shown = ((index / self._rate, index) for index in range(len(self._frames)))
        if self._new_rate is None:
            for time_s, index in shown:
                if self._end_s is not None and float(time_s) >= self._end_s:
                    return
                if float(time_s) >= self._start_s:
                    yield time_s, index
            return
        end_s = None if self._end_s is None else exact_seconds(self._end_s)
        start_s = exact_seconds(self._start_s)
        yield from resample_nearest(shown, self._new_rate, 1 / self._rate, start_s, end_s)


def stack_frames(frames: Any) -> np.ndarray:  # Any: see FramesInMemory
    """Make one array of frames.

    Args:
        frames: See [`FramesInMemory`].

    Returns:
        `np.ndarray`: uint8 `(num_frames, height, width, 3)`.

    Raises:
        ValueError: If these are no such frames.
    """
    if isinstance(frames, (list, tuple)):
        images = [np.asarray(f.convert("RGB") if hasattr(f, "convert") else f) for f in frames]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise ValueError(f"The frames of a video must have one size, got {sorted(sizes)}.")
        frames = np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8)
    array = frames.detach().cpu().numpy() if isinstance(frames, Tensor) else frames
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not len(array):
        raise ValueError(
            "Frames must be uint8 of shape (num_frames, height, width, 3) with at least one frame, "
            f"got {array.dtype} {array.shape}."
        )
    return array
