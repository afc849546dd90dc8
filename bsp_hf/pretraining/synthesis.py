"""Synthesis of the four boundary types (Eq. 1-3 of the paper): pure functions of frames and random draws."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.training.options import option

from .shots.transitions import Cut, join_shots
from .shots.views import View

PRESET_NAMES = ("figure", "text", "robust", "consecutive")
ROUNDINGS = ("even", "up")
CLASS_SAMPLINGS = ("stride", "segments", "clip_segments")
ACTION_SAMPLINGS = ("stride", "segments")
PARTNER_CHOICES = ("random", "alike")
SEGMENT_PLACES = ("random", "center", "uniform", "twice", "dense")
TRANSITIONS = ("hard", "fade", "wipe", "zoom", "dissolve")

# Fields that, changed, leave the rule called `consecutive`.
_BEYOND_CONSECUTIVE = (
    "first_index",
    "rounding",
    "class_sampling",
    "max_spacing",
    "draws_change_point",
    "transitions",
    "jump_counts",
    "partner_choice",
    "num_changes",
)


@dataclass(frozen=True)
class SynthesisConfig:
    """What the paper leaves open about synthesized clips; every field is a documented choice.

    The defaults are the rule called `consecutive`, which is also what a record without the newer fields
    reads as. `SYNTHESIS_PRESETS` in `bsp_hf.pretraining.drawing.presets` holds the other presets.

    Args:
        half_length (`int`, *optional*, defaults to 4):
            Frames on each side of a class boundary; tau. A clip has `2 * half_length` frames.
            Choice: 4, so that a clip is one 8-frame snippet of Sec. 4.1; Figure 2 shows 8 frames too.
        blend_half_width (`int`, *optional*, defaults to 1):
            Half the cross-fade of a diff-class boundary, in frames; epsilon. 0 gives a hard cut.
            Choice: 1; the paper asks for "some smoothing", and Figure 2 shows one blended frame.
        speeds (`tuple[float, ...]`, *optional*, defaults to `(2.0, 3.0, 4.0)`):
            Sampling rates after the change point, gamma; each drawn with equal chance among those the source
            is long enough for. Choice: speed-ups only. At one frame a step a slow-down (gamma < 1) can only
            repeat frames, which gives the label away; it is worth drawing with `frame_stride` > 1. With
            `max_spacing` a speed stands for the ratio of both sides, and either may be the faster.
        min_side_frames (`int`, *optional*, defaults to 2):
            The change point t of a diff-speed boundary is uniform over
            `[min_side_frames, 2 * half_length - min_side_frames]`. Choice: 2, so that both speeds show.
        frame_stride (`int`, *optional*, defaults to 1):
            Source frames between two sampled frames at the original rate. Choice: 1, as the snippets of
            Sec. 4.1 are consecutive frames.
        preset (`str`, *optional*, defaults to `"consecutive"`):
            Name of the preset that the fields come from, for records; changes nothing.
        first_index (`int`, *optional*, defaults to 1):
            Number of the first frame in Eq. 1. 1 is the text's; with 0, as Figure 2 has it, the blend lies a
            frame later.
        rounding (`str`, *optional*, defaults to `"even"`):
            Which of two equally near frames Eq. 3 takes: the `"even"` one, or the later one (`"up"`), as in
            Figure 2.
        class_sampling (`str`, *optional*, defaults to `"stride"`):
            Frames of the two videos of a class boundary: `frame_stride` apart; or, as Sec. 3.2 says, by
            uniform sampling, one from each of as many equal `"segments"` of the video as it gives frames; or
            one from each of `2 * half_length` segments, the first of which are shown (`"clip_segments"`),
            as in Figure 2.
        segment_place (`str`, *optional*, defaults to `"random"`):
            Place of a frame in its segment: `"random"` (TSM's training) or `"center"` (TSM's evaluation). For
            action classification also TSM's tests: `"uniform"`, `"twice"` (2 clips), `"dense"` (10 clips).
        action_sampling (`str`, *optional*, defaults to `"stride"`):
            Frames of a clip of action classification: one from each of `2 * half_length` equal `"segments"`,
            as TSM is published, or `frame_stride` apart.
        max_spacing (`int`, *optional*, defaults to 0):
            With 1 or more, the distance of sampled frames is drawn for every clip from one distribution for
            all labels: log-uniform from 1 to `max_spacing`, or as far as the source allows. 0 takes
            `frame_stride`. It needs `class_sampling="stride"`.
        draws_change_point (`bool`, *optional*, defaults to `False`):
            Draw the change point of class boundaries like that of speed boundaries, instead of the middle.
        transitions (`tuple[str, ...]`, *optional*, defaults to `()`):
            Transitions drawn for every class boundary whatever its label: `"hard"`, `"fade"`, `"wipe"`,
            `"zoom"` and `"dissolve"`. Without any, the paper's: a fade for diff-class, none for same-class.
        transition_half_widths (`tuple[int, ...]`, *optional*, defaults to `(1, 2)`):
            Half the lengths that drawn transitions may have, in frames, but no longer than both sides allow.
        jump_counts (`tuple[int, ...]`, *optional*, defaults to `()`):
            Visible jumps of a clip, drawn alike for every label. A class boundary is one jump (at least one
            therefore); the others are distractors: the same video goes on with another crop, flip, zoom,
            colour and exposure, as between two cameras. Without any there is no distractor.
        partner_choice (`str`, *optional*, defaults to `"random"`):
            The second video of a class boundary: any (`"random"`), or one that looks `"alike"`.
        num_alike (`int`, *optional*, defaults to 8):
            Among how many videos of the most similar colours an `"alike"` one is drawn.
        num_changes (`int`, *optional*, defaults to 1):
            Most changes of a clip; more than 1 needs `max_spacing`. The label is that of the strongest, in
            the order of the labels.
        ramp_epochs (`float`, *optional*, defaults to 0.0):
            Epochs over which the closings above (distractors, similar partners, drawn spacing, drawn change
            point, several changes) set in: each is applied to a clip with a chance that rises from 0 to 1.
            Choice: drawn transitions are there from the start, as a shortcut learned first must be unlearned.

    Raises:
        ValueError: If the fields contradict each other; the message names them.
    """

    half_length: int = option(4, "frames on each side of a class boundary, tau")
    blend_half_width: int = option(1, "half the cross-fade of a diff-class boundary in frames, epsilon")
    speeds: tuple[float, ...] = option((2.0, 3.0, 4.0), "rates behind a change of speed, gamma")
    min_side_frames: int = option(2, "fewest frames in front of and behind a change point")
    frame_stride: int = option(1, "source frames from one frame to the next at the original rate")
    preset: str = field(
        default="consecutive",
        metadata={
            "option": "synthesis",
            "choices": PRESET_NAMES,
            "help": "preset of the synthesis: sets the defaults of its fields",
        },
    )
    first_index: int = option(1, "number of the first frame in Eq. 1", (0, 1))
    rounding: str = option("even", "which of two equally near frames Eq. 3 takes", ROUNDINGS)
    class_sampling: str = option("stride", "frames of the videos of a class boundary", CLASS_SAMPLINGS)
    segment_place: str = option("random", "place of a frame in its segment", SEGMENT_PLACES)
    action_sampling: str = option("stride", "frames of clips of --task action", ACTION_SAMPLINGS)
    max_spacing: int = option(0, "draw the distance of frames up to this, for all labels; 0: frame_stride")
    draws_change_point: bool = option(False, "draw the change point of class boundaries too")
    transitions: tuple[str, ...] = option((), "transitions drawn whatever the label; none: the paper's")
    transition_half_widths: tuple[int, ...] = option((1, 2), "half the lengths of drawn transitions")
    jump_counts: tuple[int, ...] = option((), "visible jumps of a clip, whatever its label; none: as is")
    partner_choice: str = option("random", "second video of a class boundary", PARTNER_CHOICES)
    num_alike: int = option(8, "among how many videos of like colours an alike one is drawn")
    num_changes: int = option(1, "most changes of a clip")
    ramp_epochs: float = option(0.0, "epochs over which what closes shortcuts sets in")

    def __post_init__(self) -> None:
        object.__setattr__(self, "speeds", tuple(float(speed) for speed in self.speeds))
        for name in ("transitions", "transition_half_widths", "jump_counts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
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
        self._check_choices()
        self._check_counts()

    def _check_choices(self) -> None:
        choices: dict[str, tuple[object, ...]] = {
            "first_index": (0, 1),
            "rounding": ROUNDINGS,
            "class_sampling": CLASS_SAMPLINGS,
            "segment_place": SEGMENT_PLACES,
            "action_sampling": ACTION_SAMPLINGS,
            "partner_choice": PARTNER_CHOICES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, allowed))}."
                )
        unknown = [name for name in self.transitions if name not in TRANSITIONS]
        if unknown:
            raise ValueError(f"transitions={self.transitions} may hold {', '.join(TRANSITIONS)}.")

    def _check_counts(self) -> None:
        if self.max_spacing < 0 or (self.max_spacing and self.class_sampling != "stride"):
            raise ValueError(
                f"max_spacing={self.max_spacing} must be 0, or at least 1 with class_sampling='stride'."
            )
        if self.max_spacing and min(self.speed_ratios) > self.max_spacing:
            raise ValueError(f"max_spacing={self.max_spacing} is too small for any of speeds={self.speeds}.")
        if self.max_spacing and self.frame_stride != 1:
            raise ValueError(
                f"max_spacing={self.max_spacing} draws what frame_stride={self.frame_stride} sets; leave one."
            )
        if self.draws_change_point and self.blend_half_width > self.min_side_frames:
            raise ValueError(
                f"draws_change_point needs blend_half_width={self.blend_half_width} of at most "
                f"min_side_frames={self.min_side_frames}."
            )
        if not self.transition_half_widths or min(self.transition_half_widths) < 1:
            raise ValueError(
                f"transition_half_widths={self.transition_half_widths} must hold positive numbers."
            )
        places = len(self.change_points)
        if self.jump_counts and not 0 <= min(self.jump_counts) <= max(self.jump_counts) <= places:
            raise ValueError(f"jump_counts={self.jump_counts} must lie between 0 and {places}.")
        if not 1 <= self.num_changes <= places:
            raise ValueError(f"num_changes={self.num_changes} must be between 1 and {places}.")
        if self.num_changes > 1 and not self.max_spacing:
            raise ValueError(
                f"num_changes={self.num_changes} needs max_spacing, so that every change fits its source."
            )
        if self.num_alike < 1:
            raise ValueError(f"num_alike={self.num_alike} must be at least 1.")
        if not 0 <= self.ramp_epochs < math.inf:
            raise ValueError(f"ramp_epochs={self.ramp_epochs} must not be negative.")

    @property
    def num_frames(self) -> int:
        """Frames of a synthesized clip, 2 tau."""
        return 2 * self.half_length

    @property
    def change_points(self) -> range:
        """The change points t that a diff-speed boundary may have, in frames of the original rate."""
        return range(self.min_side_frames, self.num_frames - self.min_side_frames + 1)

    @property
    def speed_ratios(self) -> tuple[float, ...]:
        """The speeds as ratios of the faster side to the slower one, above 1."""
        return tuple(max(speed, 1 / speed) for speed in self.speeds)

    @cached_property
    def is_consecutive(self) -> bool:
        """Whether clips follow the rule called `consecutive`."""
        rule = SynthesisConfig()
        return all(getattr(self, name) == getattr(rule, name) for name in _BEYOND_CONSECUTIVE)

    @cached_property
    def min_source_frames(self) -> int:
        """Frames a source needs so that every change point has a speed that fits.

        Shorter sources are left out for every label alike: a source that only some labels could use would
        give them away.
        """
        if self.max_spacing:
            return math.ceil((self.num_frames - 1) * min(self.speed_ratios)) + 1
        slowest = min(self.speeds)
        span = max(
            speed_change_span(self.num_frames, t, slowest, self.frame_stride, self.rounding)
            for t in self.change_points
        )
        # TSM's evaluation takes one frame only of a video without more frames than segments.
        return span if self.class_sampling == "stride" else max(span, self.num_frames + 1)

    def for_evaluation(self, segment_place: str = "center") -> "SynthesisConfig":
        """Return the settings of held-out clips: fixed places in segments, every closing from the start."""
        return replace(self, segment_place=segment_place, ramp_epochs=0.0)

    def ease(self, difficulty: float, rng: np.random.Generator) -> "SynthesisConfig":
        """Return the settings of one clip of a ramp: each closing stays with the chance `difficulty`.

        Args:
            difficulty (`float`): In [0, 1].
            rng (`np.random.Generator`): Source of the draws, one for each closing.
        """
        keeps = iter(rng.random(5) < difficulty)
        has_spacing = next(keeps)
        return replace(
            self,
            max_spacing=self.max_spacing if has_spacing else 0,
            draws_change_point=self.draws_change_point and bool(next(keeps)),
            jump_counts=self.jump_counts if next(keeps) else (),
            partner_choice=self.partner_choice if next(keeps) else "random",
            # Further changes fit their sources only where the spacing is drawn.
            num_changes=self.num_changes if next(keeps) and has_spacing else 1,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SynthesisConfig":
        """Build a config from [`~SynthesisConfig.to_dict`]'s output; fields it lacks are `consecutive`'s.

        Raises:
            ValueError: If a key is not a field.
        """
        unknown = set(values) - {item.name for item in fields(cls)}
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


def blend_weights(
    half_length: int, blend_half_width: int, first_index: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-fade weights omega_1 and omega_2 of a diff-class boundary (Eq. 1), which sum to 1.

    Both are float32 `(2 * blend_half_width,)`, for the frames `i = tau - epsilon + 1 ... tau + epsilon` of
    the text; tau is `half_length`, epsilon `blend_half_width`, and `first_index` the i of a clip's first
    frame, 0 as in Figure 2.
    """
    _check_blend(half_length, blend_half_width)
    if blend_half_width == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    i = np.arange(half_length - blend_half_width, half_length + blend_half_width) + first_index
    first = (half_length + blend_half_width - i) / (2 * blend_half_width)
    second = (i - half_length + blend_half_width) / (2 * blend_half_width)
    return first.astype(np.float32), second.astype(np.float32)


