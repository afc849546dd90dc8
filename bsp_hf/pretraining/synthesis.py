"""Synthesis of the four boundary types (Eq. 1-3 of the paper): pure functions of frames and random draws."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType


@dataclass(frozen=True)
class SynthesisConfig:
    """What the paper leaves open about synthesized clips; every field is a documented choice.

    Args:
        half_length (`int`, *optional*, defaults to 4):
            Frames on each side of a class boundary; tau. A clip has `2 * half_length` frames.
            Choice: 4, so that a clip is one 8-frame snippet of Sec. 4.1.
        blend_half_width (`int`, *optional*, defaults to 1):
            Half the cross-fade of a diff-class boundary, in frames; epsilon. 0 gives a hard cut.
            Choice: 1; the paper asks for "some smoothing".
        speeds (`tuple[float, ...]`, *optional*, defaults to `(2.0, 3.0, 4.0)`):
            Sampling rates after the change point, gamma; each drawn with equal chance among those the source
            is long enough for. Choice: speed-ups only. At one frame a step a slow-down (gamma < 1) can only
            repeat frames, which gives the label away; it is worth drawing with `frame_stride` > 1.
        min_side_frames (`int`, *optional*, defaults to 2):
            The change point t of a diff-speed boundary is uniform over
            `[min_side_frames, 2 * half_length - min_side_frames]`. Choice: 2, so that both speeds show.
        frame_stride (`int`, *optional*, defaults to 1):
            Source frames between two sampled frames at the original rate. Choice: 1, as the snippets of
            Sec. 4.1 are consecutive frames.

    Raises:
        ValueError: If the fields contradict each other; the message names them.
    """

    half_length: int = 4
    blend_half_width: int = 1
    speeds: tuple[float, ...] = (2.0, 3.0, 4.0)
    min_side_frames: int = 2
    frame_stride: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "speeds", tuple(float(speed) for speed in self.speeds))
        _check_blend(self.half_length, self.blend_half_width)
        if not self.speeds or any(not 0 < speed < math.inf or speed == 1 for speed in self.speeds):
            raise ValueError(f"speeds={self.speeds} must be positive, different from 1, and at least one.")
        if not 1 <= self.min_side_frames <= self.half_length:
            raise ValueError(
                f"min_side_frames={self.min_side_frames} must be between 1 and "
                f"half_length={self.half_length}."
            )
        if self.frame_stride < 1:
            raise ValueError(f"frame_stride={self.frame_stride} must be at least 1.")

    @property
    def num_frames(self) -> int:
        """Frames of a synthesized clip, 2 tau."""
        return 2 * self.half_length

    @property
    def change_points(self) -> range:
        """The change points t that a diff-speed boundary may have, in frames of the original rate."""
        return range(self.min_side_frames, self.num_frames - self.min_side_frames + 1)

    @cached_property
    def min_source_frames(self) -> int:
        """Frames a source needs so that every change point has a speed that fits.

        Shorter sources are left out for every label alike: a source that only some labels could use would
        give them away.
        """
        slowest = min(self.speeds)
        return max(
            speed_change_span(self.num_frames, t, slowest, self.frame_stride) for t in self.change_points
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {**asdict(self), "speeds": list(self.speeds)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SynthesisConfig":
        """Build a config from [`~SynthesisConfig.to_dict`]'s output.

        Raises:
            ValueError: If a key is not a field.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown synthesis setting(s): {', '.join(sorted(unknown))}.")
        return cls(**values)


def _check_blend(half_length: int, blend_half_width: int) -> None:
    if half_length < 1:
        raise ValueError(f"half_length={half_length} must be at least 1.")
    if not 0 <= blend_half_width <= half_length:
        raise ValueError(
            f"blend_half_width={blend_half_width} must be between 0 and half_length={half_length}."
        )


