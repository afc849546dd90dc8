"""A picture of synthesized clips of every boundary type, as in the paper's Figure 2."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.files import atomic_file
from bsp_hf.pretraining.clips import PretextClip, PretextClips
from bsp_hf.pretraining.pretexts import BoundaryClassification
from bsp_hf.pretraining.sources import SourceCatalog, TrimmedVideo
from bsp_hf.pretraining.synthesis_config import SynthesisConfig

_CANDIDATES_PER_CLIP = 4


def save_clip_picture(
    sources: list[TrimmedVideo],
    path: str | Path,
    *,
    kinds: Sequence[BoundaryType] = tuple(BoundaryType),
    clips_per_kind: int = 2,
    synthesis: SynthesisConfig | None = None,
    frame_size: int = 160,
    seed: int = 0,
) -> int:
    """Draw clips of every kind, one row each, with their boundaries and frame numbers; return how many.

    The kinds start from the same sources, so that their rows differ by the boundary alone. Of the sources
    that the seed draws, those that move most are shown: where nothing moves, no speed is seen. The suffix of
    `path` says the format (`.png`, `.pdf`, `.svg`); `frame_size` is height and width in pixels.
    """
    from bsp_hf.visualization import plot_boundary_clips

    if not kinds or clips_per_kind < 1:
        raise ValueError(f"a picture needs a kind and clips_per_kind={clips_per_kind} of at least 1.")
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": frame_size}, crop_size={"height": frame_size, "width": frame_size}
    )
    pretext = BoundaryClassification(synthesis or SynthesisConfig(), tuple(dict.fromkeys(kinds)))
    clips = PretextClips(sources, pretext, extractor, seed=seed)
    candidates = _draw_anchors(
        clips.catalog, _CANDIDATES_PER_CLIP * clips_per_kind, np.random.default_rng(seed)
    )
    moving = sorted(candidates, key=lambda anchor: -_measure_motion(clips, anchor))
    anchors = moving[:clips_per_kind]
    shown = [
        clips.read(case * len(clips.catalog) + anchor)
        for case in range(pretext.num_cases)
        for anchor in anchors
    ]
    jumps = [[cut.frame for cut in clip.draw.plan.cuts if cut.frame != _boundary_cut(clip)] for clip in shown]
    figure = plot_boundary_clips(
        [clip.frames for clip in shown],
        [_describe(clip, pretext.kinds[clip.draw.case], clips.catalog) for clip in shown],
        [clip.draw.plan.boundary_frame for clip in shown],
        [clip.draw.plan.blend_half_width for clip in shown],
        max_frames=pretext.synthesis.num_frames,
        **({"jump_frames": jumps} if any(jumps) else {}),
    )
    for axes, clip in zip(figure.axes, shown, strict=True):
        axes.set_xticks(axes.get_xticks(), _source_frames(clip))
        # Above the marker of an early boundary.
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=10, pad=18)
    figure.axes[-1].set_xlabel("number of the frame in its video", fontsize=9)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:])
    return len(shown)


def _boundary_cut(clip: PretextClip) -> int:
    """Return the frame at which the boundary of a clip is a join of two videos; 0 for none."""
    plan = clip.draw.plan
    return plan.boundary_frame if len(set(plan.sources)) > 1 else 0


def _draw_anchors(catalog: SourceCatalog, count: int, rng: np.random.Generator) -> list[int]:
    """Draw sources, of as many classes as there are."""
    order = rng.permutation(len(catalog))
    seen: dict[int, int] = {}
    rounds = []
    for source in order:
        label = int(catalog.label_ids[source])
        rounds.append(seen.setdefault(label, 0))
        seen[label] += 1
    return order[np.argsort(rounds, kind="stable")][:count].tolist()


def _measure_motion(clips: PretextClips, anchor: int) -> float:
    """Return how much a source changes over as many frames as a clip has, around its middle."""
    source = clips.catalog.sources[anchor]
    span = (clips.pretext.synthesis.num_frames - 1) * clips.pretext.synthesis.frame_stride
    start = (source.num_frames - 1 - span) // 2
    first, last = clips.store.read(source, np.array([start, start + span])).astype(np.int16)
    return float(np.abs(last - first).mean())


def _describe(clip: PretextClip, kind: BoundaryType, catalog: SourceCatalog) -> str:
    plan = clip.draw.plan
    # Shots of one source in a row are one video.
    shown = [source for source, _ in groupby(plan.sources)]
    names = [catalog.sources[source].label or catalog.sources[source].path.stem for source in shown]
    text = f"{kind.label}: {', then '.join(names)}"
    if kind is BoundaryType.DIFF_SPEED:
        text = f"{kind.label}: {names[0]}, then at {plan.speed:.3g} times the speed"
    elif kind is BoundaryType.SAME_CLASS:
        text = f"{kind.label}: {names[0]}, then another {names[1]}"
    if plan.spacing > 1:
        text += f", {plan.spacing:.1f} frames a step"
    transitions = [cut.transition for cut in plan.cuts if cut.half_width and cut.transition != "fade"]
    return text + (f" ({', '.join(transitions)})" if transitions else "")


def _source_frames(clip: PretextClip) -> list[str]:
    """Return the source frame behind every frame of a clip; both where two are mixed."""
    plan, num_frames = clip.draw.plan, len(clip.frames)
    cuts = plan.joins
    starts = [0, *(cut.frame - cut.half_width for cut in cuts)]
    labels: list[list[str]] = [[] for _ in range(num_frames)]
    for number, frames in enumerate(plan.frames):
        for offset, frame in enumerate(frames):
            place = starts[number] + offset
            # At one end of its transition, a video has no weight.
            begins = number and cuts[number - 1].half_width
            before = begins and offset + cuts[number - 1].first_index == 0
            ends = number < len(cuts) and cuts[number].half_width
            behind = ends and len(frames) - 1 - offset < cuts[number].first_index
            if not before and not behind:
                labels[place].append(str(frame))
    return [" + ".join(parts) for parts in labels]
