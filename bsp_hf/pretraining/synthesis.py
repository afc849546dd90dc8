"""Synthesis of the four boundary types (Eq. 1-3 of the paper): pure functions of frames and random draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType

from .shots.transitions import Cut, join_shots
from .shots.views import View
from .synthesis_config import SynthesisConfig, speed_change_span


def speed_change_indices(
    num_frames: int, change_point: int, speed: float, frame_stride: int = 1, rounding: str = "even"
) -> np.ndarray:
    """Return the source frames of a clip whose speed changes once (Eq. 3), int64, from its first frame on.

    `num_frames` is 2 tau; `change_point`, t, the number of frames at the original rate; `speed`, gamma, the
    sampling rate behind it; `frame_stride` the source frames of one step at the original rate.
    """
    if not 1 <= change_point <= num_frames:
        raise ValueError(f"change_point={change_point} must be between 1 and num_frames={num_frames}.")
    if not 0 < speed < math.inf:
        raise ValueError(f"speed={speed} must be positive and finite.")
    i = np.arange(1, num_frames + 1)
    position = np.where(i <= change_point, i, change_point + speed * (i - change_point))
    return nearest_frames((position - 1) * frame_stride, rounding)


def nearest_frames(positions: np.ndarray, rounding: str = "even") -> np.ndarray:
    """Return the frame nearest to every position, int64; of two the `"even"` one or the later (`"up"`)."""
    # Choice: round half to even; Sec. 3.2 only asks for the temporally nearest frame.
    nearest = np.rint(positions) if rounding == "even" else np.floor(positions + 0.5)
    return nearest.astype(np.int64)


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """Everything random about one synthesized clip, drawn before a frame is decoded."""

    sources: tuple[int, ...]  # index of each source video
    frames: tuple[np.ndarray, ...]  # of every source, the int64 frames to decode, in order
    boundary_frame: int = 0  # first frame of the clip behind the boundary; 0 where there is none
    speed: float = 1.0  # sampling rate behind the boundary
    blend_half_width: int = 0  # half the cross-fade in frames; 0 where the clip has none
    # Mean distance of the frames in front of the boundary in the first source; 0 for the config's
    # `frame_stride`.
    spacing: float = 0.0
    # first frame and length of the part drawn of the anchor, whatever the label
    window: tuple[int, int] = (0, 0)
    # Joins of the shots, one less than `sources`; empty where the clip has one shot, or two that
    # `boundary_frame` and `blend_half_width` join as Eq. 1 and 2 say.
    cuts: tuple[Cut, ...] = ()
    views: tuple[View, ...] = ()  # how each shot is framed and coloured; empty for none

    @property
    def joins(self) -> tuple[Cut, ...]:
        """Where the shots meet, also the two that Eq. 1 (a fade) or Eq. 2 (a hard cut) joins."""
        if self.cuts or len(self.sources) == 1:
            return self.cuts
        frame = self.boundary_frame or len(self.frames[0]) - self.blend_half_width
        return (Cut(frame, self.blend_half_width, "fade"),)


def plan_boundary(
    kind: BoundaryType,
    anchor: int,
    partners: Sequence[int] | np.ndarray,
    source_lengths: Sequence[int] | np.ndarray,
    config: SynthesisConfig,
    rng: np.random.Generator,
) -> ClipPlan:
    """Draw one clip with the boundary `kind`.

    The change point, the speed and the window of the anchor source that they may touch are drawn for every
    kind alike, and every kind shows frames of that window only. So neither the source, nor its length, nor
    the position in it tells the label. `partners` may follow at a class boundary.
    """
    num_frames, stride = config.num_frames, config.frame_stride
    length = check_length(anchor, source_lengths, config)
    change_point = int(rng.choice(config.change_points))
    fitting = [s for s in config.speeds if speed_change_span(num_frames, change_point, s, stride) <= length]
    speed = float(rng.choice(fitting))
    window = speed_change_span(num_frames, change_point, speed, stride)
    window_start = int(rng.integers(length - window + 1))
    drawn = (window_start, window)

    if kind is BoundaryType.DIFF_SPEED:
        frames = window_start + speed_change_indices(num_frames, change_point, speed, stride)
        return ClipPlan((anchor,), (frames,), boundary_frame=change_point, speed=speed, window=drawn)
    if kind is BoundaryType.SAME_SPEED:
        frames = _steps_inside(window_start, window, num_frames, stride, rng)
        return ClipPlan((anchor,), (frames,), window=drawn)

    if not len(partners):
        raise ValueError(f"source {anchor} has no partner for a {kind.label} boundary.")
    blend = config.blend_half_width if kind is BoundaryType.DIFF_CLASS else 0
    partner = int(partners[int(rng.integers(len(partners)))])
    steps = config.half_length + blend
    frames = _steps_inside(window_start, window, steps, stride, rng)
    partner_length = check_length(partner, source_lengths, config)
    partner_frames = _steps_inside(0, partner_length, steps, stride, rng)
    return ClipPlan(
        (anchor, partner),
        (frames, partner_frames),
        boundary_frame=config.half_length,
        blend_half_width=blend,
        window=drawn,
    )


def check_length(source: int, source_lengths: Sequence[int] | np.ndarray, config: SynthesisConfig) -> int:
    """Return the frames of a source, which must suffice for every clip of these settings."""
    length = int(source_lengths[source])
    if length < config.min_source_frames:
        raise ValueError(
            f"source {source} has {length} frames, but these settings need {config.min_source_frames}; "
            "leave it out, or lower half_length, frame_stride or the smallest speed."
        )
    return length


def _steps_inside(start: int, length: int, steps: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Place `steps` frames, `stride` apart, anywhere in `length` frames from `start`."""
    slack = length - ((steps - 1) * stride + 1)
    return start + int(rng.integers(slack + 1)) + stride * np.arange(steps)


def render_clip(plan: ClipPlan, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join the decoded frames of each source, all of one size, as the plan says; may return `parts[0]`."""
    parts = [view.apply(part) for view, part in zip(plan.views, parts, strict=True)] if plan.views else parts
    return join_shots(parts, plan.joins) if plan.joins else parts[0]
