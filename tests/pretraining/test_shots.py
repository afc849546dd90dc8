"""Joins and views of shots against levels worked out by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.equation_1 import join_different_classes, join_same_class

from bsp_hf.pretraining.shots.transitions import Cut, join_shots, mix_frames
from bsp_hf.pretraining.shots.views import View, draw_view
from bsp_hf.pretraining.synthesis_config import TRANSITIONS


def gray(*levels: int, size: int = 4) -> np.ndarray:
    return np.zeros((len(levels), size, size, 3), np.uint8) + np.array(levels, np.uint8)[:, None, None, None]


def levels(frames: np.ndarray) -> list[int]:
    assert (frames == frames[:, :1, :1, :1]).all()
    return frames[:, 0, 0, 0].tolist()


def test_three_shots_are_joined_in_order():
    parts = [gray(1, 2, 3), gray(100, 104, 108, 112), gray(9, 8)]
    # A fade of half width 1 around frame 2 (half of 2 and 100, then 104), a hard cut in front of frame 5.
    clip = join_shots([parts[0], parts[1], parts[2]], [Cut(2, 1, "fade"), Cut(5, 0)])
    assert levels(clip) == [1, 51, 104, 108, 112, 9, 8]


@given(half=st.integers(1, 5), epsilon=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_fade_in_the_middle_is_that_of_equation_1(half, epsilon, seed):
    epsilon = min(epsilon, half)
    first, second = np.random.default_rng(seed).integers(0, 256, (2, half + epsilon, 2, 2, 3), dtype=np.uint8)
    joined = join_shots([first, second], [Cut(half, epsilon, "fade")])
    np.testing.assert_array_equal(joined, join_different_classes(first, second, epsilon))
    if epsilon == 0:
        np.testing.assert_array_equal(joined, join_same_class(first, second))


@pytest.mark.parametrize(("first_index", "expected"), [(1, [75, 50, 25, 0]), (0, [100, 75, 50, 25])])
def test_figure_2_counts_from_0_and_blends_a_frame_later(first_index, expected):
    mixed = mix_frames(gray(*[100] * 4), gray(*[0] * 4), Cut(4, 2, "fade", first_index))
    assert levels(mixed) == expected


@pytest.mark.parametrize(
    ("seed", "at_a_quarter"),
    [(0, np.s_[:, :1]), (1, np.s_[:, 3:]), (2, np.s_[:1]), (3, np.s_[3:])],
)
def test_a_wipe_comes_from_its_side(seed, at_a_quarter):
    mixed = mix_frames(gray(*[10] * 4), gray(*[90] * 4), Cut(4, 2, "wipe", seed=seed))
    expected = gray(10)[0]
    expected[at_a_quarter] = 90
    np.testing.assert_array_equal(mixed[0], expected)
    assert [(frame == 90).mean() for frame in mixed] == [0.25, 0.5, 0.75, 1]


def test_a_dissolve_replaces_more_and_more_pixels():
    mixed = mix_frames(gray(*[10] * 4, size=40), gray(*[90] * 4, size=40), Cut(4, 2, "dissolve", seed=5))
    is_new = (mixed == 90)[..., 0]
    assert set(np.unique(mixed)) == {10, 90}
    np.testing.assert_allclose(is_new.mean((1, 2)), [0.25, 0.5, 0.75, 1], atol=0.05)
    for before, after in itertools.pairwise(is_new):
        assert (after | ~before).all()
    other = mix_frames(gray(*[10] * 4, size=40), gray(*[90] * 4, size=40), Cut(4, 2, "dissolve", seed=6))
    assert (other != mixed).any()


def test_a_zoom_moves_into_the_first_shot():
    first = np.zeros((2, 8, 8, 3), np.uint8)
    first[:, 2:6, 2:6] = 200
    mixed = mix_frames(first, np.zeros_like(first), Cut(4, 1, "zoom"))
    # Half way the middle square is 1.5 times as large, and half as bright; at the end nothing of it is left.
    assert (mixed[0, 1:7, 1:7] == 100).all() and mixed[0, 0].max() == 0
    assert mixed[1].max() == 0


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_every_transition_ends_with_the_second_shot(transition):
    mixed = mix_frames(gray(*[10] * 6), gray(*[90] * 6), Cut(4, 3, transition, seed=1))
    assert mixed.dtype == np.uint8 and mixed.shape == (6, 4, 4, 3)
    assert levels(mixed[-1:]) == [90]
    assert mixed.min() >= 10 and mixed.max() <= 90


@pytest.mark.parametrize(
    ("parts", "cuts", "message"),
    [
        ([gray(1), gray(2)], [], "2 shots need 1 cuts, got 0"),
        ([gray(1), gray(2, size=2)], [Cut(1)], "one size"),
        ([gray(1, 2), gray(3, 4)], [Cut(1)], "cut at frame 1"),
        ([gray(1, 2), gray(3)], [Cut(1, 1, "fade")], "cut at frame 1 with half width 1"),
    ],
)
def test_what_does_not_fit_is_refused(parts, cuts, message):
    with pytest.raises(ValueError, match=message):
        join_shots(parts, cuts)


# Views


def test_a_view_shows_its_part_of_the_picture():
    frames = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    assert (View().apply(frames) == frames).all()
    flipped = View(is_flipped=True).apply(frames)
    assert flipped[0, 0, :, 0].tolist() == [3, 2, 1, 0]
    # The lower right quarter, enlarged.
    part = View(zoom=0.5, place=(1.0, 1.0)).apply(frames)
    assert part.shape == frames.shape
    assert part.min() == 10 and part.max() == 15
    tinted = View(gains=(0.5, 1.0, 40.0)).apply(frames)
    assert tinted[0, 3, 3].tolist() == [8, 15, 255]
    assert frames[0, 3, 3].tolist() == [15, 15, 15]


def test_drawn_views_differ_and_stay_in_their_range():
    rng = np.random.default_rng(0)
    views = [draw_view(rng) for _ in range(200)]
    assert len(set(views)) == 200
    for view in views:
        assert 0.5 <= view.zoom <= 1 and all(0 <= place <= 1 for place in view.place)
        assert all(0.6 < gain < 1.65 for gain in view.gains)
    assert 0.4 < np.mean([view.is_flipped for view in views]) < 0.6
    clip = views[0].apply(np.full((3, 20, 30, 3), 100, np.uint8))
    assert clip.shape == (3, 20, 30, 3) and (clip[0] == clip[2]).all()
