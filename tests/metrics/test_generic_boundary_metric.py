import json

import numpy as np
import pytest

from bsp_hf.metrics import (
    GEBD_RELATIVE_DISTANCES,
    BoundaryAnnotation,
    evaluate_boundaries,
    read_boundary_annotations,
)


def plain_counts(truth, predictions, distance, min_consistency=None, skip_missing=True):
    """Counts by obvious loops; truth is video -> (duration, raters, consistency)."""
    matched_all = annotated_all = detected_all = 0
    for video, (duration, raters, consistency) in truth.items():
        if min_consistency is not None and consistency < min_consistency:
            continue
        if video not in predictions and skip_missing:
            continue
        detected = [time for time in predictions.get(video, []) if 0 <= time <= duration]
        if not detected:
            annotated_all += len(raters[0])
            continue
        detected_all += len(detected)
        best = None
        for rater in raters:
            free = list(detected)
            matched = 0
            for boundary in rater:
                if not free:
                    break
                nearest = min(free, key=lambda time: abs(time - boundary))
                if abs(nearest - boundary) <= distance * duration:
                    matched += 1
                    free.remove(nearest)
            precision = matched / len(detected)
            recall = matched / len(rater) if rater else 1
            f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
            if best is None or f1 > best[0]:
                best = (f1, matched, len(rater))
        matched_all += best[1]
        annotated_all += best[2]
    return matched_all, annotated_all, detected_all


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("skip_missing", [True, False])
def test_counts_equal_plain_loops(seed, skip_missing):
    rng = np.random.default_rng(seed)
    truth, predictions = {}, {}
    for video in range(30):
        duration = float(rng.integers(2, 20))
        raters = [
            np.sort(np.round(rng.uniform(0, duration, rng.integers(0, 6)), 1)).tolist()
            for _ in range(rng.integers(1, 5))
        ]
        truth[video] = (duration, raters, round(float(rng.random()), 1))
        if rng.random() < 0.8:
            predictions[video] = np.round(rng.uniform(-1, duration + 1, rng.integers(0, 7)), 1).tolist()
    for min_consistency in (None, 0.3):
        scores = evaluate_boundaries(
            {video: BoundaryAnnotation(*record) for video, record in truth.items()},
            predictions,
            relative_distances=GEBD_RELATIVE_DISTANCES,
            min_rater_consistency=min_consistency,
            missing_videos="skip" if skip_missing else "miss",
        )
        for place, distance in enumerate(GEBD_RELATIVE_DISTANCES):
            matched, annotated, detected = plain_counts(
                truth, predictions, distance, min_consistency, skip_missing
            )
            assert scores.num_matched[place] == matched
            assert scores.num_annotated[place] == annotated
            assert scores.num_detected == detected
            assert scores.precision[place] == pytest.approx(matched / detected)
            assert scores.recall[place] == pytest.approx(matched / annotated)
            expected = 2 * matched / (detected + annotated)
            assert scores.f1[place] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("raters", "detected", "matched", "annotated"),
    [
        ([[2.0, 7.0]], [2.0, 7.0], 2, 2),
        ([[2.0]], [2.5], 1, 1),  # exactly 0.05 of 10 s away
        ([[2.0]], [2.51], 0, 1),
        ([[2.0]], [2.0, 2.1], 1, 1),  # one to one
        ([[2.0, 2.1]], [2.05], 1, 2),
        ([[2.0, 2.5]], [2.3, 1.6], 1, 2),  # greedy: 2.0 takes 2.3, which leaves 1.6 for 2.5: too far
        ([[2.0]], [2.25, 1.75], 1, 1),  # equally near: the first
        ([[1.0, 9.0], [5.0]], [5.0], 1, 1),  # the second rater fits
        ([[1.0, 9.0], [5.0]], [3.0], 0, 2),  # none fits: the first rater counts
        ([[1.0], [5.0, 6.0, 7.0]], [], 0, 1),  # nothing detected: the first rater counts
        ([[5.0], [1.0, 2.0]], [-0.1, 10.1], 0, 1),  # all outside: likewise
        ([[0.0, 10.0]], [0.0, 10.0], 2, 2),  # both ends are inside
        ([[]], [4.0], 0, 0),
    ],
)
def test_matching_by_hand(raters, detected, matched, annotated):
    scores = evaluate_boundaries({"v": BoundaryAnnotation(10.0, raters)}, {"v": detected})
    assert (scores.num_matched.tolist(), scores.num_annotated.tolist()) == ([matched], [annotated])


def test_nothing_annotated_or_detected_gives_the_official_shares():
    nothing_annotated = evaluate_boundaries({"v": BoundaryAnnotation(10.0, [[]])}, {"v": [4.0]})
    assert (nothing_annotated.precision[0], nothing_annotated.recall[0], nothing_annotated.f1[0]) == (0, 1, 0)
    nothing_detected = evaluate_boundaries({"v": BoundaryAnnotation(10.0, [[4.0]])}, {"v": []})
    assert (nothing_detected.precision[0], nothing_detected.recall[0], nothing_detected.f1[0]) == (0, 0, 0)


def test_the_best_rater_may_change_with_the_distance():
    # Within 0.5 s only rater one is met, once. Within 1 s two of rater two's three: F1 0.8 against 0.5.
    truth = {"v": BoundaryAnnotation(10.0, [[1.0, 9.0], [1.8, 2.2, 5.0]])}
    scores = evaluate_boundaries(truth, {"v": [1.0, 3.0]}, relative_distances=(0.05, 0.1))
    assert scores.num_matched.tolist() == [1, 2] and scores.num_annotated.tolist() == [2, 3]


