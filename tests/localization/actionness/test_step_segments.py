"""Framewise actionness becomes segments: runs, gaps, short runs, scores."""

import numpy as np
import pytest

from bsp_hf.localization.actionness.decoding import find_step_segments


@pytest.mark.parametrize(
    ("probabilities", "options", "expected"),
    [
        ([0, 0, 0], {}, []),
        ([], {}, []),
        ([1, 1, 1, 1], {}, [(0.0, 0.8)]),
        ([0, 1, 1, 0, 0, 0, 1, 1], {}, [(0.2, 0.6), (1.2, 1.6)]),
        ([1, 1, 0, 0, 1, 1], {}, [(0.0, 1.2)]),  # a gap of 0.4 s is bridged
        ([1, 1, 0, 0, 1, 1], {"max_gap_s": 0.3}, [(0.0, 0.4), (0.8, 1.2)]),
        ([0, 0, 0, 1, 0, 0, 0], {}, []),  # 0.2 s are too short
        ([0, 0, 0, 1, 0, 0, 0], {"min_step_s": 0}, [(0.6, 0.8)]),
        ([0.5, 0.5, 0.4, 0.4, 0.4], {}, [(0.0, 0.4)]),  # the threshold itself is inside
        ([0.5, 0.5, 0.4], {"threshold": 0.3}, [(0.0, 0.6)]),
    ],
)
def test_runs_become_segments(probabilities, options, expected):
    found = find_step_segments(probabilities, 0.2, 0.2 * len(probabilities), **options)
    np.testing.assert_allclose(found.segments, np.reshape(expected, (-1, 2)), atol=1e-12)
    assert found.class_indices.tolist() == [0] * len(expected)


def test_the_score_is_the_mean_over_the_run_and_the_end_is_the_videos():
    found = find_step_segments([0.9, 0.7, 0.2, 0.8], 0.2, 0.75)
    assert found.scores.tolist() == pytest.approx([0.65])
    assert found.segments.tolist() == [[0.0, 0.75]]


def test_a_video_shorter_than_a_step_may_be_one():
    assert len(find_step_segments([0.9], 0.2, 0.1)) == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([[0.5]], 0.2, 1.0), "vector"),
        (([np.nan], 0.2, 1.0), "NaN"),
        (([0.5], 0.0, 1.0), "segment_s=0.0"),
        (([0.5], 0.2, -1.0), r"duration_s=-1\.0"),
    ],
)
def test_bad_numbers_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        find_step_segments(*arguments)
