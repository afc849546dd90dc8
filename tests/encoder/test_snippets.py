"""Where snippets lie, in frames and in seconds."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from support.snippet_grid import SnippetGrid

from bsp_hf.encoder.snippets import iter_snippets


@dataclass
class Picture:
    image: np.ndarray
    time_s: float


def pictures(times_s):
    return [Picture(np.full((2, 3, 3), i, np.uint8), float(t)) for i, t in enumerate(times_s)]


def windows_of(num_frames, snippet_frames=8, stride_frames=8, padding="repeat"):
    stream = pictures(np.arange(num_frames) / 25)
    snippets = iter_snippets(stream, snippet_frames, stride_frames, frame_duration_s=0.04, padding=padding)
    return [(snippet.start_frame, snippet.end_frame) for snippet in snippets]


def centers_of(times_s, frame_duration_s, snippet_frames=8, stride_frames=8):
    stream = pictures(times_s)
    snippets = iter_snippets(stream, snippet_frames, stride_frames, frame_duration_s=frame_duration_s)
    return [snippet.center_s for snippet in snippets]


# num_frames, snippet_frames, stride_frames -> windows with padding="repeat"; by hand.
REPEAT_TABLE = [
    (0, 8, 8, []),
    (1, 8, 8, [(0, 1)]),
    (7, 8, 8, [(0, 7)]),
    (8, 8, 8, [(0, 8)]),
    (9, 8, 8, [(0, 8), (8, 9)]),
    (16, 8, 8, [(0, 8), (8, 16)]),
    (20, 8, 8, [(0, 8), (8, 16), (16, 20)]),
    # overlapping: a partial window only if it holds a frame that no complete window holds
    (16, 8, 4, [(0, 8), (4, 12), (8, 16)]),
    (17, 8, 4, [(0, 8), (4, 12), (8, 16), (12, 17)]),
    (11, 8, 4, [(0, 8), (4, 11)]),
    (10, 8, 1, [(0, 8), (1, 9), (2, 10)]),
    (3, 8, 1, [(0, 3)]),
    # gaps between windows: frames in a gap belong to no window
    (20, 8, 10, [(0, 8), (10, 18)]),
    (21, 8, 10, [(0, 8), (10, 18), (20, 21)]),
    (9, 8, 10, [(0, 8)]),
    (3, 1, 1, [(0, 1), (1, 2), (2, 3)]),
    (5, 1, 2, [(0, 1), (2, 3), (4, 5)]),
]


@pytest.mark.parametrize(("num_frames", "snippet_frames", "stride_frames", "windows"), REPEAT_TABLE)
def test_windows_follow_the_documented_rule(num_frames, snippet_frames, stride_frames, windows):
    grid = SnippetGrid(num_frames, snippet_frames, stride_frames)
    assert grid.num_snippets == len(windows)
    assert grid.windows().tolist() == [list(window) for window in windows]
    assert windows_of(num_frames, snippet_frames, stride_frames) == windows


@pytest.mark.parametrize(("num_frames", "snippet_frames", "stride_frames", "windows"), REPEAT_TABLE)
def test_dropping_keeps_exactly_the_complete_windows(num_frames, snippet_frames, stride_frames, windows):
    complete = [list(window) for window in windows if window[1] - window[0] == snippet_frames]
    grid = SnippetGrid(num_frames, snippet_frames, stride_frames, padding="drop")
    assert grid.windows().tolist() == complete
    assert grid.num_snippets == len(complete)
    assert list(map(list, windows_of(num_frames, snippet_frames, stride_frames, "drop"))) == complete


def test_repeated_frames_stand_at_the_end_of_the_partial_window():
    indices = SnippetGrid(11, 8, 8).frame_indices()
    assert indices.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 10, 10, 10, 10, 10]]
    assert SnippetGrid(0).frame_indices().shape == (0, 8)


def test_every_frame_is_in_a_window_unless_the_stride_leaves_gaps():
    for num_frames, snippet_frames, stride_frames in itertools.product(
        range(1, 30), range(1, 10), range(1, 10)
    ):
        windows = SnippetGrid(num_frames, snippet_frames, stride_frames).windows()
        held = {frame for start, end in windows.tolist() for frame in range(start, end)}
        if stride_frames <= snippet_frames:
            assert held == set(range(num_frames))
        complete = SnippetGrid(num_frames, snippet_frames, stride_frames, "drop").windows()
        assert len(complete) <= len(windows) <= len(complete) + 1


def test_centers_at_a_constant_rate_are_those_of_actionformer():
    fps = 25.0
    centers_s = centers_of(np.arange(40) / fps, 1 / fps, snippet_frames=16, stride_frames=4)
    # ActionFormer: (row * feat_stride + 0.5 * num_frames) / fps
    # OpenTAD: (row * snippet_stride + offset_frames) / fps
    expected = [(row * 4 + 0.5 * 16) / fps for row in range(7)]
    np.testing.assert_allclose(centers_s, expected, atol=1e-12)
    assert centers_s[0] == pytest.approx(0.32)


def test_center_of_a_partial_window_is_that_of_its_real_frames():
    centers_s = centers_of(np.arange(10) / 10, 0.1)
    np.testing.assert_allclose(centers_s, [0.4, 0.9])  # frames 8 and 9 last from 0.8 to 1.0 s


def test_centers_at_a_variable_rate_come_from_the_time_stamps():
    times_s = np.array([0.0, 0.1, 0.5, 0.6, 2.0, 2.1])
    grid = SnippetGrid(6, 2, 2)
    np.testing.assert_allclose(grid.spans_s(times_s, 0.25), [[0.0, 0.5], [0.5, 2.0], [2.0, 2.35]])
    np.testing.assert_allclose(grid.centers_s(times_s, 0.25), [0.25, 1.25, 2.175])
    np.testing.assert_allclose(centers_of(times_s, 0.25, 2, 2), [0.25, 1.25, 2.175])


def test_a_gap_after_a_window_does_not_belong_to_it():
    times_s = np.arange(5) / 2
    np.testing.assert_allclose(SnippetGrid(5, 1, 3).spans_s(times_s, 0.5), [[0.0, 0.5], [1.5, 2.0]])
    np.testing.assert_allclose(centers_of(times_s, 0.5, 1, 3), [0.25, 1.75])


@pytest.mark.parametrize("padding", ["repeat", "drop"])
def test_streaming_gives_the_snippets_of_the_grid(padding):
    rng = np.random.default_rng(0)
    for num_frames, snippet_frames, stride_frames in itertools.product(
        range(14), (1, 2, 3, 8), (1, 2, 3, 5, 8)
    ):
        times_s = np.cumsum(rng.uniform(0.01, 0.5, num_frames))
        stream = iter(pictures(times_s))
        snippets = list(
            iter_snippets(stream, snippet_frames, stride_frames, frame_duration_s=0.04, padding=padding)
        )
        grid = SnippetGrid(num_frames, snippet_frames, stride_frames, padding)
        assert [(s.start_frame, s.end_frame) for s in snippets] == list(map(tuple, grid.windows().tolist()))
        assert [s.index for s in snippets] == list(range(grid.num_snippets))
        for snippet, indices in zip(snippets, grid.frame_indices(), strict=True):
            assert [int(image[0, 0, 0]) for image in snippet.images] == indices.tolist()
            np.testing.assert_array_equal(snippet.times_s, times_s[indices])
            assert np.stack(snippet.images).shape == (snippet_frames, 2, 3, 3)
        np.testing.assert_allclose([s.center_s for s in snippets], grid.centers_s(times_s, 0.04))


def test_streaming_holds_one_window_and_asks_for_one_frame_more():
    taken = 0

    def stream():
        nonlocal taken
        for picture in pictures(np.arange(100) / 25):
            taken += 1
            yield picture

    for snippet in iter_snippets(stream(), 8, 4, frame_duration_s=0.04):
        assert taken <= snippet.end_frame + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"snippet_frames": 0}, "at least 1, got 0 and 8"),
        ({"stride_frames": -1}, "at least 1, got 8 and -1"),
        ({"padding": "reflect"}, "'repeat' or 'drop', got 'reflect'"),
        ({"frame_duration_s": 0}, "one over the frame rate"),
    ],
)
def test_impossible_windows_are_refused_at_once(wrong, message):
    with pytest.raises(ValueError, match=message):
        iter_snippets(iter([]), **{"frame_duration_s": 0.04, **wrong})


def test_no_frames_give_no_rows():
    assert list(iter_snippets([], frame_duration_s=0.04)) == []
