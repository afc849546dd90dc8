"""Class boundaries whose transition is exchanged, with all else the same: does an answer follow it?"""

from dataclasses import replace

from bsp_hf.pretraining.clips import PretextClip, PretextClips
from bsp_hf.pretraining.drawing.timeline import CLASS_KINDS
from bsp_hf.pretraining.pretexts import BoundaryClassification
from bsp_hf.pretraining.synthesis import ClipPlan
from bsp_hf.pretraining.synthesis_config import SynthesisConfig


def faded_boundaries(synthesis: SynthesisConfig) -> BoundaryClassification:
    """Return the task of both class boundaries, each with the fade of Eq. 1, and all else as it is drawn."""
    faded = replace(synthesis, transitions=("fade",), transition_half_widths=(1,))
    return BoundaryClassification(faded, CLASS_KINDS)


def exchange_transition(clips: PretextClips, index: int) -> tuple[PretextClip, PretextClip] | None:
    """Return a clip of [`faded_boundaries`], and the same frames with a hard cut in the place of the fade.

    `None` where another jump lies so near that the boundary has no room for a fade.
    """
    draw = clips.plan(index)
    if not draw.plan.blend_half_width:
        return None
    return clips.render(draw), clips.render(draw._replace(plan=cut_hard(draw.plan)))


def cut_hard(plan: ClipPlan) -> ClipPlan:
    """Return a plan with a hard cut in the place of its boundary's transition."""
    numbers = [number for number, cut in enumerate(plan.cuts) if cut.frame == plan.boundary_frame]
    if not numbers:
        raise ValueError(f"the plan has no cut at its boundary, frame {plan.boundary_frame}.")
    number, frames, cuts = numbers[0], list(plan.frames), list(plan.cuts)
    half_width = cuts[number].half_width
    frames[number] = frames[number][: len(frames[number]) - half_width]
    frames[number + 1] = frames[number + 1][half_width:]
    cuts[number] = replace(cuts[number], half_width=0, transition="hard")
    return replace(plan, frames=tuple(frames), cuts=tuple(cuts), blend_half_width=0)
