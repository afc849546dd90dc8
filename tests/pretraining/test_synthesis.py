"""Eq. 1-3 of the paper against numbers worked out by hand, and what must hold for any settings."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.equation_1 import blend_weights

from bsp_hf import BoundaryType
from bsp_hf.pretraining.synthesis import (
    ClipPlan,
    plan_boundary,
    render_clip,
    speed_change_indices,
)
from bsp_hf.pretraining.synthesis_config import SynthesisConfig, speed_change_span

DIFF_CLASS, SAME_CLASS, DIFF_SPEED, SAME_SPEED = BoundaryType


def gray_frames(*levels: int) -> np.ndarray:
    """One 2 x 3 picture of each gray level."""
    return np.full((len(levels), 2, 3, 3), 0, np.uint8) + np.array(levels, np.uint8)[:, None, None, None]


def join_different_classes(first: np.ndarray, second: np.ndarray, epsilon: int) -> np.ndarray:
    plan = ClipPlan((0, 1), (np.arange(len(first)), np.arange(len(second))), blend_half_width=epsilon)
    return render_clip(plan, [first, second])


def join_same_class(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return join_different_classes(first, second, 0)


def gray_levels(frames: np.ndarray) -> list[int]:
    assert (frames == frames[:, :1, :1, :1]).all()
    return frames[:, 0, 0, 0].tolist()


# Eq. 1


@pytest.mark.parametrize(
    ("tau", "epsilon", "first"),
    [
        (5, 0, []),
        (1, 1, [1 / 2, 0]),
        (4, 1, [1 / 2, 0]),
        (4, 2, [3 / 4, 2 / 4, 1 / 4, 0]),
        (3, 3, [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]),
        (8, 4, [7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0]),
    ],
)
def test_blend_weights_are_those_of_equation_1(tau, epsilon, first):
    omega_1, omega_2 = blend_weights(tau, epsilon)
    assert omega_1.dtype == omega_2.dtype == np.float32
    np.testing.assert_allclose(omega_1, first, atol=1e-7)
    np.testing.assert_allclose(omega_2, [1 - weight for weight in first], atol=1e-7)


@pytest.mark.parametrize(
    ("epsilon", "first", "second", "expected"),
    [
        # tau = 4. Frame 4 is half of f_1,4 = 30 and half of f_2,1 = 100; frame 5 is all f_2,2.
        (1, [0, 10, 20, 30, 40], [100, 110, 120, 130, 140], [0, 10, 20, 65, 110, 120, 130, 140]),
        # 3/4 20 + 1/4 100, 1/2 30 + 1/2 110, 1/4 40 + 3/4 120, 130.
        (
            2,
            [0, 10, 20, 30, 40, 50],
            [100, 110, 120, 130, 140, 150],
            [0, 10, 40, 70, 100, 130, 140, 150],
        ),
        # tau = 2, the whole clip is a transition: 3/4 0 + 1/4 200, 1/2 40 + 1/2 220, 1/4 80 + 3/4 240, 252.
        (2, [0, 40, 80, 120], [200, 220, 240, 252], [50, 130, 200, 252]),
        # tau = 1: halves are rounded to even, 1/2 1 + 1/2 2.
        (1, [1, 9], [2, 7], [2, 7]),
        (1, [0, 9], [1, 7], [0, 7]),
        (0, [1, 2], [8, 9], [1, 2, 8, 9]),
    ],
)
def test_different_classes_are_cross_faded_by_hand_computed_levels(epsilon, first, second, expected):
    clip = join_different_classes(gray_frames(*first), gray_frames(*second), epsilon)
    assert clip.dtype == np.uint8
    assert gray_levels(clip) == expected


@st.composite
def two_parts(draw):
    tau = draw(st.integers(1, 9))
    epsilon = draw(st.integers(0, tau))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    first, second = rng.integers(0, 256, (2, tau + epsilon, 2, 2, 3), dtype=np.uint8)
    return tau, epsilon, first, second


@settings(deadline=None)
@given(two_parts())
def test_cross_fade_touches_only_the_middle_and_stays_between_both_videos(parts):
    tau, epsilon, first, second = parts
    clip = join_different_classes(first, second, epsilon)
    assert clip.shape == (2 * tau, *first.shape[1:])
    np.testing.assert_array_equal(clip[: tau - epsilon], first[: tau - epsilon])
    np.testing.assert_array_equal(clip[tau + epsilon :], second[2 * epsilon :])
    middle = clip[tau - epsilon : tau + epsilon]
    faded_out, faded_in = first[tau - epsilon :], second[: 2 * epsilon]
    assert (middle >= np.minimum(faded_out, faded_in)).all()
    assert (middle <= np.maximum(faded_out, faded_in)).all()

    omega_1, omega_2 = blend_weights(tau, epsilon)
    np.testing.assert_allclose(omega_1 + omega_2, 1, atol=1e-6)
    assert (np.diff(omega_1) < 0).all() and (omega_1 >= 0).all()
    # The equation in exact fractions, one pixel.
    for i in range(tau - epsilon + 1, tau + epsilon + 1):
        weight = Fraction(tau + epsilon - i, 2 * epsilon)
        exact = weight * int(first[i - 1, 0, 0, 0]) + (1 - weight) * int(
            second[i - 1 - tau + epsilon, 0, 0, 0]
        )
        assert abs(int(clip[i - 1, 0, 0, 0]) - exact) <= Fraction(501, 1000)


@settings(deadline=None)
@given(two_parts())
def test_no_cross_fade_is_the_concatenation_of_equation_2(parts):
    tau, _, first, second = parts
    np.testing.assert_array_equal(
        join_different_classes(first[:tau], second[:tau], 0), np.concatenate([first[:tau], second[:tau]])
    )


def test_joining_leaves_its_inputs_alone():
    first, second = gray_frames(0, 10, 20), gray_frames(100, 110, 120)
    clip = join_different_classes(first, second, 1)
    clip[:] = 7
    joined = join_same_class(first, second)
    joined[:] = 7
    assert gray_levels(first) == [0, 10, 20] and gray_levels(second) == [100, 110, 120]


# Eq. 2


def test_same_class_puts_one_video_behind_the_other():
    assert gray_levels(join_same_class(gray_frames(1, 2, 3), gray_frames(9, 8, 7))) == [1, 2, 3, 9, 8, 7]


# Eq. 3


@pytest.mark.parametrize(
    ("num_frames", "t", "gamma", "stride", "expected"),
    [
        (8, 4, 2, 1, [0, 1, 2, 3, 5, 7, 9, 11]),
        (8, 2, 3, 1, [0, 1, 4, 7, 10, 13, 16, 19]),
        (4, 1, 4, 1, [0, 4, 8, 12]),
        (8, 8, 4, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
        # 1-based 1 2 3 4.5 6 7.5 9 10.5: halves go to the even 0-based frame.
        (8, 3, 1.5, 1, [0, 1, 2, 4, 5, 6, 8, 10]),
        # gamma < 1 repeats frames: 1-based 4.5 5 5.5 6 and 3.25 3.5 3.75.
        (8, 4, 0.5, 1, [0, 1, 2, 3, 4, 4, 4, 5]),
        (6, 3, 0.25, 1, [0, 1, 2, 2, 2, 3]),
        # With a stride the same positions count in steps of it.
        (6, 2, 2, 2, [0, 2, 6, 10, 14, 18]),
        (6, 2, 0.5, 2, [0, 2, 3, 4, 5, 6]),
        (4, 1, 1 / 3, 3, [0, 1, 2, 3]),
    ],
)
def test_speed_change_takes_the_frames_of_equation_3(num_frames, t, gamma, stride, expected):
    indices = speed_change_indices(num_frames, t, gamma, stride)
    assert indices.dtype == np.int64
    assert indices.tolist() == expected


@pytest.mark.parametrize(
    ("num_frames", "t", "gamma", "stride", "span"),
    [(8, 4, 2, 1, 12), (8, 2, 3, 1, 20), (8, 4, 0.5, 1, 8), (6, 2, 2, 2, 19), (6, 2, 0.5, 2, 11)],
)
def test_span_covers_the_changed_clip_and_its_unchanged_twin(num_frames, t, gamma, stride, span):
    assert speed_change_span(num_frames, t, gamma, stride) == span


@settings(deadline=None)
@given(
    num_frames=st.integers(1, 32),
    position=st.floats(0, 1),
    gamma=st.one_of(st.floats(0.05, 0.99), st.floats(1.01, 8)),
    stride=st.integers(1, 5),
)
def test_speed_change_keeps_the_start_and_the_order_and_its_span(num_frames, position, gamma, stride):
    t = 1 + round(position * (num_frames - 1))
    indices = speed_change_indices(num_frames, t, gamma, stride)
    np.testing.assert_array_equal(indices[:t], stride * np.arange(t))
    assert (np.diff(indices) >= 0).all()
    assert indices.max() < speed_change_span(num_frames, t, gamma, stride)
    # Nearest frame: never more than half a frame from the equation's position.
    exact = [stride * (t + gamma * (i - t) - 1) for i in range(t + 1, num_frames + 1)]
    assert np.abs(indices[t:] - np.array(exact)).max(initial=0) <= 0.5 + 1e-9
    if gamma > 1:
        assert len(set(indices.tolist())) == num_frames


@pytest.mark.parametrize("gamma", [0, -1, math.inf, math.nan])
def test_impossible_speeds_are_refused(gamma):
    with pytest.raises(ValueError, match="speed"):
        speed_change_indices(8, 4, gamma)
    with pytest.raises(ValueError, match="speeds"):
        SynthesisConfig(speeds=(2, gamma))


@pytest.mark.parametrize("t", [0, 9, -1])
def test_change_point_outside_the_clip_is_refused(t):
    with pytest.raises(ValueError, match=f"change_point={t} must be between 1 and num_frames=8"):
        speed_change_indices(8, t, 2)


@pytest.mark.parametrize(("tau", "epsilon"), [(0, 0), (4, -1), (4, 5)])
def test_impossible_cross_fades_are_refused(tau, epsilon):
    with pytest.raises(ValueError, match="half_length"):
        SynthesisConfig(half_length=tau, blend_half_width=epsilon)


def test_parts_of_different_shape_are_refused():
    frames = (np.arange(2), np.arange(2))
    with pytest.raises(ValueError, match="cut at frame 2 with half width 0 does not fit"):
        plan = ClipPlan((0, 1), frames, boundary_frame=2)
        render_clip(plan, [gray_frames(1, 2, 3), gray_frames(1, 2)])
    with pytest.raises(ValueError, match="one size"):
        join_same_class(gray_frames(1, 2), gray_frames(1, 2)[:, :1])
    with pytest.raises(ValueError, match="one size"):
        join_different_classes(gray_frames(1, 2), gray_frames(1, 2)[:, :1], 1)


# Settings


@pytest.mark.parametrize(
    "fields",
    [
        {"half_length": 0},
        {"blend_half_width": 5},
        {"blend_half_width": -1},
        {"speeds": ()},
        {"speeds": (1.0,)},
        {"speeds": (2.0, 0.0)},
        {"min_side_frames": 0},
        {"min_side_frames": 5},
        {"frame_stride": 0},
    ],
)
def test_contradictory_settings_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        SynthesisConfig(**fields)


def test_settings_survive_their_dict_form():
    config = SynthesisConfig(
        half_length=6, blend_half_width=2, speeds=(0.5, 3), min_side_frames=1, frame_stride=2
    )
    values = config.to_dict()
    old = ("half_length", "blend_half_width", "speeds", "min_side_frames", "frame_stride")
    assert {name: values[name] for name in old} == {
        "half_length": 6,
        "blend_half_width": 2,
        "speeds": [0.5, 3.0],
        "min_side_frames": 1,
        "frame_stride": 2,
    }
    # What was saved before there were presets holds these alone, and is the rule called consecutive.
    assert SynthesisConfig.from_dict({name: values[name] for name in old}) == config
    assert config.is_consecutive and values["preset"] == "consecutive"
    assert SynthesisConfig.from_dict(values) == config
    assert SynthesisConfig.from_dict(json.loads(json.dumps(values))) == config
    with pytest.raises(ValueError, match="gamma"):
        SynthesisConfig.from_dict({**values, "gamma": 2})


@pytest.mark.parametrize(
    ("fields", "change_points", "min_source_frames"),
    [
        # t = 2 at gamma 2: frame 2 + 2 * 6 = 14 of the source.
        ({}, [2, 3, 4, 5, 6], 14),
        ({"speeds": (3,)}, [2, 3, 4, 5, 6], 20),
        ({"min_side_frames": 4}, [4], 12),
        # A slow-down never needs more than the clip at the original rate.
        ({"speeds": (0.5, 4)}, [2, 3, 4, 5, 6], 8),
        ({"frame_stride": 2}, [2, 3, 4, 5, 6], 27),
        ({"half_length": 2, "min_side_frames": 1}, [1, 2, 3], 7),
    ],
)
def test_change_points_and_shortest_source_by_hand(fields, change_points, min_source_frames):
    config = SynthesisConfig(**fields)
    assert list(config.change_points) == change_points
    assert config.min_source_frames == min_source_frames


# Plans

plan_settings = st.builds(
    lambda tau, epsilon, side, speeds, stride: SynthesisConfig(
        tau, min(epsilon, tau), tuple(speeds), min(side, tau), stride
    ),
    tau=st.integers(1, 8),
    epsilon=st.integers(0, 8),
    side=st.integers(1, 8),
    speeds=st.lists(st.floats(0.2, 6).filter(lambda speed: speed != 1), min_size=1, max_size=3),
    stride=st.integers(1, 4),
)


@settings(deadline=None, max_examples=200)
@given(
    config=plan_settings,
    kind=st.sampled_from(BoundaryType),
    extra=st.integers(0, 60),
    seed=st.integers(0, 999),
)
def test_every_plan_lies_inside_its_sources_and_makes_a_whole_clip(config, kind, extra, seed):
    lengths = [config.min_source_frames + extra, config.min_source_frames, config.min_source_frames + 7]
    plan = plan_boundary(kind, 0, [1, 2], lengths, config, np.random.default_rng(seed))
    for source, frames in zip(plan.sources, plan.frames, strict=True):
        assert frames.dtype == np.int64
        assert frames.min() >= 0 and frames.max() < lengths[source]
        assert (np.diff(frames) >= 0).all()
        if min(config.speeds) >= 1:
            assert len(set(frames.tolist())) == len(frames)
    # Frames painted with their source and number come out in the equations' order.
    parts = [
        np.stack([np.full_like(frames, source), frames], axis=1).astype(np.uint8).reshape(-1, 1, 2, 1)
        for source, frames in zip(plan.sources, plan.frames, strict=True)
    ]
    clip = render_clip(plan, parts)
    assert clip.shape == (config.num_frames, 1, 2, 1)

    tau, epsilon = config.half_length, config.blend_half_width
    if kind in (DIFF_CLASS, SAME_CLASS):
        assert plan.sources[0] == 0 and plan.sources[1] in (1, 2)
        assert (plan.boundary_frame, plan.speed) == (tau, 1.0)
        assert plan.blend_half_width == (epsilon if kind is DIFF_CLASS else 0)
        assert [len(frames) for frames in plan.frames] == [tau + plan.blend_half_width] * 2
        for frames in plan.frames:
            assert (np.diff(frames) == config.frame_stride).all()
    else:
        assert plan.sources == (0,) and len(plan.frames[0]) == config.num_frames
        steps = np.diff(plan.frames[0])
        if kind is SAME_SPEED:
            assert (plan.boundary_frame, plan.speed) == (0, 1.0)
            assert (steps == config.frame_stride).all()
        else:
            t = plan.boundary_frame
            assert t in config.change_points and plan.speed in config.speeds
            expected = speed_change_indices(config.num_frames, t, plan.speed, config.frame_stride)
            np.testing.assert_array_equal(plan.frames[0] - plan.frames[0][0], expected)


def test_same_generator_gives_the_same_plan():
    config = SynthesisConfig()
    for kind in BoundaryType:
        first, second = (
            plan_boundary(kind, 1, [0, 2], [50, 60, 70], config, np.random.default_rng(3)) for _ in range(2)
        )
        assert first.sources == second.sources
        for a, b in zip(first.frames, second.frames, strict=True):
            np.testing.assert_array_equal(a, b)


def test_sources_that_are_too_short_are_refused_by_number():
    config, rng = SynthesisConfig(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="source 1 has 13 frames, but these settings need 14"):
        plan_boundary(SAME_SPEED, 1, [], [50, 13], config, rng)
    with pytest.raises(ValueError, match="source 1 has 4 frames"):
        plan_boundary(DIFF_CLASS, 0, [1], [50, 4], config, rng)


@pytest.mark.parametrize("kind", [DIFF_CLASS, SAME_CLASS])
def test_class_boundary_without_a_partner_is_refused(kind):
    with pytest.raises(ValueError, match=f"no partner for a {kind.label} boundary"):
        plan_boundary(kind, 0, [], [50], SynthesisConfig(), np.random.default_rng(0))


# Nothing but the boundary tells the label


def window_probabilities(config: SynthesisConfig, length: int) -> dict[tuple[int, int], float]:
    """Chance of every (first frame, frames) of the anchor's window, by enumeration of the documented draw."""
    chances: dict[tuple[int, int], float] = {}
    change_points = range(config.min_side_frames, 2 * config.half_length - config.min_side_frames + 1)
    for t in change_points:
        spans = []
        for speed in config.speeds:
            last = round((t + speed * (2 * config.half_length - t) - 1) * config.frame_stride)
            spans.append(max(last, (2 * config.half_length - 1) * config.frame_stride) + 1)
        spans = [span for span in spans if span <= length]
        for span in spans:
            for start in range(length - span + 1):
                chance = 1 / len(change_points) / len(spans) / (length - span + 1)
                chances[start, span] = chances.get((start, span), 0) + chance
    return chances


