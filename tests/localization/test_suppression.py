"""Suppression and class fusion: golden vectors, a brute force written here, and the rules at the edges."""

import json
import math

import numpy as np
import pytest
from support.suppression import soft_nms, temporal_nms

from bsp_hf.localization import suppression
from bsp_hf.localization.suppression import (
    attach_classes,
    detections_to_json,
    temporal_nms_batch,
)


def brute_iou(a, b):
    overlap = min(a[1], b[1]) - max(a[0], b[0])
    return max(overlap, 0) / (max(a[1], b[1]) - min(a[0], b[0]))


def brute_nms(segments, scores, threshold, max_num):
    rest = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    while rest and len(kept) < max_num:
        best, *rest = rest
        kept.append(best)
        rest = [i for i in rest if brute_iou(segments[best], segments[i]) <= threshold]
    return kept


def brute_soft_nms(segments, scores, sigma, max_num):
    rest = {i: float(score) for i, score in enumerate(scores)}
    picked = []
    while len(rest) > 1 and len(picked) < max_num and max(rest.values()) > 0:
        best = max(rest, key=lambda i: (rest[i], -i))
        value = rest.pop(best)
        picked.append((best, value))
        rest = {
            i: v * math.exp(-(brute_iou(segments[best], segments[i]) ** 2) / sigma) for i, v in rest.items()
        }
    return picked


def random_segments(rng, n):
    start = rng.uniform(0, 10, n)
    return np.stack([start, start + rng.uniform(0.1, 5, n)], axis=1)


class TestGreedySuppression:
    @pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
    def test_matches_brute_force(self, rng, threshold):
        segments, scores = random_segments(rng, 60), rng.random(60)
        first_five = temporal_nms(segments, scores, threshold, 5)
        assert first_five.tolist() == brute_nms(segments, scores, threshold, 5)
        everything = temporal_nms(segments, scores, threshold)
        assert everything.tolist() == brute_nms(segments, scores, threshold, 60)

    def test_reproduces_2d_tan(self, golden_json):
        for run in golden_json("tan/evaluation")["runs"]:
            for segments, expected in zip(run["segments"], run["after_nms_top5"], strict=True):
                ranked = np.array(segments)
                kept = temporal_nms(ranked, -np.arange(len(ranked)), run["nms_threshold"], 5)
                np.testing.assert_allclose(ranked[kept], expected, rtol=1e-9, atol=1e-9)

    def test_overlap_equal_to_the_threshold_stays(self):
        assert temporal_nms([[0, 2], [0, 1]], [2, 1], 0.5, 5).tolist() == [0, 1]
        assert temporal_nms([[0, 2], [0, 1.01]], [2, 1], 0.5, 5).tolist() == [0]

    def test_equal_scores_keep_input_order(self):
        assert temporal_nms([[0, 1], [2, 3], [4, 5]], [1, 1, 1], 0.5, 2).tolist() == [0, 1]

    def test_batch_equals_single_calls_with_shared_segments(self, rng):
        segments, scores = random_segments(rng, 40), rng.random((6, 40))
        scores[2, 3:] = -np.inf
        batched = temporal_nms_batch(segments, scores, 0.4, 7)
        for row, values in zip(batched, scores, strict=True):
            real = np.flatnonzero(values > -np.inf)
            expected = [real[i] for i in brute_nms(segments[real], values[real], 0.4, 7)]
            assert row[row >= 0].tolist() == expected

    def test_no_candidates_give_no_indices(self):
        assert temporal_nms(np.zeros((0, 2)), np.zeros(0), 0.5, 5).tolist() == []
        assert temporal_nms([], [], 0.5, 5).tolist() == []

    @pytest.mark.parametrize(
        ("segments", "scores", "threshold", "message"),
        [
            ([[0, 1]], [1, 2], 0.5, "do not fit"),
            ([[0, 1, 2]], [1], 0.5, "do not fit"),
            ([[0, 1]], [float("nan")], 0.5, "NaN"),
            ([[0, 1]], [1], 1.5, "iou_threshold"),
        ],
    )
    def test_bad_input_is_named(self, segments, scores, threshold, message):
        with pytest.raises(ValueError, match=message):
            temporal_nms(segments, scores, threshold, 5)


