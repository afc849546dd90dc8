"""The `evaluate` script gives the numbers of the functions under it, in one process and in two."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bsp_hf.metrics import activitynet_map, proposal_recall
from bsp_hf.metrics.hub import METRIC_NAMES, SCRIPT_PATH, load_metric
from bsp_hf.metrics.hub.table import temporal_detection_map

LOAD_ALL = """
import json, sys
from bsp_hf.metrics.hub import METRIC_NAMES, load_metric
inputs, results = json.load(sys.stdin), {}
for name in METRIC_NAMES:
    metric = load_metric(name)
    results[name] = metric.compute(**inputs[name])
    results[name]["described"] = [metric.description, metric.inputs_description]
print(json.dumps(results))
"""

ONE_OF_TWO = """
import json, sys
from bsp_hf.metrics.hub import load_metric
process_id = int(sys.argv[1])
shared = {"num_process": 2, "experiment_id": "gather", "cache_dir": sys.argv[2]}
metric = load_metric("temporal_detection_map", process_id=process_id, **shared)
rows = json.load(sys.stdin)
for prediction, reference in list(zip(rows["predictions"], rows["references"]))[process_id::2]:
    metric.add(prediction=prediction, reference=reference)
print(json.dumps(metric.compute()))
"""


def offline_environment(folder):
    return {
        **os.environ,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@pytest.fixture
def rows(golden_json):
    """A golden case as rows of videos, less the predictions outside the subset, which no row can hold."""
    case = golden_json("metrics/anet_map")
    predictions, references = [], []
    for video, record in case["ground_truth"]["database"].items():
        if record["subset"] != case["subset"]:
            continue
        found = case["prediction"]["results"].get(video, [])
        predictions.append(
            {
                "video_id": video,
                **{f"{key}s": [entry[key] for entry in found] for key in ("label", "segment", "score")},
            }
        )
        references.append(
            {
                "video_id": video,
                **{
                    f"{key}s": [entry[key] for entry in record["annotations"]] for key in ("label", "segment")
                },
            }
        )
    return {"predictions": predictions, "references": references}


@pytest.fixture
def expected(golden_json):
    """The same case through the function, predictions outside the subset removed."""
    case = golden_json("metrics/anet_map")
    inside = {
        video: found
        for video, found in case["prediction"]["results"].items()
        if case["ground_truth"]["database"].get(video, {}).get("subset") == case["subset"]
    }
    return case["ground_truth"], {"results": inside}


def test_the_script_exists_and_unknown_names_are_refused():
    assert os.path.isfile(SCRIPT_PATH)
    with pytest.raises(ValueError, match=r"no metric 'bleu'; there are \('actionness_ap'"):
        load_metric("bleu")


def test_every_metric_loads_by_path_from_anywhere_and_computes(tmp_path, rows, expected):
    without_labels = {
        side: [{key: row[key] for key in row if key != "labels"} for row in rows[side]] for side in rows
    }
    inputs = {
        "temporal_detection_map": rows,
        "temporal_proposal_recall": {**without_labels, "max_proposals_per_video": 10},
        "moment_retrieval": {
            "predictions": [[], [[0, 5], [1, 2]]],
            "references": [[1, 3], [0, 10]],
            "rule": "lgi",
        },
        "actionness_ap": {
            "predictions": [
                {"video_id": "a", "scores": [0.1, 0.2, 0.9, 0.8, 0.1]},
                {"video_id": "b", "scores": []},
            ],
            "references": [
                {"video_id": "a", "duration": 1.0, "steps": [[0.4, 0.7]]},
                {"video_id": "b", "duration": 2.0, "steps": []},
            ],
        },
        "event_boundary_f1": {
            "predictions": [{"video_id": "a", "boundaries": [0.1]}, {"video_id": "b", "boundaries": []}],
            "references": [
                {"video_id": "a", "duration": 1.0, "boundaries": [[0.12], []], "rater_consistency": None},
                {"video_id": "b", "duration": 1.0, "boundaries": [[0.12]], "rater_consistency": 0.5},
            ],
        },
        "boundary_type_accuracy": {"predictions": [1, 2], "references": [1, 1]},
    }
    run = subprocess.run(
        [sys.executable, "-c", LOAD_ALL],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=offline_environment(tmp_path),
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])

    for name in METRIC_NAMES:
        description, inputs = results[name]["described"]
        assert description.startswith("Compute ") and "Args:" not in description
        assert "predictions: " in inputs and "references: " in inputs and "Returns:" in inputs
    scores = activitynet_map(*expected)
    assert results["temporal_detection_map"]["average_map"] == scores.average_map
    assert results["temporal_detection_map"]["ap_per_class"] == scores.average_ap_per_class
    assert results["temporal_detection_map"]["num_videos_with_predictions"] == 29
    curve = proposal_recall(*expected, max_proposals_per_video=10)
    assert results["temporal_proposal_recall"]["auc"] == pytest.approx(curve.auc, abs=1e-12)
    np.testing.assert_allclose(results["temporal_proposal_recall"]["average_recall"], curve.average_recall)
    assert results["moment_retrieval"]["R@1,IoU=0.5"] == 0.5
    assert results["moment_retrieval"]["R@5,IoU=0.7"] == 0.0
    assert results["moment_retrieval"]["mean_iou"] == 0.25
    assert results["actionness_ap"]["pooled_ap"] == 1.0
    assert results["actionness_ap"]["num_videos_with_predictions"] == 1
    assert results["event_boundary_f1"]["f1"] == [pytest.approx(2 / 3)]
    assert results["boundary_type_accuracy"]["accuracy"] == 0.5
    assert results["boundary_type_accuracy"]["class_recall"]["same-class"] == 0.5


@pytest.mark.slow
def test_two_processes_gather_to_the_result_of_one(tmp_path, rows, expected):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, str(process_id), str(tmp_path / "shared")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=offline_environment(tmp_path),
        )
        for process_id in range(2)
    ]
    for worker in workers:
        worker.stdin.write(json.dumps(rows))
        worker.stdin.close()
    outputs = []
    for worker in workers:
        worker.stdin = None
        stdout, stderr = worker.communicate(timeout=180)
        assert worker.returncode == 0, stderr
        outputs.append(json.loads(stdout.splitlines()[-1]))
    assert outputs[1] is None
    scores = activitynet_map(*expected)
    # Classes come in another order, so the mean over them may differ in its last bit.
    assert outputs[0]["average_map"] == pytest.approx(scores.average_map, abs=1e-12)
    for label, value in scores.average_ap_per_class.items():
        assert outputs[0]["ap_per_class"][label] == pytest.approx(value, abs=1e-12)
    assert outputs[0]["num_videos"] == scores.num_videos


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows["predictions"][0].update(video_id="other"),
            "prediction of video 'other' stands beside",
        ),
        (lambda rows: [rows[side].append(rows[side][0]) for side in rows], "was added twice"),
        (lambda rows: rows["predictions"][1]["scores"].append(0.5), "segments and .* scores"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(rows, change, message):
    change(rows)
    with pytest.raises(ValueError, match=message):
        temporal_detection_map(**rows)