def blend_weights(half_length: int, blend_half_width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-fade weights of a diff-class boundary (Eq. 1).

    Args:
        half_length (`int`): Frames on each side of the boundary; tau.
        blend_half_width (`int`): Half the cross-fade, in frames; epsilon. 0 gives a hard cut.

    Returns:
        `tuple`: Two float32 arrays of shape `(2 * blend_half_width,)`, omega_1 and omega_2 for the frames
        `i = tau - epsilon + 1 ... tau + epsilon`; they sum to 1 elementwise.

    Raises:
        ValueError: If `blend_half_width` is negative or exceeds `half_length`.
    """
    _check_blend(half_length, blend_half_width)
    if blend_half_width == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    i = np.arange(half_length - blend_half_width + 1, half_length + blend_half_width + 1)
    first = (half_length + blend_half_width - i) / (2 * blend_half_width)
    second = (i - half_length + blend_half_width) / (2 * blend_half_width)
    return first.astype(np.float32), second.astype(np.float32)


def join_different_classes(first: np.ndarray, second: np.ndarray, blend_half_width: int) -> np.ndarray:
    """Cross-fade from one video to another (Eq. 1).

    Args:
        first (`np.ndarray`): uint8 `(half_length + blend_half_width, height, width, 3)`.
        second (`np.ndarray`): uint8, the same shape.
        blend_half_width (`int`): Half the cross-fade, in frames; epsilon.

    Returns:
        `np.ndarray`: New uint8 array `(2 * half_length, height, width, 3)`.

    Raises:
        ValueError: If the shapes differ or are too short for the cross-fade.
    """
    if first.shape != second.shape:
        raise ValueError(f"both parts must have one shape, got {first.shape} and {second.shape}.")
    half_length = len(first) - blend_half_width
    first_weights, second_weights = blend_weights(half_length, blend_half_width)
    before = half_length - blend_half_width
    column = (-1,) + (1,) * (first.ndim - 1)
    blended = first[before:] * first_weights.reshape(column)
    blended += second[: 2 * blend_half_width] * second_weights.reshape(column)
    # Choice: round half to even; the paper does not say how blended intensities become pixels.
    return np.concatenate(
        [first[:before], np.rint(blended).astype(first.dtype), second[2 * blend_half_width :]]
    )


def join_same_class(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Put one video behind another without a transition (Eq. 2).

    Args:
        first (`np.ndarray`): uint8 `(half_length, height, width, 3)`.
        second (`np.ndarray`): uint8, the same shape.

    Returns:
        `np.ndarray`: New uint8 array `(2 * half_length, height, width, 3)`.

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"both parts must have one shape, got {first.shape} and {second.shape}.")
    return np.concatenate([first, second])


def speed_change_indices(
    num_frames: int, change_point: int, speed: float, frame_stride: int = 1
) -> np.ndarray:
    """Return the source frames of a clip whose speed changes once (Eq. 3).

    Args:
        num_frames (`int`): Frames of the clip; 2 tau.
        change_point (`int`): Frames at the original rate; t. `change_point=num_frames` changes nothing.
        speed (`float`): Sampling rate behind the change point; gamma.
        frame_stride (`int`, *optional*, defaults to 1): Source frames of one step at the original rate.

    Returns:
        `np.ndarray`: int64 `(num_frames,)`, 0-based source frames counted from the clip's first frame.

    Raises:
        ValueError: If `change_point` is not in `[1, num_frames]`, or `speed` is not positive and finite.
    """
    if not 1 <= change_point <= num_frames:
        raise ValueError(f"change_point={change_point} must be between 1 and num_frames={num_frames}.")
    if not 0 < speed < math.inf:
        raise ValueError(f"speed={speed} must be positive and finite.")
    i = np.arange(1, num_frames + 1)
    position = np.where(i <= change_point, i, change_point + speed * (i - change_point))
    # Choice: round half to even; Sec. 3.2 only asks for the temporally nearest frame.
    return np.rint((position - 1) * frame_stride).astype(np.int64)


def speed_change_span(num_frames: int, change_point: int, speed: float, frame_stride: int = 1) -> int:
    """Return how many source frames a speed-change clip and its unchanged twin may touch.

    Args:
        num_frames (`int`): Frames of the clip.
        change_point (`int`): Frames at the original rate.
        speed (`float`): Sampling rate behind the change point.
        frame_stride (`int`, *optional*, defaults to 1): Source frames of one step at the original rate.

    Returns:
        `int`: Number of source frames, enough for [`speed_change_indices`] and for `num_frames` steps at the
        original rate.
    """
    changed = int(speed_change_indices(num_frames, change_point, speed, frame_stride)[-1])
    return max(changed, (num_frames - 1) * frame_stride) + 1


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """Everything random about one synthesized clip, drawn before a frame is decoded.

    Args:
        sources (`tuple[int, ...]`): Index of the one or two source videos.
        frames (`tuple[np.ndarray, ...]`): For every source the int64 frames to decode, in order.
        boundary_frame (`int`): First frame of the clip behind the boundary; 0 where there is none.
        speed (`float`): Sampling rate behind the boundary; 1 where it does not change.
        blend_half_width (`int`): Half the cross-fade in frames; 0 where the clip has none.
    """

    sources: tuple[int, ...]
    frames: tuple[np.ndarray, ...]
    boundary_frame: int = 0
    speed: float = 1.0
    blend_half_width: int = 0


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
    the position in it tells the label.

    Args:
        kind (`BoundaryType`): The boundary to synthesize.
        anchor (`int`): Index of the first source.
        partners (`Sequence[int]`): Sources that may follow at a class boundary; unused for the other kinds.
        source_lengths (`Sequence[int]`): Frames of every source.
        config (`SynthesisConfig`): The settings.
        rng (`np.random.Generator`): Source of all randomness.

    Returns:
        `ClipPlan`: The clip.

    Raises:
        ValueError: If a source is too short, or a class boundary has no partner.
    """
    num_frames, stride = config.num_frames, config.frame_stride
    length = _check_length(anchor, source_lengths, config)
    change_point = int(rng.choice(config.change_points))
    fitting = [s for s in config.speeds if speed_change_span(num_frames, change_point, s, stride) <= length]
    speed = float(rng.choice(fitting))
    window = speed_change_span(num_frames, change_point, speed, stride)
    window_start = int(rng.integers(length - window + 1))

    if kind is BoundaryType.DIFF_SPEED:
        frames = window_start + speed_change_indices(num_frames, change_point, speed, stride)
        return ClipPlan((anchor,), (frames,), boundary_frame=change_point, speed=speed)
    if kind is BoundaryType.SAME_SPEED:
        return ClipPlan((anchor,), (_steps_inside(window_start, window, num_frames, stride, rng),))

    if not len(partners):
        raise ValueError(f"source {anchor} has no partner for a {kind.label} boundary.")
    blend = config.blend_half_width if kind is BoundaryType.DIFF_CLASS else 0
    partner = int(partners[int(rng.integers(len(partners)))])
    steps = config.half_length + blend
    frames = _steps_inside(window_start, window, steps, stride, rng)
    partner_length = _check_length(partner, source_lengths, config)
    partner_frames = _steps_inside(0, partner_length, steps, stride, rng)
    return ClipPlan(
        (anchor, partner), (frames, partner_frames), boundary_frame=config.half_length, blend_half_width=blend
    )


def _check_length(source: int, source_lengths: Sequence[int] | np.ndarray, config: SynthesisConfig) -> int:
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
    """Put decoded frames together as the plan says.

    Args:
        plan (`ClipPlan`): The clip.
        parts (`Sequence[np.ndarray]`): For every source of the plan its frames, uint8 `(num_frames, height,
            width, 3)`, all of one size.

    Returns:
        `np.ndarray`: uint8 `(2 * half_length, height, width, 3)`; may share memory with `parts[0]`.
    """
    if len(parts) == 1:
        return parts[0]
    if plan.blend_half_width == 0:
        return join_same_class(parts[0], parts[1])
    return join_different_classes(parts[0], parts[1], plan.blend_half_width)
