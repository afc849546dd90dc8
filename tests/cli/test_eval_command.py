"""`bsp-hf eval`: a table, a file, and the refusal to score nothing."""

import json

from support.commands import bsp


def test_scores_of_other_videos_are_not_taken_for_bad_ones(tmp_path):
    segments = [{"segment": [1, 4], "label": "jump"}]
    entry = {"duration": 9, "subset": "validation", "annotations": segments}
    truth = {"version": "VERSION 1.3", "taxonomy": [], "database": {"v1": entry}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for name in ("v1", "clip-1"):
        results = {name: [{**segments[0], "score": 0.5}]}
        content = {"version": "VERSION 1.3", "results": results, "external_data": {}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    said = bsp("eval", tmp_path / "v1.json", tmp_path / "truth.json", "-o", tmp_path / "metrics.json")
    assert "predictions for 1 of 1 videos" in said
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["average_map"] == 1
    said = bsp("eval", tmp_path / "clip-1.json", tmp_path / "truth.json", code=2)
    assert "names none of the 1 videos to score" in said
