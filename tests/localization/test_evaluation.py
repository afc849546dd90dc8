"""`bsp-hf eval`: files in, official numbers out, over n of N videos."""

import gzip
import json

import numpy as np
import pytest
from support.made_videos import make_videos
from typer.testing import CliRunner

from bsp_hf.cli.application import app
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.evaluation import EvaluationOptions, evaluate_files
from bsp_hf.localization.result_files import MomentPrediction, write_actionness, write_moments
from bsp_hf.metrics import label_segments

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


def test_segments_without_a_class_are_scored_as_one(folder, tmp_path):
    test = read_annotations(folder / "annotations.json").of_subset("test")
    path = results_of(test, tmp_path / "results.json", one_label="action")
    report = evaluate_files(path, folder / "annotations.json", "thumos", EvaluationOptions(subset="test"))
    assert report.metrics["average_map"] == 1 and "one class" in report.notes[0]


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


def test_errors_say_what_to_do_and_end_with_status_two(folder, tmp_path):
    assert "unknown; choose one of" in evaluate("a", "b", "--task", "speech", code=2)
    assert "No such file" in evaluate(tmp_path / "no.json", folder / "annotations.json", code=2)
    foreign = [MomentPrediction("0", "elsewhere", "a", np.array([[0.0, 1.0]]), np.ones(1))]
    path = write_moments(tmp_path / "foreign.jsonl", foreign)
    assert "numbers its queries otherwise" in evaluate(
        path, folder / "annotations.json", "--task", "grounding", code=2
    )
