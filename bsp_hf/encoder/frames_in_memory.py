"""Frames that are already decoded, read as a video file is: by range, by rate, in seconds."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from .frame_times import check_range, choose_frames, exact_rate
from .video_records import Frame, VideoReport


class FramesInMemory:
    """Frames at `input_fps` in memory in the place of an opened video; for the others see `VideoReader`."""

    def __init__(
        self,
        frames: Any,  # Any: see stack_frames
        input_fps: float,
        fps: float | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
    ) -> None:
        self._frames = stack_frames(frames)
        self._rate = exact_rate(input_fps)
        check_range(start_s, end_s)
        self._choice = (None if fps is None else exact_rate(fps), 1 / self._rate, start_s, end_s)
        self.fps = float(input_fps)
        """`float`: Frames per second of what was given."""
        self.report = VideoReport(len(self._frames), float(len(self._frames) / self._rate))
        """`VideoReport`: What came of reading: all there is."""

    def __enter__(self) -> "FramesInMemory":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        shown = ((Fraction(index) / self._rate, index) for index in range(len(self._frames)))
        for time_s, index in choose_frames(shown, *self._choice):
            yield Frame(self._frames[index], float(time_s), index)


def is_frame(image: Any) -> bool:  # Any: whatever was given where a frame or a video is expected
    """Return whether something is one frame: a PIL image, or an array or tensor of at most 3 dimensions."""
    return hasattr(image, "convert") or (isinstance(image, (np.ndarray, Tensor)) and image.ndim <= 3)


def stack_frames(frames: Any) -> np.ndarray:  # Any: see below
    """Return frames as one uint8 array `(num_frames, height, width, 3)`, RGB.

    Args:
        frames: Such an array or tensor, which is not copied on the CPU, or a list of PIL images or
            `(height, width, 3)` arrays of one size. Anything else is a `ValueError`.
    """
    if not isinstance(frames, (np.ndarray, Tensor)):
        images = [_to_rgb(frame) if hasattr(frame, "convert") else np.asarray(frame) for frame in frames]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise ValueError(f"The frames of a clip or video must have one size, got {sorted(sizes)}.")
        frames = np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8)
    dtype = str(frames.dtype).removeprefix("torch.")
    if frames.ndim != 4 or frames.shape[-1] != 3 or dtype != "uint8" or not len(frames):
        raise ValueError(
            "Frames must be uint8 RGB of shape (num_frames, height, width, 3), at least one frame, "
            f"got {dtype} {tuple(frames.shape)}."
        )
    return frames.detach().cpu().numpy() if isinstance(frames, Tensor) else frames


def _to_rgb(image: Any) -> np.ndarray:  # Any: a PIL image
    if image.mode.startswith("I;16"):  # PIL would make white of all but the darkest
        gray = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        message = f"A PIL image of mode {image.mode!r} has no stated range; convert it to 'L' or 'RGB' first."
        raise ValueError(message)
    return np.asarray(image.convert("RGB"))
