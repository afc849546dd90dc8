"""Cuts and gradual transitions, seen in the pictures themselves."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

# Frames on each side of a boundary that are looked at, and how far from it a cut may lie.
REACH_FRAMES, _NEAR_FRAMES = 9, 5
SIZE = (32, 32)
# Choice: the limits come from 149 labelled transitions and 1,293 other places of nine real videos, and from
# cross-fades of their shots; docs/segment.md has the figures. Differences are of 8-bit pixels.
_LEAST_STEP, _STEP_TO_MEDIAN, _STEP_TO_THIRD, _LEAST_LASTING = 8.0, 3.0, 2.0, 0.5
_LEAST_DIFFERENCE, _MOST_OUTSIDE, _MOST_RETURN = 16.0, 0.2, 0.15
# By so much the frames before and behind a cut differ at the mean.
LEAST_CUT_CHANGE = _LEAST_LASTING * _LEAST_STEP


@dataclass(frozen=True)
class Transition:
    """What the frames around a boundary show."""

    kind: str | None  # "cut", "gradual", or `None` where the picture goes on
    frame: int | None = None  # of a cut, the first frame behind it


def shrink_picture(image: Any, size: tuple[int, int] = SIZE) -> np.ndarray:  # Any: array or tensor
    """Return a uint8 picture at a size (width, height), each pixel the mean of its area."""
    return np.asarray(Image.fromarray(np.asarray(image)).resize(size, Image.Resampling.BOX))


def classify_transition(pictures: np.ndarray, boundary: int) -> Transition:
    """Return what pictures around a boundary, 8-bit `(num_frames, height, width, 3)`, show.

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


@dataclass(frozen=True)
class SeenTransitions:
    """What the pictures of a video show, in seconds."""

    cuts_s: tuple[float, ...] = ()  # of the first frames behind cuts
    near_cuts_s: tuple[tuple[float, float], ...] = ()  # frames from which a cut is seen, and that cut
    gradual_s: tuple[float, ...] = ()  # of all frames in the middle of gradual transitions


class TransitionFinder:
    """Finds cuts and gradual transitions while the frames of a video pass; it holds a few small pictures."""

    def __init__(self) -> None:
        self._pictures: deque[np.ndarray] = deque(maxlen=2 * REACH_FRAMES)
        self._steps: deque[float] = deque(maxlen=2 * REACH_FRAMES)  # to a picture from the one before it
        self._times_s: deque[float] = deque(maxlen=2 * REACH_FRAMES)
        self._num_frames = 0
        self._cuts: dict[int, float] = {}  # frames and their seconds
        self._near_s: list[tuple[float, float]] = []
        self._gradual: dict[int, float] = {}

    def add(self, image: Any, time_s: float) -> None:  # Any: uint8 (height, width, 3), array or tensor
        """Take the next frame."""
        self.add_small(shrink_picture(image), time_s)

    def add_small(self, small: np.ndarray, time_s: float) -> None:
        """Take the next frame, as [`shrink_picture`] gives it."""
        small = small.astype(np.int16)
        self._steps.append(float(np.abs(small - self._pictures[-1]).mean()) if self._pictures else 0.0)
        self._pictures.append(small)
        self._times_s.append(time_s)
        self._num_frames += 1
        self._look(len(self._pictures) - REACH_FRAMES)

    def finish(self) -> SeenTransitions:
        """Return what was seen, when all frames were added."""
        for place in range(max(1, len(self._pictures) - REACH_FRAMES + 1), len(self._pictures)):
            self._look(place, place - REACH_FRAMES)
        near = {cut + offset for cut in self._cuts for offset in range(-REACH_FRAMES, REACH_FRAMES + 1)}
        gradual_s = [time_s for frame, time_s in self._gradual.items() if frame not in near]
        return SeenTransitions(tuple(self._cuts.values()), tuple(self._near_s), tuple(gradual_s))

    def _look(self, place: int, first: int = 0) -> None:
        """Note whether the picture at `place` is the first behind a cut, near one, or in a transition."""
        if place < 1:
            return
        first, shown = max(0, first), self._pictures
        step = max(list(self._steps)[max(first + 1, place - _NEAR_FRAMES) : place + _NEAR_FRAMES + 1])
        # Twice the difference of the ends, as `classify_transition` takes it.
        twice = np.abs(shown[-1] + shown[-2] - shown[first] - shown[first + 1]).mean()
        if step < _LEAST_STEP and twice < 2 * _LEAST_DIFFERENCE:
            return
        pictures = np.stack([shown[number] for number in range(first, len(shown))])
        found, frame = classify_transition(pictures, place - first), self._num_frames - len(shown) + place
        if found.frame is not None:
            self._near_s.append((self._times_s[place], self._times_s[first + found.frame]))
            if found.frame == place - first:
                self._cuts[frame] = self._times_s[place]
        elif found.kind == "gradual":
            self._gradual[frame] = self._times_s[place]