class TestSoftSuppression:
    def test_reproduces_g_tad(self, golden):
        case = golden("gtad/soft_nms")
        for entry in case.meta["config"]["sets"]:
            name = entry["set"]
            rows = case.inputs[name]
            limit = 300 if name.startswith("thumos") else None
            kept, scores = soft_nms(rows[:, :2], rows[:, 2], entry["sigma"], entry["max_keep"], limit)
            case.check(name, np.column_stack([rows[kept, :2], scores]))

    @pytest.mark.parametrize("sigma", [0.05, 0.46, 0.8])
    def test_matches_brute_force(self, rng, sigma):
        segments, scores = random_segments(rng, 30), rng.random(30)
        kept, values = soft_nms(segments, scores, sigma, 20)
        expected = brute_soft_nms(segments, scores, sigma, 20)
        assert kept.tolist() == [i for i, _ in expected]
        np.testing.assert_allclose(values, [v for _, v in expected], rtol=1e-12)

    def test_batch_equals_single_calls_on_ragged_videos(self, rng):
        counts = [0, 1, 2, 9, 25]
        segments = [random_segments(rng, count) for count in counts]
        scores = [rng.random(count) for count in counts]
        kept = suppression.soft_nms(segments, scores, 0.5, 12)
        for found, candidates, values in zip(kept, segments, scores, strict=True):
            expected = brute_soft_nms(candidates, values, 0.5, 12)
            assert found.indices.tolist() == [i for i, _ in expected]
            np.testing.assert_allclose(found.scores, [v for _, v in expected], rtol=1e-12)

    def test_last_remaining_candidate_is_dropped(self):
        kept, scores = soft_nms([[0, 1], [5, 6]], [0.5, 0.9], 0.8, 100)
        assert kept.tolist() == [1]
        assert scores.tolist() == [0.9]
        assert soft_nms([[0, 1]], [0.5], 0.8, 100)[0].tolist() == []

    def test_stops_where_no_score_is_positive(self):
        segments, scores = [[0, 400], [1, 5], [7, 9], [8, 20]], [0.9, 0.0, 0.3, 0.0]
        kept, _ = soft_nms(segments, scores, 0.8, 100, zero_length=300)
        assert kept.tolist() == [2]

    def test_factor_that_underflows_leaves_no_nan(self):
        kept, scores = soft_nms([[0, 1], [0, 1], [3, 4], [3, 4]], [0.9, 0.8, 0.7, 0.6], 1e-5, 100)
        assert kept.tolist() == [0, 2]
        assert scores.tolist() == [0.9, 0.7]

    def test_zero_length_candidates_overlap_nothing(self):
        kept, scores = soft_nms([[1, 1], [1, 1], [0, 2], [5, 5]], [0.9, 0.8, 0.7, 0.6], 0.8, 100)
        assert kept.tolist() == [0, 1, 2]
        assert scores.tolist() == [0.9, 0.8, 0.7]
        assert temporal_nms([[1, 1], [1, 1]], [2, 1], 0.0).tolist() == [0, 1]

    def test_input_is_left_alone(self, rng):
        segments, scores = random_segments(rng, 5), rng.random(5)
        before = segments.copy(), scores.copy()
        soft_nms(segments, scores, 0.5, 5, zero_length=1.0)
        assert np.array_equal(before[0], segments)
        assert np.array_equal(before[1], scores)

    def test_bad_sigma_is_named(self):
        with pytest.raises(ValueError, match="sigma=0"):
            soft_nms([[0, 1]], [1.0], 0, 5)


class TestClassFusion:
    def test_lists_by_class_or_by_segment(self):
        segments, scores, classes = [[0, 1], [2, 3]], [0.5, 0.25], [0.1, 0.8, 0.4]
        by_class = attach_classes(segments, scores, classes)
        assert by_class.class_indices.tolist() == [1, 1, 2, 2]
        np.testing.assert_allclose(by_class.scores, [0.4, 0.2, 0.2, 0.1])
        by_segment = attach_classes(segments, scores, classes, interleave=True)
        assert by_segment.class_indices.tolist() == [1, 2, 1, 2]
        assert by_segment.segments.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]

    def test_json_has_the_official_layout(self):
        found = attach_classes([[0, 1.5]], [0.5], [0.2, 1.0], top_classes=1)
        layout = json.loads(json.dumps(detections_to_json({"abc": found}, ["run", "jump"])))
        assert layout == {
            "version": "VERSION 1.3",
            "results": {"abc": [{"label": "jump", "score": 0.5, "segment": [0.0, 1.5]}]},
            "external_data": {},
        }

    def test_unnamed_class_is_refused(self):
        found = attach_classes([[0, 1]], [0.5], [0.2, 1.0])
        with pytest.raises(ValueError, match="pass class_names"):
            detections_to_json({"abc": found})
        with pytest.raises(ValueError, match="has no name"):
            detections_to_json({"abc": found}, ["run"])

    def test_without_classes_the_label_is_empty(self):
        layout = detections_to_json({"abc": attach_classes([[0, 1]], [0.5], None)})
        assert layout["results"]["abc"] == [{"label": "", "score": 0.5, "segment": [0.0, 1.0]}]


@pytest.fixture
def rng():
    return np.random.default_rng(7)
