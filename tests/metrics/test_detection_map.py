import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsp_hf.metrics import (
    ACTIVITYNET_TIOU_THRESHOLDS,
    THUMOS_TIOU_THRESHOLDS,
    SegmentTable,
    activitynet_map,
    detection_matching,
    read_ground_truth,
    thumos_map,
)


def plain_average_precision(instances, predictions, threshold):
    """AP of one class by obvious loops; rows are (video, start, end[, score]) in file order."""
    ordered = sorted(predictions, key=lambda prediction: prediction[3])[::-1]  # stable, then reversed
    taken, found, wrong = set(), 0, 0
    points = [(0.0, 0.0)]
    for video, start, end, _ in ordered:
        overlaps = []
        for number, (other, first, last) in enumerate(instances):
            if other == video:
                shared = max(0.0, min(end, last) - max(start, first))
                union = (last - first) + (end - start) - shared
                overlaps.append((float("inf") if union == 0 else shared / union, number))
        matched = False
        for overlap, number in sorted(overlaps)[::-1]:
            if overlap >= threshold and number not in taken:
                taken.add(number)
                matched = True
                break
        found, wrong = found + matched, wrong + (not matched)
        points.append((found / len(instances), found / (found + wrong)))
    points.append((1.0, 0.0))
    area = 0.0
    for place in range(1, len(points)):
        best = max(precision for _, precision in points[place:])
        area += (points[place][0] - points[place - 1][0]) * best
    return area


def as_tables(instances, predictions):
    """Rows are (video, label, start, end[, score])."""
    truth = SegmentTable.from_columns(
        [row[0] for row in instances], [row[1] for row in instances], [row[2:4] for row in instances]
    )
    found = SegmentTable.from_columns(
        [row[0] for row in predictions],
        [row[1] for row in predictions],
        [row[2:4] for row in predictions],
        [row[4] for row in predictions],
    )
    return truth, found


def assert_equals_plain_loops(instances, predictions, thresholds):
    scores = activitynet_map(*as_tables(instances, predictions), tiou_thresholds=thresholds)
    for column, label in enumerate(scores.labels):
        mine = [(row[0], *row[2:]) for row in instances if row[1] == label]
        theirs = [(row[0], *row[2:]) for row in predictions if row[1] == label]
        expected = [plain_average_precision(mine, theirs, threshold) for threshold in thresholds]
        np.testing.assert_allclose(scores.ap[:, column], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["anet_map", "anet_map_ties", "anet_map_thumos_thresholds"])
def test_map_equals_the_golden_files(golden_json, name):
    case = golden_json(f"metrics/{name}")
    expected = case.get("expected_tie_rule", case["expected"])
    scores = activitynet_map(
        case["ground_truth"],
        case["prediction"],
        subset=case["subset"],
        tiou_thresholds=case["tiou_thresholds"],
    )
    assert list(scores.labels) == case["labels_in_class_index_order"]
    np.testing.assert_allclose(scores.ap, expected["ap"], **case["tolerance"])
    np.testing.assert_allclose(scores.map_per_threshold, expected["mAP"], **case["tolerance"])
    np.testing.assert_allclose(scores.average_map, expected["average_mAP"], **case["tolerance"])


def test_default_thresholds_are_those_of_the_golden_files(golden_json):
    assert list(ACTIVITYNET_TIOU_THRESHOLDS) == golden_json("metrics/anet_map")["tiou_thresholds"]
    assert (
        list(THUMOS_TIOU_THRESHOLDS) == golden_json("metrics/anet_map_thumos_thresholds")["tiou_thresholds"]
    )


def test_thumos_map_is_the_same_evaluator_at_its_own_thresholds(golden_json):
    case = golden_json("metrics/anet_map_thumos_thresholds")
    scores = thumos_map(case["ground_truth"], case["prediction"], subset=case["subset"])
    np.testing.assert_allclose(scores.ap, case["expected"]["ap"], **case["tolerance"])
    assert scores.map_at(0.5) == pytest.approx(case["expected"]["mAP"][2], abs=1e-12)