def first_frame_probabilities(config: SynthesisConfig, length: int, kind: BoundaryType) -> np.ndarray:
    """Chance of every first frame of the anchor."""
    chances = np.zeros(length)
    steps = {DIFF_CLASS: config.half_length + config.blend_half_width, SAME_CLASS: config.half_length}
    for (start, span), chance in window_probabilities(config, length).items():
        if kind is DIFF_SPEED:
            chances[start] += chance
        else:
            used = (steps.get(kind, config.num_frames) - 1) * config.frame_stride + 1
            places = span - used + 1
            chances[start : start + places] += chance / places
    return chances


@pytest.mark.parametrize("kind", BoundaryType)
@pytest.mark.parametrize(
    ("config", "length"),
    [
        (SynthesisConfig(), 17),
        (SynthesisConfig(), 30),
        (SynthesisConfig(speeds=(0.5, 2.5), frame_stride=2), 40),
    ],
)
def test_the_anchors_position_is_drawn_as_documented(kind, config, length):
    num_draws = 1500
    rng = np.random.default_rng(1234)
    firsts = [plan_boundary(kind, 0, [0], [length], config, rng).frames[0][0] for _ in range(num_draws)]
    expected = num_draws * first_frame_probabilities(config, length, kind)
    observed = np.bincount(firsts, minlength=length)
    assert observed[expected == 0].sum() == 0
    likely = expected > 5
    statistic = ((observed - expected)[likely] ** 2 / expected[likely]).sum()
    degrees = likely.sum() - 1
    assert statistic < degrees + 5 * np.sqrt(2 * degrees)


def test_every_label_shows_frames_of_the_same_windows():
    config, length = SynthesisConfig(), 35
    counts: dict[tuple[int, int], int] = {}
    num_draws = 2000
    for seed in range(num_draws):
        plans = {
            kind: plan_boundary(kind, 0, [0], [length], config, np.random.default_rng(seed))
            for kind in BoundaryType
        }
        # A speed change fills its window (all speeds are above 1); the others must stay inside that one.
        start, last = plans[DIFF_SPEED].frames[0][[0, -1]]
        for plan in plans.values():
            assert start <= plan.frames[0].min() and plan.frames[0].max() <= last
        window = (int(start), int(last - start + 1))
        counts[window] = counts.get(window, 0) + 1
    expected = {window: num_draws * chance for window, chance in window_probabilities(config, length).items()}
    assert set(counts) <= set(expected)
    statistic = sum((counts.get(window, 0) - mean) ** 2 / mean for window, mean in expected.items())
    degrees = len(expected) - 1
    assert statistic < degrees + 5 * np.sqrt(2 * degrees)