def join_different_classes(first: np.ndarray, second: np.ndarray, blend_half_width: int) -> np.ndarray:
    """Cross-fade from one video to another (Eq. 1), uint8 `(2 * half_length, height, width, 3)`.

    Both give `half_length + blend_half_width` frames.
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
    """Join one video to another without a transition (Eq. 2), uint8 `(2 * half_length, height, width, 3)`."""
    if first.shape != second.shape:
        raise ValueError(f"both parts must have one shape, got {first.shape} and {second.shape}.")
    return np.concatenate([first, second])


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


def speed_change_span(
    num_frames: int, change_point: int, speed: float, frame_stride: int = 1, rounding: str = "even"
) -> int:
    """Return how many source frames a speed-change clip and its unchanged twin may touch."""
    changed = int(speed_change_indices(num_frames, change_point, speed, frame_stride, rounding)[-1])
    return max(changed, (num_frames - 1) * frame_stride) + 1


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
    length = _check_length(anchor, source_lengths, config)
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
    partner_length = _check_length(partner, source_lengths, config)
    partner_frames = _steps_inside(0, partner_length, steps, stride, rng)
    return ClipPlan(
        (anchor, partner),
        (frames, partner_frames),
        boundary_frame=config.half_length,
        blend_half_width=blend,
        window=drawn,
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
    """Join the decoded frames of each source, all of one size, as the plan says; may return `parts[0]`."""
    parts = [view.apply(part) for view, part in zip(plan.views, parts, strict=True)] if plan.views else parts
    if plan.cuts:
        return join_shots(parts, plan.cuts)
    if len(parts) == 1:
        return parts[0]
    if plan.blend_half_width == 0:
        return join_same_class(parts[0], parts[1])
    return join_different_classes(parts[0], parts[1], plan.blend_half_width)
