"""Result files are read back as they were written, and bad ones are refused by their line."""

import json

import numpy as np
import pytest

from bsp_hf.localization.gtad.video_classes import read_class_score_file
from bsp_hf.localization.result_files import (
    MomentPrediction,
    read_actionness,
    read_boundaries,
    read_moments,
    write_actionness,
    write_moments,
    write_thumos_text,
)
from bsp_hf.localization.suppression import Detections


def test_result_files_come_back(tmp_path):
    moments = [
        MomentPrediction("7", "v", "a jump", np.array([[1.0, 2.5], [0.0, 9.0]]), np.array([0.9, 0.1])),
        MomentPrediction("x8", "w", "nothing", np.zeros((0, 2)), np.zeros(0)),
    ]
    found = read_moments(write_moments(tmp_path / "p.jsonl", moments))
    assert list(found) == [("v", "7"), ("w", "x8")] and len(found["w", "x8"].windows_s) == 0
    np.testing.assert_array_equal(found["v", "7"].windows_s, moments[0].windows_s)
    line = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert line == {"qid": 7, "query": "a jump", "vid": "v",
                    "pred_relevant_windows": [[1.0, 2.5, 0.9], [0.0, 9.0, 0.1]]}  # fmt: skip
    scores = {"v": np.array([0.25, 1e-9, 1.0]), "w": np.array([0.5])}
    back = read_actionness(write_actionness(tmp_path / "a.csv", scores))
    assert all(np.array_equal(back[name], scores[name]) for name in scores)
    assert (tmp_path / "a.csv").read_text().splitlines()[:3] == [
        "video,start,end,score", "v,0.000,0.200,0.25", "v,0.200,0.400,1e-09",
    ]  # fmt: skip
    detections = {"v": Detections(np.array([[1.04, 2.0]]), np.array([0.5]), np.array([1]))}
    write_thumos_text(tmp_path / "r.txt", detections, (7, 9))
    assert (tmp_path / "r.txt").read_text() == "v 1.0 2.0 9 0.500000\n"


def test_bad_result_files_name_the_line(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        '{"qid": 1, "query": "q", "vid": "v", "pred_relevant_windows": [[1]]}\n'
    )
    with pytest.raises(ValueError, match="line 1"):
        read_moments(tmp_path / "p.jsonl")
    (tmp_path / "a.csv").write_text("video,score\nv,0.5\nv,high\n")
    with pytest.raises(ValueError, match=r"line 3.*'high'"):
        read_actionness(tmp_path / "a.csv")
    (tmp_path / "b.json").write_text('{"v": "soon"}')
    with pytest.raises(ValueError, match="list of seconds"):
        read_boundaries(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"class": ["a", "b"], "results": {"v": [1.0]}}')
    with pytest.raises(ValueError, match=r"1,. scores for 2 classes"):
        read_class_score_file(tmp_path / "c.json")
