"""The pretext tasks of the paper's Tables 5 and 7: what to sample, what target, which model."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.modeling_fusion import NO_ACTION

from .choices import describe_unknown_task
from .drawing.segments import num_test_clips
from .drawing.timeline import CLASS_KINDS, plan_action, plan_timeline, without_jumps
from .sources import SourceCatalog
from .synthesis import ClipPlan, plan_boundary
from .synthesis_config import SynthesisConfig

PretextFactory = Callable[[SynthesisConfig, tuple[str, ...]], "Pretext"]


class Pretext(ABC):
    """A task that labels its own clips.

    A task has `num_cases` kinds of clips. The data set shows every source once in every case, so that the
    cases are balanced over each source. To add a task, write `plan` and, unless the label is the case,
    `target`, and name its class where a task is asked for (`--task file.py:Class`), or register it in
    `PRETEXTS`; `docs/add_a_pretext.md` and `examples/clip_order.py` show how.

    Args:
        synthesis (`SynthesisConfig`): The settings of synthesized clips.
    """

    head: ClassVar[str] = "classification"
    label_names: tuple[str, ...] = ()
    num_cases: int = 1
    # Whether the cases are clips of one video whose scores are averaged, instead of labels.
    averages_cases: bool = False
    partner_kinds: tuple[BoundaryType, ...] = ()

    def __init__(self, synthesis: SynthesisConfig):
        self.synthesis = synthesis

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the indices of the sources that every case of the task can start from."""
        usable = catalog.lengths >= self.synthesis.min_source_frames
        if self.partner_kinds:
            # What class a partner shares or does not share must be known.
            usable &= catalog.is_labelled
        if BoundaryType.SAME_CLASS in self.partner_kinds:
            counts = np.bincount(catalog.label_ids[usable], minlength=len(catalog.labels))
            usable &= counts[catalog.label_ids] > 1
        if BoundaryType.DIFF_CLASS in self.partner_kinds and len(np.unique(catalog.label_ids[usable])) < 2:
            usable[:] = False
        return np.flatnonzero(usable)

    @abstractmethod
    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw a clip of a case.

        Args:
            case (`int`): In `[0, num_cases)`.
            anchor (`int`): The source to start from.
            catalog (`SourceCatalog`): All usable sources.
            rng (`np.random.Generator`): Source of all randomness.

        Returns:
            `ClipPlan`: The clip.
        """

    def target(self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog) -> int | np.ndarray:
        """Return what the model shall predict: a class, by default the case, or a float32 value a frame."""
        return case

    def _plan_boundary(
        self, kind: BoundaryType, anchor: int, catalog: SourceCatalog, rng: np.random.Generator
    ) -> ClipPlan:
        if not self.synthesis.is_consecutive:
            return plan_timeline(kind, anchor, catalog, self.partner_kinds, self.synthesis, rng)
        partners = np.zeros(0, np.int64)
        if kind is BoundaryType.SAME_CLASS:
            partners = catalog.same_class(anchor)
        elif kind is BoundaryType.DIFF_CLASS:
            partners = catalog.other_classes(anchor)
        return plan_boundary(kind, anchor, partners, catalog.lengths, self.synthesis, rng)


class BoundaryClassification(Pretext):
    """Classify boundary types (Sec. 3.3): all four by default, or one against same-speed."""

    def __init__(self, synthesis: SynthesisConfig, kinds: tuple[BoundaryType, ...] = tuple(BoundaryType)):
        super().__init__(synthesis)
        self.kinds = kinds
        self.num_cases = len(kinds)
        self.label_names = tuple(kind.label for kind in kinds)
        self.partner_kinds = tuple(kind for kind in kinds if kind in CLASS_KINDS)

    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw a clip with the boundary `kinds[case]`."""
        return self._plan_boundary(self.kinds[case], anchor, catalog, rng)


