"""Ten motions of rendered objects, as poses over time: what an action is in the embedded default data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Lengths are in units of the picture's height, y points down, the origin is the middle of the picture.
_BLEND_S = 0.4  # an object needs this long to pass from one motion into the next

_Track = np.ndarray | float


@dataclass(frozen=True)
class Stretch:
    """A run of frames in which one of `MOTION_NAMES` goes on, at a factor `speed` on its own pace."""

    motion: str
    num_frames: int
    speed: float = 1.0


def _soft_triangle(phase: np.ndarray) -> np.ndarray:
    """Return a triangle wave of period 1 in [-1, 1] that slows down a little where it turns."""
    return np.arcsin(0.96 * np.sin(2 * np.pi * phase)) / np.arcsin(0.96)


def _pose(x: _Track, y: _Track, angle: _Track = 0.0, log_scale: _Track = 0.0) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, angle, log_scale), axis=-1)


# Every motion maps its phase (in cycles, `(num_frames,)`) to the poses of its objects
# `(num_objects, num_frames, 4)`: x, y, angle in radians, logarithm of the size factor. What it draws from the
# generator is what varies inside the class.


def _bounce(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height = 4 * (phase % 1) * (1 - phase % 1)
    drift = rng.uniform(0.2, 0.42) * _soft_triangle(rng.uniform(0.1, 0.2) * phase + rng.uniform())
    return _pose(drift, rng.uniform(0.22, 0.34) - rng.uniform(0.42, 0.58) * height)[None]


def _crossing(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lanes = rng.permutation([-1.0, 1.0]) * rng.uniform(0.08, 0.2) + rng.uniform(-0.1, 0.1)
    reach = rng.uniform(0.36, 0.5)
    lag = rng.uniform(-0.05, 0.05)
    there, back = reach * _soft_triangle(phase), -reach * _soft_triangle(phase + lag)
    return np.stack([_pose(there, lanes[0]), _pose(back, lanes[1])])


def _fall(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Each fall starts and ends outside the picture, so that the next one may start in another place.
    starts = rng.uniform(-0.45, 0.45, size=64)
    drift, tumble = rng.uniform(-0.15, 0.15), rng.uniform(-2, 2)
    progress = phase % 1
    x = starts[np.floor(phase).astype(int) % starts.size] + drift * progress
    return _pose(x, -0.87 + 0.87 * (progress + progress**2), tumble * progress)[None]


def _orbit(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turn = 2 * np.pi * phase * rng.choice([-1.0, 1.0])
    radius, flatness = rng.uniform(0.26, 0.34), rng.uniform(0.75, 1.0)
    x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.05, 0.05)
    return _pose(x + radius * np.cos(turn), y + radius * flatness * np.sin(turn))[None]


def _pulsate(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = rng.uniform(0.45, 0.65) * np.sin(2 * np.pi * phase)
    return _pose(rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15), 0.0, size)[None]


def _shake(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Sines whose frequencies have no common period: the path never repeats.
    waves = [np.sin(2 * np.pi * (ratio * phase + rng.uniform())) for ratio in (1.0, 0.73, 0.89, 0.61)]
    reach = rng.uniform(0.05, 0.08)
    x, y = rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15)
    return _pose(x + reach * (waves[0] + waves[1]), y + reach * (waves[2] + waves[3]), 0.15 * waves[1])[None]


def _slide(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tilt, reach, y = rng.uniform(-0.25, 0.25), rng.uniform(0.36, 0.5), rng.uniform(-0.22, 0.22)
    along = reach * _soft_triangle(phase)
    return _pose(along * np.cos(tilt), y + along * np.sin(tilt))[None]


def _spin(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turn = 2 * np.pi * phase * rng.choice([-1.0, 1.0])
    return _pose(rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15), turn)[None]


def _swing(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    deflection = rng.uniform(0.7, 1.0) * np.sin(2 * np.pi * phase)
    length, pivot_x = rng.uniform(0.5, 0.65), rng.uniform(-0.15, 0.15)
    return _pose(pivot_x + length * np.sin(deflection), length * np.cos(deflection) - 0.4, -deflection)[None]


def _zigzag(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x = rng.uniform(0.4, 0.5) * _soft_triangle(rng.uniform(0.14, 0.22) * phase + rng.uniform())
    return _pose(x, rng.uniform(-0.08, 0.08) + rng.uniform(0.2, 0.28) * _soft_triangle(phase))[None]


@dataclass(frozen=True)
class _Motion:
    poses: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    min_cycles_per_s: float
    max_cycles_per_s: float
    is_joinable: bool = True  # the same object can go over into another motion without leaving the picture


# The paces let an object cross 1 to 2 picture heights a second: 3 to 5 pixels a frame at 64 px and 25 fps.
_MOTIONS = {
    "bounce": _Motion(_bounce, 0.9, 1.5),
    "crossing": _Motion(_crossing, 0.5, 0.9, is_joinable=False),
    "fall": _Motion(_fall, 0.7, 1.1, is_joinable=False),
    "orbit": _Motion(_orbit, 0.6, 1.0),
    "pulsate": _Motion(_pulsate, 0.8, 1.4),
    "shake": _Motion(_shake, 2.4, 3.6),
    "slide": _Motion(_slide, 0.6, 1.0),
    "spin": _Motion(_spin, 0.7, 1.3),
    "swing": _Motion(_swing, 0.6, 1.0),
    "zigzag": _Motion(_zigzag, 1.0, 1.6),
}
MOTION_NAMES: tuple[str, ...] = tuple(_MOTIONS)
JOINABLE_MOTION_NAMES: tuple[str, ...] = tuple(name for name in _MOTIONS if _MOTIONS[name].is_joinable)


def check_stretches(stretches: Sequence[Stretch]) -> None:
    """Raise a `ValueError` unless one uncut shot can show `stretches` one after the other."""
    if not stretches:
        raise ValueError("A shot needs at least one stretch, got none.")
    for stretch in stretches:
        if stretch.motion not in _MOTIONS:
            raise ValueError(f"Unknown motion {stretch.motion!r}; choose one of {', '.join(MOTION_NAMES)}.")
        if stretch.num_frames < 1 or stretch.speed <= 0:
            raise ValueError(f"{stretch} needs num_frames of at least 1 and a speed above 0.")
    motions = {stretch.motion for stretch in stretches}
    if len(motions) > 1 and not motions <= set(JOINABLE_MOTION_NAMES):
        raise ValueError(
            f"The motions {sorted(motions)} cannot follow each other without a cut; join those of "
            f"{', '.join(JOINABLE_MOTION_NAMES)}, or render separate shots."
        )


def _sway(times_s: np.ndarray, num_objects: int, rng: np.random.Generator) -> np.ndarray:
    """Return small unrelated movements of every object, `(num_objects, num_frames, 4)`."""
    shape = (num_objects, 1, 4)
    wave = np.sin(2 * np.pi * (rng.uniform(0.3, 0.9, shape) * times_s[:, None] + rng.uniform(size=shape)))
    return wave * (0.012, 0.012, 0.12, 0.03) + (0, 0, 1, 0) * rng.uniform(0, 2 * np.pi, shape)


def shot_poses(stretches: Sequence[Stretch], seed: Sequence[int], fps: float) -> np.ndarray:
    """Return where the objects of one uncut shot are at each frame, float64 `(num_objects, num_frames, 4)`.

    The last axis holds x and y in picture heights from the middle of the picture, y down; angle in radians;
    natural logarithm of the size factor.
    """
    lengths = [stretch.num_frames for stretch in stretches]
    speeds = np.repeat([stretch.speed for stretch in stretches], lengths)
    times_s = np.arange(len(speeds)) / fps
    poses = np.empty(0)
    start = action = 0
    for position, stretch in enumerate(stretches):
        # A stretch of the same motion is the same action going on at another speed.
        if position == 0 or stretch.motion != stretches[position - 1].motion:
            rng = np.random.default_rng([*seed, 1, action])
            new_poses = _action_poses(_MOTIONS[stretch.motion], speeds, times_s, fps, rng)
            poses = _change_over(poses, new_poses, times_s, start) if action else new_poses
            action += 1
        start += stretch.num_frames
    return poses + _sway(times_s, len(poses), np.random.default_rng([*seed, 2]))


def _action_poses(
    motion: _Motion, speeds: np.ndarray, times_s: np.ndarray, fps: float, rng: np.random.Generator
) -> np.ndarray:
    pace = rng.uniform(motion.min_cycles_per_s, motion.max_cycles_per_s)
    # Nobody moves quite evenly: the pace itself wavers by a fifth, slowly.
    waver = 1 + 0.2 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.4) * times_s + rng.uniform()))
    cycles = pace * speeds * waver / fps
    phase = rng.uniform() + np.concatenate([[0.0], np.cumsum(cycles[:-1])])
    return motion.poses(phase, rng)


def _change_over(old: np.ndarray, new: np.ndarray, times_s: np.ndarray, start: int) -> np.ndarray:
    """Return poses that are `old` up to frame `start` and pass smoothly into `new` from there."""
    # Full turns do not show; without this the object would unwind all it has turned so far.
    turns = np.round((old[:, start, 2] - new[:, start, 2]) / (2 * np.pi))
    new = new + (0, 0, 1, 0) * (2 * np.pi * turns)[:, None, None]
    progress = np.clip((times_s - times_s[start]) / _BLEND_S, 0, 1)[:, None]
    return old + (new - old) * progress**2 * (3 - 2 * progress)
