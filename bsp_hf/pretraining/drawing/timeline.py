"""Draws clips by a timeline: where the source, the pace and the view change, and which frames that shows."""

from dataclasses import dataclass, replace

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType

from ..shots.transitions import Cut
from ..shots.views import draw_view
from ..sources import SourceCatalog
from ..synthesis import ClipPlan, check_length, nearest_frames
from ..synthesis_config import SynthesisConfig, speed_change_span
from .partners import choose_partner, longest_partner
from .segments import sample_segments, sample_test_clips

CLASS_KINDS = (BoundaryType.DIFF_CLASS, BoundaryType.SAME_CLASS)


@dataclass(frozen=True)
class Pace:
    """The distances of frames that a clip may have, and the part of the anchor that they may touch."""

    first: float  # source frames of a step at the start of the clip
    second: float  # the same behind a change of speed
    window: tuple[int, int]  # first frame and number of frames, drawn for every label alike


@dataclass(frozen=True)
class Change:
    """One event of a clip."""

    frame: int  # first frame of the clip behind it
    kind: BoundaryType | None  # None for a change of the view alone


def plan_timeline(
    kind: BoundaryType,
    anchor: int,
    catalog: SourceCatalog,
    partner_kinds: tuple[BoundaryType, ...],
    config: SynthesisConfig,
    rng: np.random.Generator,
) -> ClipPlan:
    """Draw one clip with the boundary `kind`, by the fields that the rule `consecutive` does not know.

    What does not make the boundary is drawn before it, and for every label alike.
    """
    length = check_length(anchor, catalog.lengths, config)
    change_point = int(rng.choice(config.change_points))
    drawing = _Drawing(kind, anchor, catalog, config, rng)
    pace = drawing.draw_pace(change_point, length, longest_partner(anchor, partner_kinds, catalog))
    num_jumps = int(rng.choice(config.jump_counts)) if config.jump_counts else 0
    num_extra = int(rng.integers(config.num_changes)) if config.num_changes > 1 else 0
    order = rng.permutation(config.change_points)
    return drawing.show_changes(drawing.place_changes(change_point, num_jumps, num_extra, order), pace)


