"""The one tIoU: by hand, against golden values, and at the edges."""

import numpy as np
import pytest

from bsp_hf.metrics import interpolated_average_precision, pairwise_tiou, tiou
from bsp_hf.metrics.segments import as_segments, as_thresholds, find_threshold


def test_tiou_and_interpolated_ap_equal_the_golden_primitives(golden_json):
    case = golden_json("metrics/primitives")
    tolerance = case["tolerance"]
    np.testing.assert_allclose(pairwise_tiou(case["targets"], case["candidates"]), case["tiou"], **tolerance)
    for precision, recall, expected in zip(
        case["precision"], case["recall"], case["interpolated_ap"], strict=True
    ):
        np.testing.assert_allclose(
            interpolated_average_precision(np.array(precision), np.array(recall)), expected, **tolerance
        )


@pytest.mark.parametrize(
    ("first", "second", "by_lengths", "by_hull"),
    [
        ([0, 10], [0, 10], 1.0, 1.0),
        ([0, 10], [5, 20], 0.25, 0.25),
        ([0, 10], [2, 4], 0.2, 0.2),
        ([0, 10], [10, 20], 0.0, 0.0),  # touching
        ([0, 10], [30, 40], 0.0, 0.0),  # apart: unions differ (20 and 40), the overlap does not
        ([5, 5], [0, 10], 0.0, 0.0),  # a point inside
        ([5, 5], [7, 7], np.nan, 0.0),  # lengths 0 + 0; hull 2
        ([5, 5], [5, 5], np.nan, np.nan),
        ([10, 0], [0, 10], np.nan, 0.0),  # lengths -10 + 10; hull 10
        ([9, 1], [0, 10], 0.0, 0.0),
    ],
)
def test_tiou_by_hand(first, second, by_lengths, by_hull):
    for union, expected in (("lengths", by_lengths), ("hull", by_hull)):
        np.testing.assert_array_equal(abs(tiou(np.array(first), np.array(second), union)), expected)
        np.testing.assert_array_equal(abs(tiou(np.array(second), np.array(first), union)), expected)


def test_both_unions_agree_wherever_segments_overlap():
    rng = np.random.default_rng(0)
    segments = np.sort(rng.integers(0, 30, size=(60, 2)).astype(float), axis=1)
    by_lengths, by_hull = pairwise_tiou(segments, segments), pairwise_tiou(segments, segments, "hull")
    overlapping = by_lengths > 0
    assert overlapping.sum() > 500
    np.testing.assert_array_equal(by_lengths[overlapping], by_hull[overlapping])


@pytest.mark.parametrize("union", ["lengths", "hull"])
def test_pairs_by_hand_and_broadcast_over_leading_axes(union):
    pairs = pairwise_tiou([[0, 2], [0, 1]], [[1, 3], [1, 2], [0, 2]], union)
    np.testing.assert_allclose(pairs, [[1 / 3, 1 / 2, 1], [0, 0, 1 / 2]])
    assert tiou(np.ones((3, 1, 2)), np.ones((2, 1, 4, 2)), union).shape == (2, 3, 4)


def test_no_segments_give_an_empty_table():
    assert pairwise_tiou([], [[0.0, 1.0]]).shape == (0, 1)
    assert pairwise_tiou([[0.0, 1.0]], []).shape == (1, 0)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[1.0, 2.0, 3.0]], r"shape \(1, 3\)"),
        ([[0.0, 1.0], [np.nan, 1.0]], r"moments\[1\] is \[nan, 1.0\]"),
        ([[0.0, np.inf]], r"moments\[0\]"),
        ([[0.0, 1.0], [2.0]], "moments must be pairs of numbers"),
        ([["a", "b"]], "moments must be pairs of numbers"),
    ],
)
def test_malformed_segments_are_named(segments, message):
    with pytest.raises(ValueError, match=message):
        as_segments(segments, "moments")


def test_thresholds_and_unions_out_of_range_are_refused():
    for thresholds in ((), (0.0,), (0.5, 1.1), (np.nan,), ((0.5,),)):
        with pytest.raises(ValueError, match="expected one or more numbers"):
            as_thresholds(thresholds)
    with pytest.raises(ValueError, match="union is 'area'"):
        tiou(np.zeros(2), np.zeros(2), "area")


def test_a_threshold_is_found_in_spite_of_rounding():
    assert find_threshold(np.linspace(0.5, 0.95, 10), 0.9) == 8
    with pytest.raises(ValueError, match=r"0\.91 was not evaluated"):
        find_threshold(np.linspace(0.5, 0.95, 10), 0.91)


def test_curves_of_different_length_are_refused():
    with pytest.raises(ValueError, match="expected two equal 1-D"):
        interpolated_average_precision(np.ones(3), np.ones(2))
