import csv
import gzip
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsp_hf.metrics import StepAnnotation, average_precision, evaluate_actionness, label_segments


def plain_average_precision(labels, scores):
    """AP by one pass over the distinct scores, in exact fractions."""
    area, recall_before = Fraction(0), Fraction(0)
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        recall = Fraction(sum(chosen), sum(labels))
        area += (recall - recall_before) * Fraction(sum(chosen), len(chosen))
        recall_before = recall
    return float(area)


def golden_videos(case):
    truth, scores = {}, {}
    for number, video in enumerate(case["videos"]):
        steps = [[start, end] for _, start, end in video["steps"]]
        truth[f"v{number}"] = StepAnnotation(video["duration"], steps)
        scores[f"v{number}"] = video["scores"]
    return truth, scores


@pytest.mark.parametrize("name", ["crosstask_ap", "crosstask_ap_ties"])
def test_labels_and_ap_equal_the_golden_files(golden_json, name):
    case = golden_json(f"metrics/{name}")
    truth, scores = golden_videos(case)
    for annotation, video in zip(truth.values(), case["videos"], strict=True):
        assert label_segments(annotation).tolist() == video["labels_any_overlap"]
        assert label_segments(annotation, labelling="center").tolist() == video["labels_by_center"]
    overlap = evaluate_actionness(truth, scores)
    center = evaluate_actionness(truth, scores, labelling="center")
    np.testing.assert_allclose(overlap.pooled_ap, case["pooled_ap_any_overlap"], **case["tolerance"])
    np.testing.assert_allclose(
        overlap.mean_video_ap, case["mean_of_video_ap_any_overlap"], **case["tolerance"]
    )
    np.testing.assert_allclose(center.pooled_ap, case["pooled_ap_by_center"], **case["tolerance"])
    for video_ap, video in zip(overlap.video_ap.values(), case["videos"], strict=True):
        np.testing.assert_allclose(video_ap, video["ap_any_overlap"], **case["tolerance"])
    assert (overlap.num_segments, overlap.num_positive_segments) == (case["segments"], case["positives"])
    for small in case["small"]:
        value = average_precision(small["labels"], small["scores"])
        np.testing.assert_allclose(value, small["ap"], **case["tolerance"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([-2.0, 0.0, 0.5, 0.5000001, 3.0])), min_size=1
    ).filter(lambda rows: any(label for label, _ in rows))
)
def test_ap_equals_exact_fractions_and_ignores_order(rows):
    labels, scores = [row[0] for row in rows], [row[1] for row in rows]
    expected = plain_average_precision(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert average_precision(labels[::-1], scores[::-1]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("duration_s", "num_segments"),
    [(0.05, 1), (0.2, 1), (0.20001, 2), (0.6, 3), (3 * 0.2, 3), (1.4, 7), (15.39, 77), (1e-12, 1)],
)
def test_the_number_of_segments_does_not_follow_rounding(duration_s, num_segments):
    assert len(label_segments(StepAnnotation(duration_s, []))) == num_segments


@pytest.mark.parametrize(
    ("step", "any_overlap", "center"),
    [
        ([0.2, 0.4], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]),  # touching neighbours do not count
        ([0.6, 0.8], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]),  # nor by rounding: 3 * 0.2 is above 0.6
        ([0.39, 0.41], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]),
        ([0.3, 0.5], [0, 1, 1, 0, 0], [0, 1, 0, 0, 0]),  # a centre at the start counts, at the end not
        ([-5.0, 0.15], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]),
        ([0.95, 99.0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]),
        ([0.5, 0.5], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ([0.7, 0.3], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ],
)
def test_labels_by_hand(step, any_overlap, center):
    annotation = StepAnnotation(1.0, [step])
    assert label_segments(annotation).tolist() == any_overlap
    assert label_segments(annotation, labelling="center").tolist() == center


def test_steps_of_the_data_kit_cover_as_many_segments_as_counted_by_hand(shared_data):
    # Annotated in whole seconds, so a video's positives are five for each second that any step covers.
    with gzip.open(shared_data / "annotations" / "crosstask" / "steps_797_videos.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    steps = {}
    for row in rows:
        steps.setdefault((row["task"], row["video"]), []).append((int(row["start"]), int(row["end"])))
    assert (len(rows), len({video for _, video in steps})) == (6070, 797)
    for spans in list(steps.values())[:50]:
        covered = {second for start, end in spans for second in range(start, end)}
        annotation = StepAnnotation(float(max(end for _, end in spans) + 3), spans)
        assert label_segments(annotation).sum() == 5 * len(covered)
        assert label_segments(annotation, labelling="center").sum() == 5 * len(covered)


def test_videos_without_scores_or_steps_are_reported_not_averaged_in():
    truth = {
        "steps": StepAnnotation(0.4, [[0.0, 0.2]]),
        "none": StepAnnotation(0.4, []),
        "unscored": StepAnnotation(0.4, [[0.0, 0.4]]),
    }
    scores = evaluate_actionness(truth, {"none": [0.9, 0.1], "steps": [0.5, 0.2]})
    assert (scores.num_videos, scores.num_videos_scored) == (3, 2)
    assert scores.mean_video_ap == scores.video_ap["steps"] == 1.0
    assert math.isnan(scores.video_ap["none"])
    assert scores.pooled_ap == 0.5
    assert (scores.num_segments, scores.num_positive_segments) == (4, 1)
    nothing = evaluate_actionness({"none": StepAnnotation(0.4, [])}, {"none": [0.1, 0.2]})
    assert math.isnan(nothing.pooled_ap) and math.isnan(nothing.mean_video_ap)


@pytest.mark.parametrize(
    ("truth", "scores", "options", "message"),
    [
        ({"v": (1.0, [])}, {"w": [0.1]}, {}, "1 scored videos have no annotation, first 'w'"),
        ({"v": (1.0, [])}, {}, {}, "None of the 1 annotated videos has scores"),
        ({"v": (1.0, [])}, {"v": [0.1]}, {}, r"Video 'v': scores have shape \(1,\).* make 5 segments"),
        ({"v": (0.2, [[0, 1]])}, {"v": [float("nan")]}, {}, "Video 'v': 1 of 1 scores are NaN"),
        ({"v": (0.2, [[0, float("nan")]])}, {"v": [1.0]}, {}, r"Video 'v': steps_s\[0\]"),
        ({"v": (0.0, [])}, {"v": [1.0]}, {}, "Video 'v': duration_s is 0.0"),
        ({"v": (float("inf"), [])}, {"v": [1.0]}, {}, "duration_s is inf"),
        ({"v": (0.2, [])}, {"v": [1.0]}, {"segment_s": 0}, "segment_s is 0"),
        ({"v": (0.2, [])}, {"v": [1.0]}, {"labelling": "most"}, "labelling is 'most'"),
    ],
)
def test_bad_input_is_refused(truth, scores, options, message):
    truth = {video: StepAnnotation(*annotation) for video, annotation in truth.items()}
    with pytest.raises(ValueError, match=message):
        evaluate_actionness(truth, scores, **options)


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match=r"labels holds \[2\]"):
        average_precision([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="expected two equal 1-D arrays"):
        average_precision([0, 1], [0.1])
    assert average_precision([True, False], [0.2, 0.1]) == 1.0
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))
