"""Settings of the synthesis; imports nothing slow, so that the command line can list them."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bsp_hf.training.options import option

if TYPE_CHECKING:
    import numpy as np

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
    reads as. `SYNTHESIS_PRESETS` in `bsp_hf.pretraining.drawing.presets` holds the other presets. Fields that
    contradict each other are a `ValueError` that names them.
    """

    # Choice: 4, so that a clip is one 8-frame snippet of Sec. 4.1; Figure 2 shows 8 frames too.
    half_length: int = option(4, "frames on each side of a class boundary, tau; a clip has twice as many")
    # Choice: 1; the paper asks for "some smoothing", and Figure 2 shows one blended frame.
    blend_half_width: int = option(
        1, "half the cross-fade of a diff-class boundary in frames, epsilon; 0 gives a hard cut"
    )
    # Choice: speed-ups only. At one frame a step a slow-down (gamma < 1) can only repeat frames, which gives
    # the label away; it is worth drawing with `frame_stride` > 1.
    speeds: tuple[float, ...] = option(
        (2.0, 3.0, 4.0),
        "sampling rates behind a change of speed, gamma, drawn among those the source is long enough for; "
        "with max_spacing the ratio of both sides, of which either may be the faster",
    )
    # Choice: 2, so that both speeds show.
    min_side_frames: int = option(2, "fewest frames in front of and behind a change point, which is uniform")
    # Choice: 1, as the snippets of Sec. 4.1 are consecutive frames.
    frame_stride: int = option(1, "source frames from one frame to the next at the original rate")
    preset: str = field(
        default="consecutive",
        metadata={
            "option": "synthesis",
            "choices": PRESET_NAMES,
            "help": "preset of the synthesis: sets the defaults of its fields",
        },
    )
    first_index: int = option(
        1, "number of the first frame in Eq. 1; with 0, as in Figure 2, the blend lies a frame later", (0, 1)
    )
    rounding: str = option("even", "which of two equally near frames Eq. 3 takes; Figure 2 up", ROUNDINGS)
    class_sampling: str = option(
        "stride",
        "frames of the videos of a class boundary: frame_stride apart, one from each of as many equal "
        "segments of the video as it gives frames (Sec. 3.2), or of as many as the clip has (Figure 2)",
        CLASS_SAMPLINGS,
    )
    segment_place: str = option(
        "random",
        "place of a frame in its segment: random as in TSM's training, center as in its evaluation; for "
        "--task action also TSM's tests: uniform, twice (2 clips), dense (10 clips)",
        SEGMENT_PLACES,
    )
    action_sampling: str = option(
        "stride", "frames of clips of --task action: frame_stride apart, or TSM's segments", ACTION_SAMPLINGS
    )
    max_spacing: int = option(
        0,
        "draw the distance of frames log-uniformly up to this, or as far as the source allows, for all "
        "labels alike; 0: frame_stride",
    )
    draws_change_point: bool = option(False, "draw the change point of class boundaries too")
    transitions: tuple[str, ...] = option(
        (),
        "transitions drawn for every class boundary whatever its label: hard, fade, wipe, zoom, dissolve; "
        "none: the paper's, a fade for diff-class",
    )
    transition_half_widths: tuple[int, ...] = option(
        (1, 2), "half the lengths of drawn transitions in frames"
    )
    jump_counts: tuple[int, ...] = option(
        (),
        "visible jumps of a clip, whatever its label, one of which is the class boundary; at the others the "
        "same video goes on in another view; none: no such jump",
    )
    partner_choice: str = option("random", "second video of a class boundary", PARTNER_CHOICES)
    num_alike: int = option(8, "among how many videos of like colours an alike one is drawn")
    num_changes: int = option(1, "most changes of a clip, whose label is that of the strongest")
    # Choice: drawn transitions are there from the start, as a shortcut learned first must be unlearned.
    ramp_epochs: float = option(0.0, "epochs over which all else that closes shortcuts sets in, clip by clip")

    def __post_init__(self) -> None:
        object.__setattr__(self, "speeds", tuple(float(speed) for speed in self.speeds))
        for name in ("transitions", "transition_half_widths", "jump_counts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_blend(self.half_length, self.blend_half_width)
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
        for item in fields(self):
            value, choices = getattr(self, item.name), item.metadata.get("choices")
            if choices and item.name != "preset" and value not in choices:
                raise ValueError(f"{item.name}={value!r} must be one of {', '.join(map(repr, choices))}.")
        if set(self.transitions) - set(TRANSITIONS):
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

    def ease(self, difficulty: float, rng: "np.random.Generator") -> "SynthesisConfig":
        """Return the settings of one clip of a ramp: each closing stays with the chance `difficulty`."""
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
        """Build a config from [`~SynthesisConfig.to_dict`]'s output; fields it lacks are `consecutive`'s."""
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown synthesis setting(s): {', '.join(sorted(unknown))}.")
        return cls(**values)


def check_blend(half_length: int, blend_half_width: int) -> None:
    """Check that a class boundary has frames on both sides, and that its cross-fade fits them."""
    if half_length < 1:
        raise ValueError(f"half_length={half_length} must be at least 1.")
    if not 0 <= blend_half_width <= half_length:
        raise ValueError(
            f"blend_half_width={blend_half_width} must be between 0 and half_length={half_length}."
        )


def speed_change_span(
    num_frames: int, change_point: int, speed: float, frame_stride: int = 1, rounding: str = "even"
) -> int:
    """Return how many source frames a speed-change clip (Eq. 3) and its unchanged twin may touch."""
    last = (change_point + speed * (num_frames - change_point) - 1) * frame_stride
    changed = round(last) if rounding == "even" else math.floor(last + 0.5)
    return max(changed, (num_frames - 1) * frame_stride) + 1
