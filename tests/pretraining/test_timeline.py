"""Clips of every preset: hand-computed frames, what every plan keeps, and that no draw tells the label."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.source_catalogs import paper_catalog

from bsp_hf import BoundaryType, SynthesisConfig
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.drawing.timeline import plan_timeline
from bsp_hf.pretraining.pretexts import BoundaryClassification, make_pretext
from bsp_hf.pretraining.synthesis import plan_boundary, render_clip
from bsp_hf.pretraining.synthesis_config import TRANSITIONS

DIFF_CLASS, SAME_CLASS, DIFF_SPEED, SAME_SPEED = BoundaryType
KINDS = (DIFF_CLASS, SAME_CLASS)
DRAWN = {name: config for name, config in SYNTHESIS_PRESETS.items() if not config.is_consecutive}
ROBUST = SYNTHESIS_PRESETS["robust"]


def plans_of(config, kind, lengths=(80, 60, 70, 90), num=200, labels="aabb"):
    catalog = paper_catalog(*lengths, labels=labels)
    return [
        plan_timeline(kind, seed % len(lengths), catalog, KINDS, config, np.random.default_rng(seed))
        for seed in range(num)
    ]


# The presets


def test_every_preset_is_named_and_survives_its_record():
    assert list(SYNTHESIS_PRESETS) == ["figure", "text", "robust", "consecutive"]
    for name, config in SYNTHESIS_PRESETS.items():
        assert config.preset == name
        assert SynthesisConfig.from_dict(config.to_dict()) == config
        assert config.is_consecutive == (name == "consecutive")
    assert SYNTHESIS_PRESETS["consecutive"] == SynthesisConfig()


def test_consecutive_is_drawn_as_before_there_were_presets():
    config, catalog = SynthesisConfig(), paper_catalog(40, 50, 60, 45, labels="aabb")
    pretext = make_pretext("boundary", config)
    # Written down before there were presets: seed 7, sources of 40, 50, 60 and 45 frames.
    expected = {
        DIFF_CLASS: [(1, 3), [[30, 31, 32, 33, 34], [31, 32, 33, 34, 35]], 4, 1.0],
        SAME_CLASS: [(1, 0), [[34, 35, 36, 37], [21, 22, 23, 24]], 4, 1.0],
        DIFF_SPEED: [(1,), [[26, 27, 28, 29, 30, 31, 34, 37]], 6, 3.0],
        SAME_SPEED: [(1,), [[30, 31, 32, 33, 34, 35, 36, 37]], 0, 1.0],
    }
    for kind in BoundaryType:
        partners = {DIFF_CLASS: catalog.other_classes(1), SAME_CLASS: catalog.same_class(1)}.get(kind, [])
        direct = plan_boundary(kind, 1, partners, catalog.lengths, config, np.random.default_rng(7))
        plan = pretext.plan(int(kind), 1, catalog, np.random.default_rng(7))
        for found in (plan, direct):
            frames = [part.tolist() for part in found.frames]
            assert [found.sources, frames, found.boundary_frame, found.speed] == expected[kind]
            assert not found.cuts and not found.views


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first_index": 2}, "first_index=2 must be one of 0, 1"),
        ({"rounding": "down"}, "rounding='down'"),
        ({"class_sampling": "dense"}, "class_sampling='dense'"),
        ({"segment_place": "end"}, "segment_place='end'"),
        ({"action_sampling": "clip_segments"}, "action_sampling"),
        ({"transitions": ("hard", "iris")}, r"transitions=\('hard', 'iris'\) may hold hard, fade"),
        ({"transition_half_widths": (0,)}, "transition_half_widths"),
        ({"max_spacing": -1}, "max_spacing=-1"),
        ({"max_spacing": 8, "class_sampling": "segments"}, "max_spacing=8"),
        ({"max_spacing": 1}, "max_spacing=1 is too small"),
        ({"max_spacing": 8, "frame_stride": 2}, "max_spacing=8 draws what frame_stride=2 sets"),
        ({"jump_counts": (0, 6)}, "jump_counts"),
        ({"jump_counts": (-1,)}, "jump_counts"),
        ({"num_changes": 2}, "num_changes=2 needs max_spacing"),
        ({"num_changes": 0}, "num_changes=0"),
        ({"partner_choice": "near"}, "partner_choice='near'"),
        ({"num_alike": 0}, "num_alike=0"),
        ({"ramp_epochs": -1.0}, "ramp_epochs"),
        ({"draws_change_point": True, "blend_half_width": 3}, "draws_change_point needs blend_half_width=3"),
    ],
)
def test_contradictory_fields_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        SynthesisConfig(**fields)


@pytest.mark.parametrize(
    ("name", "shortest"),
    # One frame more than 8 segments, and t = 2 at gamma 1.5: 1-based 2 + 1.5 * 6 = 11; the whole clip at two
    # frames a step: 0, 2 .. 14.
    [("figure", 11), ("text", 9), ("robust", 15), ("consecutive", 14)],
)
def test_shortest_source_by_hand(name, shortest):
    assert SYNTHESIS_PRESETS[name].min_source_frames == shortest


# Frames by hand


def test_text_takes_tau_and_epsilon_frames_from_segments_of_both_videos():
    config = SYNTHESIS_PRESETS["text"].for_evaluation()
    for kind, frames in ((DIFF_CLASS, [6, 18, 30, 42, 54]), (SAME_CLASS, [7, 22, 37, 52])):
        # 60 frames in segments of 12 or 15, the middle of each.
        for plan in plans_of(config, kind, lengths=(60, 60, 60, 60), num=20):
            assert [part.tolist() for part in plan.frames] == [frames, frames]
            assert plan.boundary_frame == 4
            assert [(cut.frame, cut.half_width) for cut in plan.cuts] == [(4, 1 if kind is DIFF_CLASS else 0)]


def test_text_blends_as_equation_1_prints_it():
    (plan,) = plans_of(SYNTHESIS_PRESETS["text"].for_evaluation(), DIFF_CLASS, num=1)
    first = np.array([0, 10, 20, 30, 40], np.uint8)
    parts = [np.broadcast_to((level + first)[:, None, None, None], (5, 2, 2, 3)) for level in (0, 100)]
    assert render_clip(plan, parts)[:, 0, 0, 0].tolist() == [0, 10, 20, 65, 110, 120, 130, 140]


def test_speed_rows_of_figure_and_text_are_consecutive():
    for name in ("figure", "text"):
        for plan in plans_of(SYNTHESIS_PRESETS[name], SAME_SPEED, num=50):
            assert (np.diff(plan.frames[0]) == 1).all()
        for plan in plans_of(SYNTHESIS_PRESETS[name], DIFF_SPEED, num=50):
            assert (np.diff(plan.frames[0][: plan.boundary_frame]) == 1).all()


def test_one_spacing_holds_for_both_videos_of_a_boundary():
    for kind in (*KINDS, SAME_SPEED):
        for plan in plans_of(ROBUST, kind, num=100):
            for frames in plan.frames:
                if len(frames) > 1:
                    assert np.abs(np.diff(frames) - plan.spacing).max() <= 1


def test_a_change_of_speed_has_its_ratio_and_either_side_may_be_the_faster():
    config = replace(ROBUST, jump_counts=())
    faster = []
    for plan in plans_of(config, DIFF_SPEED, lengths=(900, 900, 900, 900)):
        t, (frames,) = plan.boundary_frame, plan.frames
        first = (frames[t - 1] - frames[0]) / (t - 1)
        second = (frames[-1] - frames[t - 1]) / (8 - t)
        assert abs(first - plan.spacing) <= 1 and abs(second - plan.spacing * plan.speed) <= 1
        assert min(abs(plan.speed - s) for s in (2, 3, 4, 1 / 2, 1 / 3, 1 / 4)) < 1e-9
        faster.append(plan.speed > 1)
    assert 0.35 < np.mean(faster) < 0.65


# What every plan keeps

drawn_settings = st.builds(
    lambda name, jumps, transitions, changes, alike, draws: replace(
        DRAWN[name],
        jump_counts=jumps,
        transitions=transitions,
        num_changes=changes if DRAWN[name].max_spacing else 1,
        partner_choice="alike" if alike else "random",
        draws_change_point=draws,
    ),
    name=st.sampled_from(sorted(DRAWN)),
    jumps=st.sampled_from([(), (0, 1, 2), (3,), (5,)]),
    transitions=st.sampled_from([(), TRANSITIONS, ("hard",), ("fade", "wipe")]),
    changes=st.integers(1, 4),
    alike=st.booleans(),
    draws=st.booleans(),
)


@settings(deadline=None, max_examples=300)
@given(
    config=drawn_settings,
    kind=st.sampled_from(BoundaryType),
    extra=st.lists(st.integers(0, 80), min_size=5, max_size=5),
    seed=st.integers(0, 9999),
)
def test_every_plan_lies_inside_its_sources_and_makes_a_whole_clip(config, kind, extra, seed):
    lengths = [config.min_source_frames + more for more in extra]
    catalog = paper_catalog(*lengths, labels="aabbb")
    plan = plan_timeline(kind, 0, catalog, KINDS, config, np.random.default_rng(seed))
    again = plan_timeline(kind, 0, catalog, KINDS, config, np.random.default_rng(seed))
    assert plan.sources == again.sources and plan.cuts == again.cuts and plan.views == again.views
    for source, frames, same in zip(plan.sources, plan.frames, again.frames, strict=True):
        assert frames.dtype == np.int64 and (frames == same).all()
        assert frames.min() >= 0 and frames.max() < lengths[source]
        assert (np.diff(frames) >= 0).all()
    assert len(plan.cuts) == len(plan.sources) - 1
    assert len(plan.views) == (len(plan.sources) if config.jump_counts else 0)

    parts = [np.zeros((len(frames), 8, 8, 3), np.uint8) + source for source, frames in
             zip(plan.sources, plan.frames, strict=True)]  # fmt: skip
    clip = render_clip(replace(plan, views=()), parts)
    assert clip.shape == (8, 8, 8, 3)
    # Outside the transitions, every frame is the source's that the cuts say.
    for frame in range(8):
        near = [cut for cut in plan.cuts if abs(frame + 0.5 - cut.frame) < cut.half_width]
        if not near:
            shot = sum(cut.frame <= frame for cut in plan.cuts)
            assert (clip[frame] == plan.sources[shot]).all()

    labels = [catalog.sources[source].label for source in plan.sources]
    switches = [(a, b) for a, b in zip(plan.sources, plan.sources[1:], strict=False) if a != b]
    if kind in KINDS:
        assert plan.boundary_frame in config.change_points
        (cut,) = [cut for cut in plan.cuts if cut.frame == plan.boundary_frame]
        shot = plan.cuts.index(cut)
        assert (labels[shot] == labels[shot + 1]) == (kind is SAME_CLASS)
        assert plan.sources[shot] != plan.sources[shot + 1]
        if kind is SAME_CLASS:
            assert set(labels) == {"a"}
    else:
        assert not switches and set(plan.sources) == {0}
        assert (plan.boundary_frame > 0) == (kind is DIFF_SPEED)


@settings(deadline=None, max_examples=100)
@given(config=drawn_settings, difficulty=st.floats(0, 1), seed=st.integers(0, 999))
def test_easing_only_switches_closings_off(config, difficulty, seed):
    eased = config.ease(difficulty, np.random.default_rng(seed))
    assert eased.min_source_frames <= config.min_source_frames or not config.max_spacing
    for name, off in {
        "max_spacing": 0,
        "draws_change_point": False,
        "jump_counts": (),
        "partner_choice": "random",
        "num_changes": 1,
    }.items():
        assert getattr(eased, name) in (off, getattr(config, name))
    unchanged = ("half_length", "speeds", "transitions", "class_sampling", "preset", "first_index")
    assert all(getattr(eased, name) == getattr(config, name) for name in unchanged)
    assert config.ease(1.0, np.random.default_rng(seed)) == config


def test_sources_that_suffice_at_the_end_of_a_ramp_suffice_at_its_start():
    for config in SYNTHESIS_PRESETS.values():
        assert config.ease(0.0, np.random.default_rng(0)).min_source_frames <= config.min_source_frames


# Nothing drawn tells the label


def test_the_anchors_window_and_first_spacing_are_the_same_for_every_label():
    catalog = paper_catalog(80, 60, 70, 90, labels="aabb")
    for seed in range(200):
        plans = [
            plan_timeline(kind, 0, catalog, KINDS, ROBUST, np.random.default_rng(seed))
            for kind in BoundaryType
        ]
        assert len({plan.window for plan in plans}) == 1
        assert len({plan.spacing for plan in plans}) == 1


def test_spacing_reaches_as_far_as_the_source_allows_and_the_partner():
    spacings = [plan.spacing for plan in plans_of(ROBUST, SAME_SPEED, lengths=(210, 200, 220, 230), num=600)]
    # 199 steps in 7: the partners of the other class are the longer ones.
    assert min(spacings) >= 1 and max(spacings) <= 29 and max(spacings) > 24
    assert np.median(spacings) < 8  # log-uniform
    short_partner = paper_catalog(210, 22, 220, 230, labels="aabb")
    for seed in range(100):
        plan = plan_timeline(SAME_SPEED, 0, short_partner, KINDS, ROBUST, np.random.default_rng(seed))
        assert plan.spacing <= 3  # 21 frames in 7 steps, for the sake of same-class


def test_transitions_and_jumps_are_drawn_alike_for_both_class_boundaries():
    counts = {}
    for kind in KINDS:
        plans = plans_of(ROBUST, kind, num=1500)
        at_boundary = [next(c for c in plan.cuts if c.frame == plan.boundary_frame) for plan in plans]
        counts[kind] = {
            name: np.mean([cut.transition == name for cut in at_boundary]) for name in TRANSITIONS
        } | {"jumps": np.mean([len(plan.cuts) for plan in plans])}
        assert {cut.frame for cut in at_boundary} == set(ROBUST.change_points)
    for name, share in counts[DIFF_CLASS].items():
        assert share > 0.1 and abs(share - counts[SAME_CLASS][name]) < 0.06


@pytest.mark.parametrize("kind", BoundaryType)
def test_jumps_are_counted_as_asked(kind):
    shares = np.bincount([len(plan.cuts) for plan in plans_of(ROBUST, kind, num=1000)], minlength=3) / 1000
    # 0, 1, 1, 2 of equal chance; a class boundary is at least one.
    expected = [0, 0.75, 0.25] if kind in KINDS else [0.25, 0.5, 0.25]
    np.testing.assert_allclose(shares, expected, atol=0.06)


def test_every_shot_has_a_view_of_its_own_whatever_the_label():
    for kind in BoundaryType:
        for plan in plans_of(ROBUST, kind, num=50):
            assert len(set(plan.views)) == len(plan.sources)


# Partners that look alike


def test_similar_partners_are_the_nearest_and_as_far_for_both_kinds():
    rng = np.random.default_rng(0)
    labels = "".join(rng.permutation(list("aaaaabbbbbcccccddddd" * 3)))
    catalog = paper_catalog(*[60] * 60, labels=labels, seed=3)
    config = replace(ROBUST, num_alike=4)
    distances = {kind: [] for kind in KINDS}
    for seed in range(400):
        for kind in KINDS:
            plan = plan_timeline(kind, seed % 60, catalog, KINDS, config, np.random.default_rng(seed))
            partner = next(source for source in plan.sources if source != seed % 60)
            distances[kind].append(catalog.distances(seed % 60, np.array([partner]))[0])
            others = catalog.other_classes(seed % 60)
            nearest = others[np.argsort(catalog.distances(seed % 60, others))[:4]]
            if kind is DIFF_CLASS:
                assert partner in nearest
    alike, anywhere = np.mean(distances[DIFF_CLASS]), np.mean(
        [catalog.distances(n, catalog.other_classes(n)).mean() for n in range(60)]
    )  # fmt: skip
    assert alike < 0.9 * anywhere
    assert abs(np.mean(distances[SAME_CLASS]) - alike) < 0.1 * alike


def test_looks_must_be_known_for_similar_partners():
    catalog = paper_catalog(60, 60, 60, 60, labels="aabb")
    catalog.appearance = None
    with pytest.raises(ValueError, match="need a catalog with appearance"):
        plan_timeline(DIFF_CLASS, 0, catalog, KINDS, ROBUST, np.random.default_rng(0))


def test_a_task_of_speeds_alone_needs_no_partners():
    pretext = BoundaryClassification(ROBUST, (DIFF_SPEED, SAME_SPEED))
    catalog = paper_catalog(60, 60, labels="  ")
    for case in range(2):
        plan = pretext.plan(case, 0, catalog, np.random.default_rng(0))
        assert set(plan.sources) == {0}


def test_clips_of_one_shot_stay_one_under_every_preset():
    for config in SYNTHESIS_PRESETS.values():
        for task in ("arrow-of-time", "action", "speed"):
            pretext = make_pretext(task, config, ("a", "b"))
            catalog = paper_catalog(60, 60, 60, 60, labels="aabb")
            for case in range(pretext.num_cases):
                plan = pretext.plan(case, 0, catalog, np.random.default_rng(0))
                assert len(plan.frames) == 1 and len(plan.frames[0]) == 8
