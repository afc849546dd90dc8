"""Moments and highlights of QVHighlights: by hand, and against plain loops over its rules."""

import numpy as np
import pytest

from bsp_hf.metrics import evaluate_highlights, evaluate_moment_retrieval
from bsp_hf.metrics.qvhighlights import QVHIGHLIGHTS_TIOU_THRESHOLDS

ONE_TO_TEN = [round(0.5 + 0.05 * n, 2) for n in range(10)]


def overlap(one, other):
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)


def hull_overlap(one, other):
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (max(one[1], other[1]) - min(one[0], other[0]))


def plain_precision(moments, scores, truth, threshold):
    """One query: a moment takes its best free annotation at or above the threshold."""
    ranked = [moments[n] for n in sorted(range(len(moments)), key=lambda n: (-scores[n], n))]
    taken, found = set(), []
    for moment in ranked:
        order = sorted(range(len(truth)), key=lambda n: (-overlap(moment, truth[n]), -n))
        free = [n for n in order if n not in taken and overlap(moment, truth[n]) >= threshold]
        taken |= set(free[:1])
        found.append(bool(free))
    points = [(sum(found[: n + 1]) / (n + 1), sum(found[: n + 1]) / len(truth)) for n in range(len(found))]
    total, last = 0.0, 0.0
    for n, (_, recall) in enumerate(points):
        total += (recall - last) * max(precision for precision, _ in points[n:])
        last = recall
    return total


def plain_scores(moments, scores, truth, low, high):
    precision, hits = [], []
    for query, annotated in enumerate(truth):
        inside = [w for w in annotated if low < w[1] - w[0] <= high]
        if not inside:
            continue
        first_ten = moments[query][:10], scores[query][:10]
        precision.append([plain_precision(*first_ten, inside, threshold) for threshold in ONE_TO_TEN])
        first = moments[query][0]
        nearest = inside[int(np.argmax([overlap(first, w) for w in inside]))]
        hits.append([hull_overlap(first, nearest) >= threshold for threshold in ONE_TO_TEN])
    return np.mean(precision, axis=0), np.mean(hits, axis=0), len(hits)


def draw_windows(rng, count):
    """Whole seconds on a grid of two, as in the data set, so that thresholds are met exactly."""
    starts = 2 * rng.integers(0, 60, count)
    return [[int(s), int(s + 2 * rng.choice([2, 4, 5, 8, 15, 30]))] for s in starts]


@pytest.mark.parametrize("seed", range(12))
def test_moments_equal_plain_loops(seed):
    rng = np.random.default_rng(seed)
    truth = [draw_windows(rng, rng.integers(1, 4)) for _ in range(40)]
    moments = [draw_windows(rng, rng.integers(1, 14)) for _ in truth]
    for query, annotated in enumerate(truth):
        moments[query][rng.integers(len(moments[query]))] = list(annotated[0])
    scores = [np.round(rng.random(len(row)), 1).tolist() for row in moments]  # with equal ones
    got = evaluate_moment_retrieval(moments, scores, truth)
    precision, hits, count = plain_scores(moments, scores, truth, -1, 1000)
    np.testing.assert_allclose(got.map_per_threshold, precision, atol=1e-12)
    np.testing.assert_allclose(got.recall_at_one, hits, atol=1e-12)
    assert (got.num_queries, got.average_map) == (count, pytest.approx(precision.mean()))
    for name, low, high in (("short", 0, 10), ("middle", 10, 30), ("long", 30, 150)):
        precision, hits, count = plain_scores(moments, scores, truth, low, high)
        np.testing.assert_allclose(got.by_length[name].map_per_threshold, precision, atol=1e-12)
        np.testing.assert_allclose(got.by_length[name].recall_at_one, hits, atol=1e-12)
        assert got.by_length[name].num_queries == count


def test_moments_by_hand():
    # tIoU 0.7 exactly counts; the second annotation is found by the third moment: precision 1, 1/2, 2/3.
    got = evaluate_moment_retrieval([[[0, 7], [50, 60], [20, 40]]], [[0.9, 0.8, 0.7]], [[[0, 10], [20, 40]]])
    assert got.recall_at(0.7) == 1 and got.recall_at(0.75) == 0
    assert got.map_at(0.7) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert got.map_at(0.75) == pytest.approx(0.5 * 1 / 3)
    assert set(got.by_length) == {"short", "middle"}
    assert got.by_length["middle"].recall_at(0.5) == 0  # its first moment is not the middle one
    assert tuple(ONE_TO_TEN) == QVHIGHLIGHTS_TIOU_THRESHOLDS