class BoundaryRegression(BoundaryClassification):
    """Regress a Gaussian heatmap around the change point (Sec. 3.3).

    Choice: the Gaussian's variance is tau (`half_length`), reading the paper's tau as that of Eq. 1; the
    change point mu lies between the last frame before and the first frame behind the boundary.
    """

    head = "regression"

    def __init__(self, synthesis: SynthesisConfig, kinds: tuple[BoundaryType, ...]):
        super().__init__(synthesis, kinds)
        self.label_names = ()

    def target(self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog) -> np.ndarray:
        """Return the heatmap, float32 `(num_frames,)` in (0, 1]."""
        return boundary_heatmap(self.synthesis.num_frames, plan.boundary_frame, self.synthesis.half_length)


def _check_actions(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2:
        raise ValueError(
            f"action classification needs at least two classes, got {list(names)}; lay the videos out as "
            "CLASS/clip.mp4, or choose a task without classes."
        )
    return names


def _select_actions(usable: np.ndarray, catalog: SourceCatalog, names: tuple[str, ...]) -> np.ndarray:
    named = [catalog.sources[index].label in names for index in usable]
    return usable[np.array(named, dtype=bool)]


class ActionClassification(Pretext):
    """Name the action of a clip: the paper's "vanilla" pre-training.

    Sources of other classes than `label_names` are left out.
    """

    def __init__(self, synthesis: SynthesisConfig, label_names: tuple[str, ...]):
        super().__init__(synthesis)
        self.label_names = _check_actions(label_names)
        self.synthesis = without_jumps(synthesis)
        self.takes_segments = synthesis.action_sampling == "segments"
        if self.takes_segments:
            self.num_cases = num_test_clips(synthesis.segment_place)
            self.averages_cases = self.num_cases > 1

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources that are long enough and of a class in `label_names`."""
        usable = super().usable(catalog)
        if self.takes_segments:
            # TSM's evaluation takes one frame only of a video without more frames than segments.
            usable = np.flatnonzero(catalog.lengths > self.synthesis.num_frames)
        return _select_actions(usable, catalog, self.label_names)

    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw an unchanged clip; with segments and TSM's test modes, the one whose number is `case`."""
        if self.takes_segments:
            return plan_action(anchor, case, catalog, self.synthesis, rng)
        return self._plan_boundary(BoundaryType.SAME_SPEED, anchor, catalog, rng)

    def target(self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog) -> int:
        """Return the position of the source's class in `label_names`."""
        return self.label_names.index(catalog.sources[anchor].label)


class ArrowOfTime(Pretext):
    """Classify clips that run forwards and backwards (Wei et al. 2018; Table 7)."""

    label_names = ("forward", "backward")
    num_cases = 2

    def __init__(self, synthesis: SynthesisConfig):
        super().__init__(without_jumps(synthesis))

    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw an unchanged clip and reverse it in case 1."""
        plan = self._plan_boundary(BoundaryType.SAME_SPEED, anchor, catalog, rng)
        return plan if case == 0 else ClipPlan(plan.sources, (plan.frames[0][::-1].copy(),))


class Speediness(Pretext):
    """Classify clips at normal speed and sped up throughout (Benaim et al. 2020; Table 7)."""

    label_names = ("normal", "sped-up")
    num_cases = 2

    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw a speed and a window that it fits; sample the window at that speed or at the normal one."""
        config = self.synthesis
        length = int(catalog.lengths[anchor])
        steps = np.arange(config.num_frames) * config.frame_stride
        fitting = [speed for speed in config.speeds if speed > 1 and np.rint(steps[-1] * speed) < length]
        speed = float(rng.choice(fitting))
        offsets = np.rint(steps * speed).astype(np.int64)
        start = int(rng.integers(length - offsets[-1]))
        if case == 1:
            return ClipPlan((anchor,), (start + offsets,), speed=speed)
        return ClipPlan((anchor,), (start + int(rng.integers(offsets[-1] - steps[-1] + 1)) + steps,))

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources that the smallest speed-up fits."""
        speeds = [speed for speed in self.synthesis.speeds if speed > 1]
        if not speeds:
            raise ValueError(f"the speed pretext needs a speed above 1, got speeds={self.synthesis.speeds}.")
        config = self.synthesis
        return np.flatnonzero(
            catalog.lengths > np.rint((config.num_frames - 1) * config.frame_stride * min(speeds))
        )


def boundary_heatmap(num_frames: int, boundary_frame: int, variance: float) -> np.ndarray:
    """Return the regression target of Sec. 3.3, `exp(-(t - mu)^2 / (2 * variance))`, float32 in (0, 1].

    mu lies half a frame before `boundary_frame`, the first behind the boundary; the variance is in frames^2.
    """
    distance = np.arange(num_frames) - (boundary_frame - 0.5)
    return np.exp(-(distance**2) / (2 * variance)).astype(np.float32)


_BOUNDARIES = (BoundaryType.DIFF_CLASS, BoundaryType.SAME_CLASS, BoundaryType.DIFF_SPEED)


def _against_same_speed(kind: BoundaryType) -> PretextFactory:
    return lambda synthesis, class_names: BoundaryClassification(synthesis, (kind, BoundaryType.SAME_SPEED))


def _regression(*kinds: BoundaryType) -> PretextFactory:
    return lambda synthesis, class_names: BoundaryRegression(synthesis, kinds)


# Every task by its name: what builds it from the synthesis settings and the action classes.
PRETEXTS: dict[str, PretextFactory] = {
    "boundary": lambda synthesis, class_names: BoundaryClassification(synthesis),
    **{kind.label: _against_same_speed(kind) for kind in _BOUNDARIES},
    "regression": _regression(*_BOUNDARIES),
    **{f"regression-{kind.label}": _regression(kind) for kind in _BOUNDARIES},
    "action": lambda synthesis, class_names: ActionClassification(synthesis, class_names),
    "arrow-of-time": lambda synthesis, class_names: ArrowOfTime(synthesis),
    "speed": lambda synthesis, class_names: Speediness(synthesis),
}


def find_pretext(task: str) -> PretextFactory:
    """Return what builds a task of the settings of the synthesis and the names of the action classes.

    `task` is a name in `PRETEXTS`; or `"module:Class"` or `"folder/file.py:Class"`, a class derived from
    [`Pretext`] that lies elsewhere. Its module is imported, so its code runs.
    """
    if task in PRETEXTS:
        return PRETEXTS[task]
    place, _, name = task.rpartition(":")
    if not place:
        raise ValueError(describe_unknown_task(task, PRETEXTS))
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"task {task!r}: there is no file {path}.")
        # By its folder, not as a lone file: processes that decode must find the module by name.
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        place = path.stem
    found = getattr(import_module(place), name, None)
    if not (isinstance(found, type) and issubclass(found, Pretext)):
        raise ValueError(f"task {task!r} names no class derived from bsp_hf.pretraining.pretexts.Pretext.")
    if issubclass(found, ActionClassification):
        return found
    return lambda synthesis, class_names: found(synthesis)


def make_pretext(task: str, synthesis: SynthesisConfig, class_names: tuple[str, ...] = ()) -> Pretext:
    """Build a pretext task by its name, as [`find_pretext`] takes it.

    A boundary's name alone is that boundary against same-speed; `"regression"` takes all three boundaries,
    `"regression-diff-class"` and so on one. `"action"` needs the names of the classes.
    """
    return find_pretext(task)(synthesis, class_names)


class BoundaryWithAction(BoundaryClassification):
    """Classify the four boundary types, and the action wherever a clip shows a single one.

    A diff-class clip shows two actions, so it has no action label; all others have that of their source.
    Sources of other actions than `action_names` are left out.
    """

    head = "two-head"

    def __init__(self, synthesis: SynthesisConfig, action_names: tuple[str, ...]):
        super().__init__(synthesis)
        self.action_names = _check_actions(action_names)

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources that every boundary type can start from, and whose action has a number."""
        return _select_actions(super().usable(catalog), catalog, self.action_names)

    def target(self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog) -> np.ndarray:
        """Return the boundary type and the action, int64 `(2,)`; the action is -100 where there are two."""
        action = self.action_names.index(catalog.sources[anchor].label)
        return np.array([case, action if self.has_action(case) else NO_ACTION], dtype=np.int64)

    def has_action(self, case: int) -> bool:
        """Return whether the clips of a case show a single action."""
        return self.kinds[case] is not BoundaryType.DIFF_CLASS

    def action_share(self, cases: Sequence[int]) -> float:
        """Return the share of clips that show a single action, of the cases of an epoch."""
        return sum(map(self.has_action, cases)) / len(cases)
