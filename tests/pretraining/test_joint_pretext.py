"""Clips with two labels: the boundary type of each, and the action of those that show a single one."""

import pytest
from support.clip_folder import small_extractor, unknown_videos

from bsp_hf import BoundaryType, PretextClips, SynthesisConfig
from bsp_hf.pretraining.pretexts import BoundaryWithAction


def test_every_clip_but_diff_class_names_its_action():
    clips = PretextClips(
        unknown_videos(40, 50, 60, 45),
        BoundaryWithAction(SynthesisConfig(), ("a", "b")),
        small_extractor(),
        case_repeats=[2, 1, 1, 1],
    )
    seen = set()
    for index in range(len(clips)):
        draw = clips.plan(index)
        boundary, action = clips.pretext.target(draw.case, draw.anchor, draw.plan, clips.catalog)
        shown = {clips.catalog.sources[source].label for source in draw.plan.sources}
        assert boundary == draw.case
        assert action == (-100 if len(shown) > 1 else "ab".index(shown.pop()))
        seen.add((BoundaryType(boundary), int(action)))
    assert len(seen) == 1 + 3 * 2
    assert clips.pretext.action_share(clips.cases) == 3 / 5


def test_sources_of_other_actions_are_left_out_and_one_action_is_too_few():
    sources = unknown_videos(40, 50, 60, 45, 40, 40, labels="aabbcc")
    clips = PretextClips(sources, BoundaryWithAction(SynthesisConfig(), ("a", "b")), small_extractor())
    assert clips.left_out == 2
    with pytest.raises(ValueError, match=r"at least two classes, got \['a'\]"):
        BoundaryWithAction(SynthesisConfig(), ("a",))