def test_the_eleventh_moment_takes_no_part_and_a_query_without_any_is_missed():
    many = [[100 + n, 101 + n] for n in range(10)] + [[0, 10]]
    got = evaluate_moment_retrieval([many, []], [[1.0] * 11, []], [[[0, 10]], [[0, 10]]])
    assert got.average_map == 0 and got.num_queries == 2
    got = evaluate_moment_retrieval(
        [many, [[0, 10]]], [[1.0] * 11, [0.5]], [[[0, 10]], [[0, 10]]], max_moments=11
    )
    assert got.average_map == pytest.approx((1 / 11 + 1) / 2) and got.recall_at(0.95) == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "annotations of 0 queries"),
        (([[]], [[]], [[]]), "Query 0 has no annotated moment"),
        (([[[0, 1]]], [[]], [[[0, 1]]]), "Query 0 has 1 moments and the scores"),
        (([[[0, 1]]], [[np.nan]], [[[0, 1]]]), "scores .nan"),
        (([[[0, np.inf]]], [[1]], [[[0, 1]]]), r"predictions_s\[0\]\[0\]"),
    ],
)
def test_bad_moments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_moment_retrieval(*arguments)


def plain_highlights(predictions, truth, least):
    precision, hits = [], []
    for scores, raters in zip(predictions, truth, strict=True):
        best = int(np.argmax(scores))
        hits.append(best < len(raters) and max(raters[best]) >= least)
        padded = (list(scores) + [0.0] * len(raters))[: len(raters)]
        for rater in range(3):
            positive = [row[rater] >= least for row in raters]
            if len(set(positive)) == 1:
                precision.append(float(positive[0]))
                continue
            steps = []
            for threshold in sorted(set(padded), reverse=True):
                chosen = [p for p, score in zip(positive, padded, strict=True) if score >= threshold]
                steps.append((sum(chosen), sum(chosen) / len(chosen)))
            levels = [
                max(value for _, value in steps[n:])
                for n, (found, _) in enumerate(steps)
                if found > (steps[n - 1][0] if n else 0)
            ]
            precision.append(np.mean(levels))
    return np.mean(precision), np.mean(hits)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("least", [2, 3, 4])
def test_highlights_equal_plain_loops(seed, least):
    rng = np.random.default_rng(seed)
    truth = [rng.integers(0, 5, (rng.integers(3, 40), 3)).tolist() for _ in range(30)]
    truth[0] = [[0, 4, 0]] * 7  # a rater who marks nothing, and one who marks all
    predictions = [
        np.round(rng.normal(size=max(1, len(rows) + rng.integers(-2, 3))), 1).tolist() for rows in truth
    ]
    got = evaluate_highlights(predictions, truth, least)
    assert (got.average_map, got.hit_at_one) == pytest.approx(plain_highlights(predictions, truth, least))
    assert got.num_queries == 30


def test_highlights_by_hand():
    # Clip 1 (none), clip 2 and clip 0 (highlights): precision 1/2, then 2/3 at full recall, so 2/3 at both.
    truth = [[[4, 0, 4], [0, 0, 4], [4, 0, 4]]]
    got = evaluate_highlights([[0.1, 0.9, 0.5]], truth)
    assert got.average_map == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert got.hit_at_one == 1  # to the third rater
    assert evaluate_highlights([[0.1, 0.2, 0.3, 0.9]], truth).hit_at_one == 0  # a clip that is not annotated
    absent = evaluate_highlights([[]], truth)
    assert (absent.average_map, absent.hit_at_one) == (0, 0)


@pytest.mark.parametrize(
    ("predictions", "truth", "message"),
    [
        ([], [], "annotations of 0 queries"),
        ([[1.0]], [[1.0]], r"found \(1,\) and \(1,\)"),
        ([[np.nan]], [[[1, 1, 1]]], "without NaN"),
    ],
)
def test_bad_highlights_are_named(predictions, truth, message):
    with pytest.raises(ValueError, match=message):
        evaluate_highlights(predictions, truth)
