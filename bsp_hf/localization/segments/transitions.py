"""Whether a change of the picture is a cut or a gradual transition, and its first frame."""

from dataclasses import dataclass

import numpy as np

# Frames on each side of a boundary that are looked at, and how far from it a cut may lie.
REACH_FRAMES, _NEAR_FRAMES = 9, 5
SIZE = (32, 32)
# Choice: the limits come from 149 labelled transitions and 1,293 other places of nine real videos, and from
# cross-fades of their shots; docs/segment.md has the figures. Differences are of 8-bit pixels.
_LEAST_STEP, _STEP_TO_MEDIAN, _STEP_TO_THIRD, _LEAST_LASTING = 8.0, 3.0, 2.0, 0.5
_LEAST_DIFFERENCE, _MOST_OUTSIDE, _MOST_RETURN = 16.0, 0.2, 0.15


@dataclass(frozen=True)
class Transition:
    """What the frames around a boundary show."""

    kind: str | None  # "cut", "gradual", or `None` where the picture goes on
    frame: int | None = None  # of a cut, the first frame behind it


def classify_transition(pictures: np.ndarray, boundary: int) -> Transition:
    """Return what pictures around a boundary, uint8 `(num_frames, height, width, 3)`, show.

    A cut is one step between two frames that stands out from the other steps and stays. A gradual transition
    leads from one picture to another, and every pixel of those between lies between its two ends.
    """
    if len(pictures) < 4:
        return Transition(None)
    frames = pictures.astype(np.float32)
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    first = max(0, boundary - 1 - _NEAR_FRAMES)
    step = first + int(steps[first : boundary + _NEAR_FRAMES].argmax())
    before, after = frames[max(0, step - 3) : step + 1].mean(0), frames[step + 1 : step + 5].mean(0)
    third = float(np.sort(steps)[-3])  # a second cut may be near
    least = max(_LEAST_STEP, _STEP_TO_MEDIAN * (np.median(steps) + 1), _STEP_TO_THIRD * (third + 1))
    if steps[step] >= least and np.abs(after - before).mean() >= _LEAST_LASTING * steps[step]:
        return Transition("cut", step + 1)
    start, end, inner = frames[:2].mean(0), frames[-2:].mean(0), frames[2:-2]
    difference = float(np.abs(end - start).mean())
    if difference < _LEAST_DIFFERENCE or not len(inner):
        return Transition(None)
    low, high = np.minimum(start, end), np.maximum(start, end)
    outside = (np.maximum(low - inner, 0) + np.maximum(inner - high, 0)).mean((1, 2, 3)).max()
    way = (end - start).ravel()
    progress = (frames - start).reshape(len(frames), -1) @ way / (way @ way)
    returns = np.maximum(0, -np.diff(progress)).sum()
    is_gradual = outside <= _MOST_OUTSIDE * difference and returns <= _MOST_RETURN
    return Transition("gradual" if is_gradual else None)