def test_every_official_corner_case_is_met(golden_json):
    case = golden_json("metrics/anet_map_edge_cases")
    assert len(case["cases"]) == 12
    for corner in case["cases"]:
        scores = activitynet_map(
            corner["ground_truth"], corner["prediction"], tiou_thresholds=corner["tiou_thresholds"]
        )
        for value, expected in ((scores.ap, "ap"), (scores.map_per_threshold, "mAP")):
            np.testing.assert_allclose(value, corner[expected], **case["tolerance"], err_msg=corner["title"])
        np.testing.assert_allclose(scores.average_map, corner["average_mAP"], **case["tolerance"])
        assert list(scores.labels) == corner["labels"]


# A coarse grid, so that equal scores, equal overlaps, zero lengths and reversed segments all happen.
TIME = st.integers(0, 8).map(float)
VIDEO, LABEL = st.sampled_from("uvw"), st.sampled_from("ab")


@settings(max_examples=150, deadline=None)
@given(
    instances=st.lists(st.tuples(VIDEO, LABEL, TIME, TIME), min_size=1, max_size=14),
    predictions=st.lists(
        st.tuples(st.sampled_from("uvwx"), LABEL, TIME, TIME, st.sampled_from([0.1, 0.2, 0.7])), max_size=25
    ),
)
def test_map_equals_plain_loops_on_anything(instances, predictions):
    known = {row[1] for row in instances}
    predictions = [row for row in predictions if row[1] in known]
    assert_equals_plain_loops(instances, predictions, (0.2, 0.5, 0.75, 1.0))