@dataclass(frozen=True)
class _Drawing:
    """What is drawn for one clip, step by step."""

    kind: BoundaryType
    anchor: int
    catalog: SourceCatalog
    config: SynthesisConfig
    rng: np.random.Generator

    @property
    def is_segmented(self) -> bool:
        return self.config.class_sampling != "stride" and self.kind in CLASS_KINDS

    def draw_pace(self, change_point: int, length: int, partner_length: int) -> Pace:
        """Draw two distances of frames; a clip of one speed has the first."""
        config, rng = self.config, self.rng
        steps, stride = config.num_frames - 1, config.frame_stride
        if not config.max_spacing:
            size, rounding = config.num_frames, config.rounding
            spans = {s: speed_change_span(size, change_point, s, stride, rounding) for s in config.speeds}
            speed = float(rng.choice([speed for speed, span in spans.items() if span <= length]))
            start = int(rng.integers(length - spans[speed] + 1))
            return Pace(stride, stride * speed, (start, spans[speed]))
        # Any label may show the wider distance all along, in either source.
        widest = min(config.max_spacing, (min(length, partner_length) - 1) / steps)
        ratio = float(rng.choice([ratio for ratio in config.speed_ratios if ratio <= widest]))
        narrow = float(np.exp(rng.uniform(0, np.log(widest / ratio))))
        # The wider one first or last with equal chance: no label is faster at its start, nor as a whole.
        first, second = (narrow, narrow * ratio) if rng.random() < 0.5 else (narrow * ratio, narrow)
        window = int(nearest_frames(np.array(steps * narrow * ratio), config.rounding)) + 1
        return Pace(first, second, (int(rng.integers(length - window + 1)), window))

    def place_changes(
        self, change_point: int, num_jumps: int, num_extra: int, order: np.ndarray
    ) -> list[Change]:
        """Return the changes of a clip in order: its boundary, weaker ones, and jumps of the view alone."""
        kind, config = self.kind, self.config
        if kind in CLASS_KINDS and not config.draws_change_point:
            change_point = config.half_length
        changes = [] if kind is BoundaryType.SAME_SPEED else [Change(change_point, kind)]
        free = [int(frame) for frame in order if frame != change_point]
        weaker = [other for other in BoundaryType if kind <= other < BoundaryType.SAME_SPEED]
        for _ in range(num_extra if weaker else 0):
            changes.append(Change(free.pop(), weaker[self.rng.integers(len(weaker))]))
        num_class_changes = sum(change.kind in CLASS_KINDS for change in changes)
        if kind not in CLASS_KINDS:
            # A jump that stands for nothing may lie where a boundary could, a change of speed included.
            free.append(change_point)
            free = [int(frame) for frame in order if frame in free]
        for _ in range(num_jumps - num_class_changes):
            if free:
                changes.append(Change(free.pop(), None))
        return sorted(changes, key=lambda change: change.frame)

    def show_changes(self, changes: list[Change], pace: Pace) -> ClipPlan:
        """Turn the changes of a clip into the shots that it is joined from."""
        kind, config = self.kind, self.config
        steps = np.full(config.num_frames, float(pace.first))
        paces = [pace.first, pace.second]
        for number, change in enumerate([c for c in changes if c.kind is BoundaryType.DIFF_SPEED], 1):
            steps[change.frame :] = paces[number % 2]
        steps[0] = 0.0
        offsets = np.cumsum(steps)

        sources, cuts = [self.anchor], list[Cut]()
        jumps = [change for change in changes if change.kind is not BoundaryType.DIFF_SPEED]
        for number, jump in enumerate(jumps):
            end = jumps[number + 1].frame if number + 1 < len(jumps) else config.num_frames
            before = jump.frame - (cuts[-1].frame + cuts[-1].half_width if cuts else 0)
            cuts.append(self._draw_cut(jump, min(before, end - jump.frame)))
            sources.append(self._choose_source(jump, sources[-1], self._needed_frames(offsets, cuts[-1])))

        starts = [0, *(cut.frame - cut.half_width for cut in cuts)]
        ends = [*(cut.frame + cut.half_width for cut in cuts), config.num_frames]
        frames = self._choose_frames(sources, starts, ends, offsets, pace)
        views = tuple(draw_view(self.rng) for _ in sources) if config.jump_counts else ()
        boundary = next((change for change in changes if change.kind is kind), None)
        half_widths = [cut.half_width for cut in cuts if boundary and cut.frame == boundary.frame]
        return ClipPlan(
            tuple(sources),
            tuple(frames),
            boundary_frame=boundary.frame if boundary else 0,
            speed=pace.second / pace.first if kind is BoundaryType.DIFF_SPEED else 1.0,
            blend_half_width=half_widths[0] if kind in CLASS_KINDS else 0,
            spacing=float(np.diff(frames[0]).mean()) if self.is_segmented else pace.first,
            window=pace.window,
            cuts=tuple(cuts),
            views=views,
        )

    def _choose_source(self, jump: Change, source: int, needed: int) -> int:
        """Return the source behind a jump: a partner, or the same one for a change of the view alone."""
        if jump.kind is None:
            return source
        partner = choose_partner(jump.kind, source, needed, self.catalog, self.config, self.rng)
        if partner is None and jump.kind is self.kind and source == self.anchor:
            raise ValueError(f"source {self.anchor} has no partner for a {jump.kind.label} boundary.")
        # A further change that no partner is long enough for becomes one of the view.
        return source if partner is None else partner

    def _needed_frames(self, offsets: np.ndarray, cut: Cut) -> int:
        """Return how many frames a partner needs that is shown from a cut to the end of the clip."""
        if self.config.class_sampling != "stride":
            return self.config.num_frames + 1
        shown = offsets[cut.frame - cut.half_width :]
        return int(nearest_frames(shown[-1:] - shown[:1], self.config.rounding)[0]) + 1

    def _draw_cut(self, jump: Change, most: int) -> Cut:
        """Draw the transition of a jump; half of it takes at most `most` frames."""
        config, rng = self.config, self.rng
        seed = int(rng.integers(2**31))
        transition, half_width = "hard", 0
        if config.transitions:
            transition = str(rng.choice(config.transitions))
            fitting = [width for width in config.transition_half_widths if width <= most]
            half_width = int(rng.choice(fitting)) if fitting else 0
        elif jump.kind is BoundaryType.DIFF_CLASS:
            transition, half_width = "fade", min(config.blend_half_width, most)
        if transition == "hard" or not half_width:
            transition, half_width = "hard", 0
        return Cut(jump.frame, half_width, transition, config.first_index, seed)

    def _choose_frames(
        self, sources: list[int], starts: list[int], ends: list[int], offsets: np.ndarray, pace: Pace
    ) -> list[np.ndarray]:
        """Return the frames of every shot; shots of one source in a row go on where the one before ends."""
        frames: list[np.ndarray] = []
        for number, (source, start, end) in enumerate(zip(sources, starts, ends, strict=True)):
            length = int(self.catalog.lengths[source])
            if self.is_segmented:
                frames.append(self._segment_frames(length, end - start))
                continue
            if not number or source != sources[number - 1]:
                # The shots of this source that follow in a row are placed together.
                last = number
                while last + 1 < len(sources) and sources[last + 1] == source:
                    last += 1
                run = nearest_frames(offsets[start : ends[last]] - offsets[start], self.config.rounding)
                run_start = start
                # Every label starts where its window does: a place drawn by the run would tell it.
                place = pace.window[0] if not number else int(self.rng.integers(length - run[-1]))
            frames.append(place + run[start - run_start : end - run_start])
        return frames

    def _segment_frames(self, length: int, num_frames: int) -> np.ndarray:
        place = "center" if self.config.segment_place != "random" else "random"
        is_of_clip = self.config.class_sampling == "clip_segments"
        num_segments = self.config.num_frames if is_of_clip else num_frames
        return sample_segments(length, num_segments, place, self.rng)[:num_frames]


def plan_action(
    anchor: int, case: int, catalog: SourceCatalog, config: SynthesisConfig, rng: np.random.Generator
) -> ClipPlan:
    """Draw a clip of action classification as TSM does; `case` is the number of a test clip."""
    length = int(catalog.lengths[anchor])
    if config.segment_place in ("random", "center"):
        frames = sample_segments(length, config.num_frames, config.segment_place, rng)
    else:
        frames = sample_test_clips(length, config.num_frames, config.segment_place)[case]
    return ClipPlan((anchor,), (frames,), spacing=length / config.num_frames, window=(0, length))


def without_jumps(config: SynthesisConfig) -> SynthesisConfig:
    """Return the settings of a task whose clips are one shot."""
    return replace(config, jump_counts=(), num_changes=1)
