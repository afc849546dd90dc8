"""Result files are read back as they were written, and bad ones are refused by their line."""

import gzip
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
    (tmp_path / "q.jsonl").write_text('{"qid": 1, "query": "q", "pred_relevant_windows": [[0, 1, 1]]}\n')
    with pytest.raises(ValueError, match="line 1: no 'vid'; expected qid, query, vid"):
        read_moments(tmp_path / "q.jsonl")
    (tmp_path / "a.csv").write_text("video,score\nv,0.5\nv,high\n")
    with pytest.raises(ValueError, match=r"line 3.*'high'"):
        read_actionness(tmp_path / "a.csv")
    (tmp_path / "b.json").write_text('{"v": "soon"}')
    with pytest.raises(ValueError, match="list of seconds"):
        read_boundaries(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"class": ["a", "b"], "results": {"v": [1.0]}}')
    with pytest.raises(ValueError, match=r"1,. scores for 2 classes"):
        read_class_score_file(tmp_path / "c.json")


def test_keys_that_stand_twice_are_refused_in_every_result_file(tmp_path):
    moments = '{"qid": 1, "query": "q", "vid": "v", "pred_relevant_windows": [[0, 1, 0.5]], "vid": "u"}\n'
    scores = '{"class": ["a"], "results": {"v": [0.1], "v": [0.9]}}'
    for read, name, content in (
        (read_moments, "p.jsonl", moments),
        (read_boundaries, "b.json", '{"v": [1.0], "v": [2.0]}'),
        (read_class_score_file, "c.json", scores),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=rf"{name}.*the key 'v(id)?' stands twice"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"class": ["a"], "results": {"v": [float("nan")]}}, "v has scores that are negative or not finite"),
        ({"class": ["a"], "results": {"v": [-0.5]}}, "v has scores that are negative or not finite"),
        ({"class": ["a", "a"], "results": {"v": [0.5, 0.5]}}, "the class a stands twice"),
    ],
)
def test_class_scores_that_make_no_sense_are_refused(tmp_path, content, message):
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"c\.json.*{message}"):
        read_class_score_file(tmp_path / "c.json")


def test_class_scores_may_be_gzipped(tmp_path):
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b'{"class": ["a"], "results": {"v": [0.5]}}'))
    assert read_class_score_file(tmp_path / "c.json.gz").scores["v"].tolist() == [0.5]


@pytest.mark.parametrize("times", ['"12"', "null", "[NaN]", '["soon"]', "[[1]]"])
def test_boundaries_that_are_no_list_of_seconds_are_refused(tmp_path, times):
    (tmp_path / "b.json").write_text(f'{{"v": {times}}}')
    with pytest.raises(ValueError, match=r"b\.json: video v: .*list of seconds"):
        read_boundaries(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("starts_and_ends", "message"),
    [
        ([(0.0, 0.2), (0.1, 0.3), (0.3, 0.5)], "v has two scores from 0.1 s to 0.2 s"),
        ([(0.0, 0.1), (0.1, 0.3), (0.3, 0.5)], "v has segments of 0.1 s and of 0.2 s"),
        ([(0.0, 0.2), (0.2, 0.2)], "line 3: the segment from 0.2 to 0.2 does not end after its start"),
        ([(0.2, 0.0), (0.4, 0.2)], "line 2: the segment from 0.2 to 0 does not end after its start"),
    ],
)
def test_actionness_of_segments_that_overlap_or_differ_is_refused(tmp_path, starts_and_ends, message):
    rows = "".join(f"v,{start},{end},0.5\n" for start, end in starts_and_ends)
    (tmp_path / "a.csv").write_text("video,start,end,score\n" + rows)
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}"):
        read_actionness(tmp_path / "a.csv")


@pytest.mark.parametrize("segment_s", [0.2, 1 / 3, 0.04, 1.0])
def test_actionness_of_any_segment_length_comes_back(tmp_path, segment_s):
    scores = {"v": np.linspace(0, 1, 700)}
    path = write_actionness(tmp_path / "a.csv", scores, segment_s)
    np.testing.assert_allclose(read_actionness(path)["v"], scores["v"], rtol=1e-7)
    lines = path.read_text().splitlines()
    lines[-1] = lines[-1].replace(lines[-1].split(",")[2], f"{699 * segment_s + segment_s / 2:.3f}")
    path.write_text("\n".join(lines))  # the last segment ends with the video
    assert len(read_actionness(path)["v"]) == 700
