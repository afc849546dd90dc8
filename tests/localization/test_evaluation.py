"""`bsp-hf eval`: files in, official numbers out, over n of N videos."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from support.made_videos import make_videos
from typer.testing import CliRunner

from bsp_hf.cli.application import app
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.evaluation import detection_scores, evaluate_files
from bsp_hf.localization.evaluation_options import EvaluationOptions
from bsp_hf.localization.result_files import (
    MomentPrediction,
    read_moments,
    write_actionness,
    write_detections,
    write_moments,
)
from bsp_hf.localization.suppression import attach_classes
from bsp_hf.metrics import (
    SegmentTable,
    label_segments,
    proposal_recall,
    read_boundary_annotations,
    read_ground_truth,
    read_results,
)

ONE = np.ones(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("made"))


def evaluate(*words, code=0):
    result = CliRunner().invoke(app, ["eval", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def moments_of(annotations):
    """The annotations themselves as predicted moments."""
    return [
        MomentPrediction(query.query_id, video.video_id, query.sentence, np.array(query.windows_s), ONE)
        for video in annotations.videos
        for query in video.queries
    ]


def results_of(annotations, path, num_left_out=0, one_label=None):
    """The annotations themselves as a result file."""
    entries = {
        video.video_id: [
            {"label": one_label or s.label, "score": 0.9, "segment": [s.start_s, s.end_s]}
            for s in video.segments
        ]
        for video in annotations.videos[num_left_out:]
    }
    path.write_text(json.dumps({"version": "x", "results": entries, "external_data": {}}))
    return path


def test_the_annotations_as_detections_score_one(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json")
    said = evaluate(
        path, folder / "annotations.json", "--subset", "test", "--output", tmp_path / "out" / "metrics.json"
    )
    assert "predictions for 4 of 4 videos" in said and "average_map  1.0000" in said
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["metrics"]["map@0.95"] == 1 and written["num_videos"] == 4


def test_absent_videos_count_as_missed_or_are_left_out(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json", num_left_out=1)
    options = EvaluationOptions(subset="test")
    report = evaluate_files(path, folder / "annotations.json", "detection", options)
    assert report.coverage == "predictions for 3 of 4 videos" and report.metrics["average_map"] < 1
    options = EvaluationOptions(subset="test", only_predicted=True)
    report = evaluate_files(path, folder / "annotations.json", "detection", options)
    assert report.coverage == "scored on 3 of 4 videos" and report.metrics["average_map"] == 1


def test_a_class_of_absent_videos_alone_is_left_out_with_them(tmp_path):
    labels = {"there": "run", "absent": "jump"}
    content = {
        name: {"duration": 9, "subset": "test", "segments": [{"start": 1, "end": 5, "label": label}]}
        for name, label in labels.items()
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    found = [{"label": label, "score": 0.5, "segment": [1, 5]} for label in labels.values()]
    (tmp_path / "results.json").write_text(json.dumps({"results": {"there": found}}))
    options = EvaluationOptions(subset="test", only_predicted=True)
    report = evaluate_files(tmp_path / "results.json", tmp_path / "annotations.json", "detection", options)
    assert report.metrics["average_map"] == 1 and report.coverage == "scored on 1 of 2 videos"
    assert any("1 classes that the annotations lack" in note for note in report.notes)


@pytest.mark.parametrize("task", ["detection", "thumos", "grounding", "actionness", "boundaries"])
@pytest.mark.parametrize("name", ["durations", "tasks"])
def test_a_file_that_is_named_and_not_there_is_refused_for_every_task(task, name, folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json")
    options = EvaluationOptions(subset="test", **{name: tmp_path / "lost.csv"})
    with pytest.raises(FileNotFoundError, match=r"lost\.csv"):
        evaluate_files(path, folder / "annotations.json", task, options)


def test_segments_without_a_class_are_scored_as_one(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json", one_label="action")
    report = evaluate_files(path, folder / "annotations.json", "thumos", EvaluationOptions(subset="test"))
    assert report.metrics["average_map"] == 1 and "one class" in report.notes[0]


def test_the_score_of_a_training_is_that_of_the_file_it_writes(folder, tmp_path):
    """Every segment with two classes, one of which the annotations lack; recall counts a segment once."""
    test = read_annotations(folder / "annotations.json").of_subset("test")
    names = [*test.labels, "juggle"]
    rng = np.random.default_rng(0)
    detections = {}
    for video in test.videos:
        segments = np.sort(rng.uniform(0, 20, (60, 2)), axis=1)
        segments[:2] = [[s.start_s, s.end_s] for s in video.segments][:2]
        scores = np.zeros(len(names))
        scores[[0, -1]] = 0.4, 0.6
        detections[video.video_id] = attach_classes(segments, rng.random(60), scores)
    path = write_detections(tmp_path / "results.json", detections, names)
    for task, is_thumos in (("detection", False), ("thumos", True)):
        trained = detection_scores(test, detections, names, is_thumos)
        report = evaluate_files(path, folder / "annotations.json", task, EvaluationOptions(subset="test"))
        assert report.metrics == trained
        assert any("240 predictions of 1 classes that the annotations lack" in note for note in report.notes)
    # Each segment once, the best first, whatever its classes.
    proposals = SegmentTable.from_columns(
        np.repeat(list(detections), 60), None,
        np.concatenate([found.segments[:60] for found in detections.values()]),
        np.concatenate([found.scores[:60] for found in detections.values()]),
    )  # fmt: skip
    assert trained["auc"] == proposal_recall(test.segment_table(), proposals).auc


def test_classes_that_no_annotation_has_are_refused_by_name(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json", one_label="Jump High")
    with pytest.raises(ValueError, match=r"none of the 1 predicted classes.*'Jump High'.*annotations"):
        evaluate_files(path, folder / "annotations.json", "detection", EvaluationOptions(subset="test"))


def test_the_annotations_as_moments_score_one(folder, tmp_path):
    annotations = read_annotations(folder / "annotations.json")
    path = write_moments(tmp_path / "predictions.jsonl", moments_of(annotations.of_subset("test")))
    for rule in ("lgi", "2d-tan"):
        said = evaluate(
            path, folder / "annotations.json", "--task", "grounding", "--subset", "test", "--rule", rule
        )
        assert "recall@1,0.7  1.0000" in said and "4 of 4 videos" in said
    all_of_them = evaluate(path, folder / "annotations.json", "--task", "grounding")
    assert "4 of 12 videos" in all_of_them and "recall@1,0.5  0.3333" in all_of_them


def test_actionness_is_the_framewise_precision(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    labels = {name: label_segments(steps) for name, steps in test.step_annotations().items()}
    path = write_actionness(tmp_path / "actionness.csv", labels)
    said = evaluate(path, folder / "annotations.json", "--task", "actionness", "--subset", "test")
    assert "pooled_ap       1.0000" in said and "scored on 4 of 4 videos" in said


def test_boundaries_of_real_annotations_find_themselves(shared_data, tmp_path):
    path = shared_data / "annotations" / "tapos_gebd" / "tapos_gt_val.json.gz"
    truth = json.loads(gzip.decompress(path.read_bytes()))
    found = {video: record["boundaries"][0] for video, record in list(truth.items())[:-5]}
    (tmp_path / "boundaries.json").write_text(json.dumps(found))
    said = evaluate(tmp_path / "boundaries.json", path, "--task", "boundaries", "--only-predicted")
    assert "scored on 1750 of 1755 videos" in said and "f1@0.05         1.0000" in said


def test_real_charades_annotations_as_predictions(shared_data, tmp_path):
    path = shared_data / "annotations" / "charades_sta" / "charades_sta_test.txt"
    predictions = write_moments(tmp_path / "p.jsonl", moments_of(read_annotations(path)))
    report = evaluate_files(predictions, path, "grounding")
    assert report.metrics["recall@1,0.7"] == 1 and report.coverage == "predictions for 1334 of 1334 videos"


def queries_file(path, ids):
    """A QVHighlights file of one query a row of `(video, query id)`, each with a moment of its own."""
    lines = [
        {"qid": qid, "query": f"sentence {n}", "vid": video, "duration": 20, "relevant_windows": [[n, n + 3]]}
        for n, (video, qid) in enumerate(ids)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_query_ids_that_repeat_across_videos_are_kept_apart(tmp_path, caplog):
    path = queries_file(tmp_path / "truth.jsonl", [("a", 1), ("a", 2), ("b", 1), ("b", 2)])
    annotations = read_annotations(path)
    assert "2 query ids repeat in several videos" in caplog.text
    predictions = write_moments(tmp_path / "p.jsonl", moments_of(annotations))
    report = evaluate_files(predictions, path, "grounding")
    assert report.metrics["recall@1,0.7"] == 1 and report.metrics["mean_iou"] == 1
    assert report.notes[0] == "4 of 4 queries have predictions"
    # Swapped between the videos, no id is unknown, but every moment answers the other video's query.
    swapped = [replace(found, video_id="ba"["ab".index(found.video_id)]) for found in moments_of(annotations)]
    report = evaluate_files(write_moments(tmp_path / "s.jsonl", swapped), path, "grounding")
    assert report.metrics["mean_iou"] == pytest.approx(0.2)  # moments of 3 s, 2 s apart


def test_a_query_id_that_repeats_within_a_video_is_refused_by_file_and_line(tmp_path):
    truth = queries_file(tmp_path / "truth.jsonl", [("a", 1), ("b", 1), ("a", 1)])
    with pytest.raises(ValueError, match=r"truth\.jsonl, line 3: query id 1 of video a .* line 1"):
        read_annotations(truth)
    table = tmp_path / "mine.csv"
    table.write_text("video,start,end,sentence,query_id\na,0,1,one,x\nb,0,1,two,x\na,0,1,three,x\n")
    with pytest.raises(ValueError, match=r"mine\.csv, line 4: query id x of video a .* line 2"):
        read_annotations(table)
    predictions = tmp_path / "p.jsonl"
    row = '{"qid": %d, "query": "q", "vid": "%s", "pred_relevant_windows": [[0, 1, 0.5]]}\n'
    predictions.write_text(row % (1, "a") + row % (1, "b") + row % (1, "a"))
    with pytest.raises(ValueError, match=r"p\.jsonl, line 3: query 1 of video a .* line 1"):
        read_moments(predictions)


def test_a_moment_past_the_end_is_cut_under_the_rule_of_2d_tan_and_kept_under_that_of_lgi(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "video,start,end,sentence,duration,query_id\n"
        "a,4,16,cut,10,0\na,12,16,after the end,10,1\nb,4,16,unknown duration,,2\n"
    )
    answers = [("a", "0", [4.0, 10.0]), ("b", "2", [4.0, 10.0])]
    predictions = write_moments(
        tmp_path / "p.jsonl",
        [
            MomentPrediction(query_id, video, "s", np.array([moment]), ONE)
            for video, query_id, moment in answers
        ],
    )
    report = evaluate_files(predictions, path, "grounding", EvaluationOptions(rule="2d-tan"))
    assert report.metrics["mean_iou"] == pytest.approx((1 + 0.5) / 2)
    assert report.metrics["recall@1,0.7"] == 0.5
    assert report.notes[0] == "2 of 2 queries have predictions"
    assert "1 queries were left out: their moment starts after the end of the video" in report.notes
    assert any("duration of 1 videos is unknown" in note for note in report.notes)
    report = evaluate_files(predictions, path, "grounding", EvaluationOptions(rule="lgi"))
    assert report.metrics["mean_iou"] == pytest.approx((0.5 + 0 + 0.5) / 3)


def test_real_charades_annotations_are_cut_at_the_length_of_their_videos(shared_data, tmp_path):
    folder = shared_data / "annotations" / "charades_sta"
    path, lengths = (
        folder / "charades_sta_test.txt",
        folder / "Charades_v1_test_id_scene_length_actions.csv.gz",
    )
    annotations = read_annotations(path, durations=lengths)
    late = [q for video in annotations.videos for q in video.queries if q.end_s > video.duration_s]
    assert (len(late), annotations.num_queries) == (562, 3720)
    inside = [
        replace(found, windows_s=np.minimum(found.windows_s, annotations.by_id[found.video_id].duration_s))
        for found in moments_of(annotations)
    ]
    predictions = write_moments(tmp_path / "p.jsonl", inside)
    for rule, is_perfect in (("2d-tan", True), ("lgi", False)):
        report = evaluate_files(
            predictions, path, "grounding", EvaluationOptions(rule=rule, durations=lengths)
        )
        assert (report.metrics["mean_iou"] == 1) == is_perfect


def test_the_layout_of_qvhighlights_picks_its_own_scorer(tmp_path):
    truth = [
        {"qid": 1, "query": "one", "vid": "a", "duration": 10, "relevant_windows": [[0, 10]],
         "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 3, 2], [1, 1, 1]]},
        {"qid": 2, "query": "two", "vid": "b", "duration": 60, "relevant_windows": [[0, 20], [30, 50]],
         "relevant_clip_ids": [29], "saliency_scores": [[4, 4, 4]]},
    ]  # fmt: skip
    found = [
        {"qid": 1, "query": "one", "vid": "a", "pred_relevant_windows": [[0, 5, 0.9]],
         "pred_saliency_scores": [0.9, 0.1, 0.2, 0.3, 0.4]},
        {"qid": 2, "query": "two", "vid": "b", "pred_relevant_windows": [[0, 20, 0.9], [31, 50, 0.8]],
         "pred_saliency_scores": list(range(30))},
    ]  # fmt: skip
    for name, rows in (("truth.jsonl", truth), ("found.jsonl", found)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = evaluate(tmp_path / "found.jsonl", tmp_path / "truth.jsonl", "--task", "grounding")
    assert said.startswith("grounding by the rule of qvhighlights, predictions for 2 of 2 videos")
    report = evaluate_files(tmp_path / "found.jsonl", tmp_path / "truth.jsonl", "grounding")
    expected = {
        "recall@1,0.5": 1.0,  # the first moment's tIoU is 0.5, which counts here
        "recall@1,0.7": 0.5,
        "mr_map@0.5": 1.0,
        "mr_map@0.75": 0.5,
        "mr_map": (0.1 + 1) / 2,  # of ten thresholds the first query reaches one, the second all
        "mr_map_short": 0.1,
        "mr_map_middle": 1.0,
        "hl_map_very_good": (1 / 3 + 1) / 2,  # to one rater of three the first clip is very good
        "hit@1_very_good": 1.0,
        "hl_map_fair": 1.0,
    }
    assert {name: report.metrics[name] for name in expected} == pytest.approx(expected)
    assert "2 of 2 queries with rated clips have saliency scores" in report.notes
    assert report.to_dict()["rule"] == "qvhighlights"
    options = EvaluationOptions(rule="2d-tan")
    report = evaluate_files(tmp_path / "found.jsonl", tmp_path / "truth.jsonl", "grounding", options)
    assert report.metrics["recall@1,0.5"] == 0.5 and "mr_map" not in report.metrics


def test_the_annotations_of_qvhighlights_as_predictions(shared_data, tmp_path):
    path = shared_data / "annotations" / "qvhighlights" / "highlight_val_release.jsonl.gz"
    annotations = read_annotations(path)
    queries = [(video, query) for video in annotations.videos for query in video.queries]
    moments, hits, shares = [], [], []
    for (video, query), moment in zip(queries, moments_of(annotations), strict=True):
        clips = np.zeros(int(video.duration_s / 2))
        for clip, scores in query.saliency:
            clips[clip] = np.mean(scores)
        hits.append(max(dict(query.saliency)[int(clips.argmax())]) == 4)
        count = len(query.windows_s)
        shares.append(min(1, 10 / count))  # ten moments take part
        moments.append(replace(moment, scores=np.linspace(1, 0.5, count), saliency=clips))
    assert len(moments) == 1550
    written = write_moments(tmp_path / "p.jsonl", moments)
    report = evaluate_files(written, path, "grounding")
    assert (report.metrics["recall@1,0.7"], report.metrics["mean_iou"]) == (1, 1)
    assert report.metrics["mr_map"] == pytest.approx(np.mean(shares)) and min(shares) < 1
    assert report.metrics["hit@1_very_good"] == pytest.approx(np.mean(hits))
    assert 0 < report.metrics["hl_map_very_good"] < report.metrics["hl_map_fair"] < 1
    again = read_moments(written)[moments[0].key].saliency
    np.testing.assert_array_equal(again, moments[0].saliency)


def test_instances_that_actionformer_and_opentad_leave_out(tmp_path):
    """A is annotated twice within 1 ms, C does not end after its start; all else is found."""
    entries = [("A", 1, 5), ("A", 1.0005, 4.9995), ("B", 1, 5), ("A", 7, 9), ("C", 3, 3), ("C", 6, 8)]
    annotations = [{"label": label, "segment": [start, end]} for label, start, end in entries]
    record = {"subset": "validation", "duration": 9, "annotations": annotations}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"v": record}}))
    found = [{**annotations[row], "score": 1 - row / 10} for row in (0, 2, 3, 5)]
    (tmp_path / "found.json").write_text(json.dumps({"results": {"v": found}}))
    expected = {"activitynet": (2 / 3 + 1 + 1 / 2) / 3, "actionformer": (1 + 1 + 1 / 2) / 3, "opentad": 1.0}
    for rule, average_map in expected.items():
        options = EvaluationOptions(rule=rule)
        report = evaluate_files(tmp_path / "found.json", tmp_path / "truth.json", "detection", options)
        assert (report.rule, report.metrics["average_map"]) == (rule, pytest.approx(average_map))
    assert report.notes[0] == "mAP leaves out 2 repeated or empty instances, as opentad does"
    said = evaluate(tmp_path / "found.json", tmp_path / "truth.json", "--rule", "actionformer")
    assert said.startswith("detection by the rule of actionformer, ")


def detection_files(tmp_path, entries, found, subset="validation"):
    """Files of `(label, start, end)` as annotations and predictions of one video `v`, and of other videos."""
    annotations = [{"label": label, "segment": [start, end]} for label, start, end in entries]
    record = {"subset": subset, "duration": 9, "annotations": annotations}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"v": record}}))
    results = {
        video: [{"label": label, "segment": [start, end], "score": 0.9} for label, start, end in rows]
        for video, rows in found.items()
    }
    (tmp_path / "found.json").write_text(json.dumps({"results": results}))
    return tmp_path / "found.json", tmp_path / "truth.json"


def test_ambiguous_segments_of_thumos_are_no_class(tmp_path):
    files = detection_files(
        tmp_path, [("Diving", 2, 6), ("Ambiguous", 7, 8)], {"v": [("Diving", 2, 6)]}, "test"
    )
    report = evaluate_files(*files, "thumos")
    assert report.metrics["average_map"] == 1
    assert "1 segments of the class Ambiguous are left out" in report.notes[0]


def test_classes_that_are_numbers_are_compared_as_text(tmp_path):
    files = detection_files(tmp_path, [(3, 2, 6), ("7", 7, 8)], {"v": [("3", 2, 6), (7, 7, 8)]})
    assert evaluate_files(*files, "detection").metrics["average_map"] == 1


def test_predictions_of_videos_that_are_not_annotated_are_named(tmp_path):
    files = detection_files(tmp_path, [("A", 2, 6)], {"v": [("A", 2, 6)], "w": [("A", 2, 6)], "x": []})
    report = evaluate_files(*files, "detection")
    note = "2 predicted videos are not annotated, first 'w': their segments count as false positives"
    assert report.notes == (note,)
    truth = tmp_path / "t.json"
    truth.write_text('[{"video": "a", "start": 1.0, "end": 2.0, "label": "x", "duration": 4.0}]')
    rows = {"a": np.eye(20)[7], "b": np.ones(5)}
    path = write_actionness(tmp_path / "a.csv", rows)
    report = evaluate_files(path, truth, "actionness")
    assert report.notes == ("1 predicted videos are not annotated, first 'b': they are left out",)
    (tmp_path / "b.json").write_text('{"a": [1.0], "b": [2.0]}')
    (tmp_path / "raters.json").write_text('{"a": {"duration": 4.0, "boundaries": [[1.0]]}}')
    report = evaluate_files(tmp_path / "b.json", tmp_path / "raters.json", "boundaries")
    assert report.notes == ("1 predicted videos are not annotated, first 'b': they are left out",)


def test_an_annotation_database_without_the_key_database_is_scored(tmp_path):
    found, truth = detection_files(tmp_path, [("A", 2, 6)], {"v": [("A", 2, 6)]})
    database = json.loads(truth.read_text())["database"]
    truth.write_text(json.dumps(database))
    assert evaluate_files(found, truth, "detection").metrics["average_map"] == 1
    del database["v"]["subset"]  # as BMN keeps it
    truth.write_text(json.dumps(database))
    assert evaluate_files(found, truth, "detection").metrics["average_map"] == 1


def test_actionness_is_read_by_its_times(tmp_path):
    truth = tmp_path / "t.json"
    truth.write_text('[{"video": "a", "start": 1.0, "end": 2.0, "label": "x", "duration": 4.0}]')
    rows = [f"a,{n * 0.2:.3f},{n * 0.2 + 0.2:.3f},{float(5 <= n < 10)}" for n in range(20)]
    for order in (rows, rows[::-1]):
        (tmp_path / "a.csv").write_text("\n".join(["video,start,end,score", *order]) + "\n")
        assert evaluate_files(tmp_path / "a.csv", truth, "actionness").metrics["pooled_ap"] == 1
    for missing, message in ((7, r"a\.csv: video a has no score from 1\.4 s to 1\.6 s"),
                             (0, r"video a has no score from 0 s to 0\.2 s")):  # fmt: skip
        kept = [row for n, row in enumerate(rows) if n != missing]
        (tmp_path / "a.csv").write_text("\n".join(["video,start,end,score", *kept]) + "\n")
        with pytest.raises(ValueError, match=message):
            evaluate_files(tmp_path / "a.csv", truth, "actionness")
    (tmp_path / "a.csv").write_text("\n".join(["video,start,end,score", *rows, rows[3]]) + "\n")
    with pytest.raises(ValueError, match=r"line 22: video a has two scores at 0\.6 s"):
        evaluate_files(tmp_path / "a.csv", truth, "actionness")


def test_videos_with_nothing_to_find_are_refused_and_no_file_of_undefined_scores_is_written(tmp_path):
    truth = tmp_path / "t.json"
    other = {"video": "b", "duration": 4.0, "start": 1.0, "end": 2.0, "label": "x"}
    truth.write_text(json.dumps([{"video": "a", "duration": 4.0}, other]))
    rows = [f"a,{n * 0.2:.1f},{n * 0.2 + 0.2:.1f},0.{n:02d}" for n in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(["video,start,end,score", *rows]) + "\n")
    with pytest.raises(ValueError, match=r"pooled_ap, mean_video_ap cannot be .* \(1\) name nothing to find"):
        evaluate_files(tmp_path / "a.csv", truth, "actionness")


def test_a_rule_of_another_task_is_refused(tmp_path):
    for task, rule, message in (
        ("detection", "lgi", "choose one of activitynet, actionformer, opentad"),
        ("grounding", "opentad", "choose one of 2d-tan, lgi, qvhighlights"),
        ("boundaries", "lgi", "leave it out"),
    ):
        with pytest.raises(ValueError, match=f"rule '{rule}' is none of the task {task}; {message}"):
            evaluate_files("a", "b", task, EvaluationOptions(rule=rule))


def test_errors_say_what_to_do_and_end_with_status_two(folder, tmp_path):
    assert "unknown; choose one of" in evaluate("a", "b", "--task", "speech", code=2)
    assert "No such file" in evaluate(tmp_path / "no.json", folder / "annotations.json", code=2)
    foreign = [MomentPrediction("0", "elsewhere", "a", np.array([[0.0, 1.0]]), np.ones(1))]
    path = write_moments(tmp_path / "foreign.jsonl", foreign)
    assert "numbers its queries otherwise" in evaluate(
        path, folder / "annotations.json", "--task", "grounding", code=2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_s": 0.0}, "--segment-s: 0.0 must be positive"),
        ({"segment_s": float("nan")}, "--segment-s: nan must be positive"),
        ({"labelling": "middle"}, "--labelling: 'middle' is not one of any_overlap, center"),
        ({"min_consistency": 2.0}, "--min-consistency: 2.0 must be between 0 and 1"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        EvaluationOptions(**options)


def test_what_does_not_fit_names_its_file(folder, tmp_path):
    (tmp_path / "a.csv").write_text("video,score\nv08,0.5\n")
    with pytest.raises(ValueError, match=r"a\.csv for .*annotations\.json: Video 'v08': scores have shape"):
        evaluate_files(tmp_path / "a.csv", folder / "annotations.json", "actionness")
    (tmp_path / "r.json").write_text('{"results": {"v": [{"segment": [1, 2], "label": "x"}]}}')
    with pytest.raises(ValueError, match=r"r\.json: Video 'v' has the entry"):
        read_results(tmp_path / "r.json")
    (tmp_path / "t.json").write_text('{"database": {"v": {"subset": "t", "annotations": [{"label": "x"}]}}}')
    with pytest.raises(ValueError, match=r"t\.json: Video 'v' has the entry"):
        read_ground_truth(tmp_path / "t.json", "t")
    (tmp_path / "five.json").write_text("5")
    with pytest.raises(ValueError, match=r"five\.json holds a int"):
        options = EvaluationOptions(layout="activitynet")
        evaluate_files(tmp_path / "r.json", tmp_path / "five.json", "detection", options)
    (tmp_path / "b.json").write_text('{"v": {"duration": 1}}')
    with pytest.raises(ValueError, match=r"b\.json: Video 'v' has a record"):
        read_boundary_annotations(tmp_path / "b.json")
