"""The 13 frames of the paper's Figure 2 that are pinned by identity with the frames of the rows above them.

Diff-class: frames 1-4 are the first video's 1-4, frame 5 is half the first video's 5th and half the second
video, 6-8 are the second video. Same-class: the first video's 1-3, then the second. Diff-speed: frames 1, 2,
3, 6 and 8 of the source, so t = 3 and gamma = 2.5.
"""

import numpy as np
import pytest
from support.source_catalogs import paper_catalog

from bsp_hf import BoundaryType
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.drawing.timeline import plan_timeline
from bsp_hf.pretraining.synthesis import render_clip, speed_change_indices

DIFF_CLASS, SAME_CLASS, DIFF_SPEED, SAME_SPEED = BoundaryType
FIGURE = SYNTHESIS_PRESETS["figure"]
KINDS = (DIFF_CLASS, SAME_CLASS)
# Of 80 frames in 8 segments of 10, TSM's evaluation takes the sixth of each.
SPARSE = [5, 15, 25, 35, 45, 55, 65, 75]


def figure_clip(kind, change_point, source_frames=80):
    """Return the first clip of a kind whose change point is that of the figure, and its plan."""
    catalog = paper_catalog(*[source_frames] * 4, labels="aabb")
    for seed in range(200):
        rng = np.random.default_rng(seed)
        plan = plan_timeline(kind, 0, catalog, KINDS, FIGURE.for_evaluation(), rng)
        if plan.boundary_frame == change_point:
            return plan
    raise AssertionError(f"no {kind.label} clip changes at {change_point}")


def painted(source: int, frames: np.ndarray) -> np.ndarray:
    """Frames whose gray level tells the source and the frame: 2 a frame, the second video from 100 on."""
    return (
        np.full((len(frames), 2, 2, 3), 0, np.uint8)
        + (100 * source + frames).astype(np.uint8)[:, None, None, None]
    )


def shown_levels(plan) -> list[int]:
    parts = [painted(min(number, 1), frames) for number, frames in enumerate(plan.frames)]
    return render_clip(plan, parts)[:, 0, 0, 0].tolist()


def test_the_diff_class_row():
    plan = figure_clip(DIFF_CLASS, 4)
    assert len(plan.sources) == 2 and plan.sources[0] == 0
    assert [frames.tolist() for frames in plan.frames] == [SPARSE[:5], SPARSE[:5]]
    first, second = SPARSE, [100 + frame for frame in SPARSE]
    # Weights 1 and 1/2 on the two frames of the blend: the fourth is all first video.
    assert shown_levels(plan) == [*first[:4], (first[4] + second[1]) // 2, *second[2:5]]


def test_the_same_class_row():
    plan = figure_clip(SAME_CLASS, 3)
    assert [frames.tolist() for frames in plan.frames] == [SPARSE[:3], SPARSE[:5]]
    assert shown_levels(plan) == [*SPARSE[:3], *(100 + frame for frame in SPARSE[:5])]


def test_the_diff_speed_row():
    one_based = speed_change_indices(8, 3, 2.5, rounding=FIGURE.rounding) + 1
    assert one_based.tolist() == [1, 2, 3, 6, 8, 11, 13, 16]
    # Counted from 0, half to even would take the fifth.
    assert (speed_change_indices(8, 3, 2.5) + 1).tolist()[:5] == [1, 2, 3, 5, 8]
    assert 2.5 in FIGURE.speeds and 3 in FIGURE.change_points
    catalog = paper_catalog(80, 80, 80, 80, labels="aabb")
    found = False
    for seed in range(300):
        plan = plan_timeline(DIFF_SPEED, 0, catalog, KINDS, FIGURE, np.random.default_rng(seed))
        if (plan.boundary_frame, plan.speed) == (3, 2.5):
            found = True
            assert (plan.frames[0] - plan.frames[0][0] + 1).tolist() == [1, 2, 3, 6, 8, 11, 13, 16]
    assert found


@pytest.mark.parametrize("kind", [DIFF_CLASS, SAME_CLASS, DIFF_SPEED])
def test_every_kind_draws_its_change_point(kind):
    catalog = paper_catalog(80, 80, 80, 80, labels="aabb")
    plans = [plan_timeline(kind, 0, catalog, KINDS, FIGURE, np.random.default_rng(n)) for n in range(200)]
    assert {plan.boundary_frame for plan in plans} == set(FIGURE.change_points) == {2, 3, 4, 5, 6}