def test_skipped_missing_and_foreign_videos_are_counted():
    truth = {
        "good": BoundaryAnnotation(10.0, [[5.0]], 0.9),
        "poor": BoundaryAnnotation(10.0, [[5.0]], 0.29),
        "edge": BoundaryAnnotation(10.0, [[5.0]], 0.3),
        "gone": BoundaryAnnotation(10.0, [[5.0, 6.0]], 0.9),
    }
    predictions = {"good": [5.0], "poor": [1.0], "edge": [5.0], "other": [1.0]}
    lenient = evaluate_boundaries(truth, predictions, min_rater_consistency=0.3, missing_videos="skip")
    assert lenient.f1[0] == 1.0
    assert (lenient.num_videos, lenient.num_videos_with_predictions) == (4, 3)
    assert (lenient.num_videos_inconsistent, lenient.num_videos_scored, lenient.num_videos_outside) == (
        1,
        2,
        1,
    )
    official = evaluate_boundaries(truth, predictions, min_rater_consistency=0.3)
    assert (official.recall[0], official.num_videos_scored) == (0.5, 3)
    assert evaluate_boundaries(truth, predictions, missing_videos="skip").num_videos_scored == 3


def test_a_video_without_predictions_counts_as_missed():
    """As in the challenge's script: of two videos one is found perfectly, so recall is 1/2 and F1 2/3."""
    truth = {name: BoundaryAnnotation(10.0, [[5.0]]) for name in ("found", "absent")}
    scores = evaluate_boundaries(truth, {"found": [5.0]})
    assert (scores.precision[0], scores.recall[0], scores.num_videos_scored) == (1.0, 0.5, 2)
    assert scores.f1_at(0.05) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"No video is left to score: 2 annotated, 0 .*, 1 predicted"):
        evaluate_boundaries(truth, {"Found": [5.0]})


def test_tapos_annotations_are_read_whole_and_score_themselves_perfectly(shared_data):
    truth = read_boundary_annotations(shared_data / "annotations" / "tapos_gebd" / "tapos_gt_val.json.gz")
    assert len(truth) == 1755
    assert {len(annotation.boundaries_s) for annotation in truth.values()} == {1}
    assert sum(len(annotation.boundaries_s[0]) for annotation in truth.values()) == 4150
    scores = evaluate_boundaries(
        truth,
        {video: annotation.boundaries_s[0] for video, annotation in truth.items()},
        relative_distances=GEBD_RELATIVE_DISTANCES,
    )
    assert scores.f1.tolist() == [1.0] * 10
    assert scores.num_matched.tolist() == [4150] * 10
    assert (scores.num_detected, scores.num_videos_scored) == (4150, 1755)


def test_even_guesses_on_tapos_equal_plain_loops(shared_data):
    truth = read_boundary_annotations(shared_data / "annotations" / "tapos_gebd" / "tapos_gt_val.json.gz")
    guesses = {
        video: (annotation.duration_s * np.arange(1, 4) / 4).tolist() for video, annotation in truth.items()
    }
    scores = evaluate_boundaries(truth, guesses, relative_distances=(0.05, 0.25))
    plain = {video: (item.duration_s, item.boundaries_s, None) for video, item in truth.items()}
    for place, distance in enumerate((0.05, 0.25)):
        matched, annotated, detected = plain_counts(plain, guesses, distance)
        assert (scores.num_matched[place], scores.num_annotated[place]) == (matched, annotated)
        assert (scores.num_detected, detected) == (3 * 1755, 3 * 1755)
    assert scores.f1_at(0.05) < scores.average_f1 < scores.f1_at(0.25)


def test_the_field_names_of_kinetics_gebd_are_read(tmp_path):
    record = {"video_duration": 9.5, "fps": 30, "substages_timestamps": [[1, 2.5], []], "f1_consis_avg": 0.4}
    path = tmp_path / "gebd.json"
    path.write_text(json.dumps({"v": record}))
    (annotation,) = read_boundary_annotations(path).values()
    assert (annotation.duration_s, annotation.rater_consistency) == (9.5, 0.4)
    assert annotation.boundaries_s == [[1.0, 2.5], []]


@pytest.mark.parametrize(
    "record",
    [{}, {"duration": 3}, {"duration": 3, "boundaries": [1.0]}, {"duration": "x", "boundaries": []}, 7],
)
def test_malformed_records_are_named(record):
    with pytest.raises(ValueError, match="Video 'v' has a record that cannot be read"):
        read_boundary_annotations({"v": record})


def test_a_file_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"list\.json holds a list"):
        read_boundary_annotations(path)


@pytest.mark.parametrize(
    ("annotation", "predictions", "options", "message"),
    [
        ((0.0, [[1.0]]), {"v": []}, {}, "Video 'v' has duration_s 0.0"),
        ((9.0, []), {"v": []}, {}, "Video 'v' has no rater"),
        ((9.0, [[float("nan")]]), {"v": []}, {}, "Rater 0 of video 'v'"),
        ((9.0, [[1.0]]), {"v": [float("nan")]}, {}, "The predictions of video 'v'"),
        ((9.0, [[1.0]]), {"v": [[1.0]]}, {}, "The predictions of video 'v'"),
        ((9.0, [[1.0]]), {"w": [1.0]}, {}, "No video is left to score: 1 annotated"),
        ((9.0, [[1.0]]), {"v": []}, {"min_rater_consistency": 0.3}, "Video 'v' has no rater_consistency"),
        ((9.0, [[1.0]]), {"v": []}, {"missing_videos": "count"}, "missing_videos is 'count'"),
        ((9.0, [[1.0]]), {"v": []}, {"relative_distances": (0.0,)}, "relative_distances is"),
    ],
)
def test_bad_input_is_refused(annotation, predictions, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_boundaries({"v": BoundaryAnnotation(*annotation)}, predictions, **options)