@pytest.mark.parametrize("pairs_at_once", [1, 40, 2**20])
def test_map_equals_plain_loops_on_lifelike_data_in_any_batching(pairs_at_once, monkeypatch):
    monkeypatch.setattr(detection_matching, "_PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(7)
    instances, predictions = [], []
    for video in range(25):
        for _ in range(rng.integers(1, 7)):
            start = rng.uniform(0, 80)
            instances.append((f"v{video}", f"c{rng.integers(4)}", start, start + rng.uniform(1, 30)))
    for _ in range(900):
        video, label, start, end = instances[rng.integers(len(instances))]
        jitter = rng.normal(size=2) * 0.15 * (end - start)
        label = label if rng.random() < 0.8 else f"c{rng.integers(4)}"
        predictions.append((video, label, start + jitter[0], end + jitter[1], round(rng.random(), 2)))
    assert_equals_plain_loops(instances, predictions, ACTIVITYNET_TIOU_THRESHOLDS)


def test_of_equal_scores_the_later_entry_goes_first():
    instances = [("v", "a", 0.0, 10.0)]
    right, wrong = ("v", "a", 0.0, 10.0, 0.5), ("v", "a", 50.0, 60.0, 0.5)
    assert activitynet_map(*as_tables(instances, [wrong, right])).average_map == 1.0
    assert activitynet_map(*as_tables(instances, [right, wrong])).average_map == 0.5


def test_of_equal_overlaps_the_later_instance_is_taken():
    # Both instances overlap the first prediction by 1/3; the second prediction needs the earlier one.
    instances = [("v", "a", 0.0, 10.0), ("v", "a", 10.0, 20.0)]
    predictions = [("v", "a", 5.0, 15.0, 0.9), ("v", "a", 0.0, 10.0, 0.8)]
    assert activitynet_map(*as_tables(instances, predictions), tiou_thresholds=(0.3,)).average_map == 1.0


def test_missing_and_foreign_videos_are_counted():
    instances = [("v", "a", 0.0, 10.0), ("w", "a", 0.0, 10.0), ("w", "b", 0.0, 10.0)]
    predictions = [("v", "a", 0.0, 10.0, 0.9), ("z", "a", 0.0, 10.0, 0.95)]
    scores = activitynet_map(*as_tables(instances, predictions))
    assert (scores.num_videos, scores.num_videos_with_predictions, scores.num_videos_outside) == (2, 1, 1)
    assert (scores.num_instances, scores.num_predictions) == (3, 2)
    # Class a: the foreign one is a false positive ahead of the match; one of two instances found: 0.5 * 0.5.
    assert scores.average_ap_per_class == {"a": 0.25, "b": 0.0}


def test_excluded_videos_leave_both_sides():
    instances = [("v", "a", 0.0, 10.0), ("w", "a", 0.0, 10.0)]
    predictions = [("w", "a", 50.0, 60.0, 0.99), ("v", "a", 0.0, 10.0, 0.9)]
    scores = activitynet_map(*as_tables(instances, predictions), excluded_video_ids=["w"])
    assert (scores.average_map, scores.num_videos, scores.num_predictions) == (1.0, 1, 1)


def test_no_prediction_at_all_scores_zero():
    instances = [("v", "a", 0.0, 10.0)]
    scores = activitynet_map(*as_tables(instances, []))
    assert (scores.average_map, scores.num_videos_with_predictions) == (0.0, 0)


def test_the_ground_truth_as_prediction_is_perfect(shared_data):
    path = shared_data / "annotations" / "thumos14" / "thumos_gt.json.gz"
    truth = read_ground_truth(path, "test")
    found = SegmentTable(
        truth.video_ids,
        truth.labels,
        truth.video_index,
        truth.label_index,
        truth.segments_s,
        np.random.default_rng(0).random(len(truth)),
    )
    scores = thumos_map(path, found)
    assert scores.average_map == pytest.approx(1.0, abs=1e-12)
    assert scores.num_videos_with_predictions == scores.num_videos == 210


@pytest.mark.slow
def test_map_at_validation_scale_equals_plain_loops_on_some_classes(shared_data):
    path = shared_data / "annotations" / "activitynet_v1-3" / "activitynet_v1-3_train_val.json.gz"
    truth = read_ground_truth(path, "validation")
    rng = np.random.default_rng(0)
    # 100 predictions a video, three in four near an instance, and three in four with its class.
    order, sizes = np.argsort(truth.video_index, kind="stable"), np.bincount(truth.video_index)
    by_video = np.split(order, np.cumsum(sizes))[:-1]
    source = np.concatenate([rng.choice(rows, 100) for rows in by_video])
    segments = truth.segments_s[source]
    spread = np.where(rng.random((len(source), 1)) < 0.75, 0.1, 1) * (segments[:, 1:] - segments[:, :1])
    segments = segments + rng.normal(size=segments.shape) * spread
    anywhere = rng.integers(0, 200, len(source))
    classes = np.where(rng.random(len(source)) < 0.75, truth.label_index[source], anywhere)
    video_index, scores = truth.video_index[source], np.round(rng.random(len(source)), 3)
    found = SegmentTable(truth.video_ids, truth.labels, video_index, classes, segments, scores)
    result = activitynet_map(truth, found)
    assert (result.num_predictions, result.num_videos_with_predictions, len(result.labels)) == (
        492600,
        4926,
        200,
    )
    for label in range(0, 200, 40):
        mine, theirs = truth.label_index == label, classes == label
        instances = list(zip(truth.video_index[mine], *truth.segments_s[mine].T, strict=True))
        predictions = list(zip(video_index[theirs], *segments[theirs].T, scores[theirs], strict=True))
        for place in (0, 5, 9):
            expected = plain_average_precision(instances, predictions, ACTIVITYNET_TIOU_THRESHOLDS[place])
            assert result.ap[place, label] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("instances", "predictions", "message"),
    [
        ([("v", "a", 0, 1)], [("v", "jump", 0, 1, 0.5)], "1 predicted labels.*first 'jump'"),
        ([], [("v", "a", 0, 1, 0.5)], "no segment to find"),
        ([("v", "a", 0, 1)], [("v", "a", 0, 1, float("nan"))], "scores are NaN"),
        ([("v", "a", 0, 1)], [("v", "a", float("nan"), 1, 0.5)], "must be finite"),
    ],
)
def test_bad_input_is_refused(instances, predictions, message):
    with pytest.raises(ValueError, match=message):
        activitynet_map(*as_tables(instances, predictions))


def test_a_label_of_another_subset_is_unknown():
    database = {
        "v": {"subset": "validation", "annotations": [{"label": "a", "segment": [0, 1]}]},
        "t": {"subset": "training", "annotations": [{"label": "b", "segment": [0, 1]}]},
    }
    results = {"v": [{"label": "b", "segment": [0, 1], "score": 1.0}]}
    with pytest.raises(ValueError, match="first 'b'"):
        activitynet_map({"database": database}, {"results": results})
