"""`bsp-hf segment` over a LeRobot v3 data set: a subtask for every frame, in its own layout."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from datasets import Dataset
from support.commands import bsp, plain
from support.tiny_localizers import boundary_classifier, tiny_extractor

from bsp_hf import save_checkpoint_folder

ROOT = Path(__file__).resolve().parents[2]
DATA, CAMERA = "data/chunk-000/file-000.parquet", "observation.images.top"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The example's data set, and a boundary classifier."""
    home = tmp_path_factory.mktemp("lerobot")
    save_checkpoint_folder(boundary_classifier(), tiny_extractor(), home / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make", "--output_dir", str(home / "squares")])
        runpy.run_path(str(ROOT / "examples" / "make_lerobot_dataset.py"), run_name="__main__")
    return home


def segment(folder, *words, source="squares", code=0):
    return bsp("segment", folder / source, "--model", folder / "model", "--threshold", 0, *words, code=code)


def test_every_frame_has_a_subtask_and_all_else_stays(folder, tmp_path):
    before = {path: path.read_bytes() for path in (folder / "squares").rglob("*") if path.is_file()}
    out = tmp_path / "out"
    said = segment(folder, "--output", out, "--max-segments", 4)
    assert "episode 2 (" in said and f"3 episodes, subtask_index of 4 subtasks, by {CAMERA}" in said
    assert {path: path.read_bytes() for path in before} == before
    info = json.loads((out / "meta/info.json").read_text(encoding="utf-8"))
    assert info["features"]["subtask_index"] == {"dtype": "int64", "shape": [1], "names": None}
    # As lerobot looks a name up: by the place in the table.
    subtasks = pandas.read_parquet(out / "meta/subtasks.parquet")
    assert [subtasks.iloc[number].name for number in range(4)] == [f"segment {n}" for n in (1, 2, 3, 4)]
    assert subtasks["subtask_index"].tolist() == [0, 1, 2, 3]
    old, new = (pandas.read_parquet(place / DATA) for place in (folder / "squares", out))
    pandas.testing.assert_frame_equal(new.drop(columns="subtask_index"), old)
    for _, rows in new.groupby("episode_index"):
        numbers = rows["subtask_index"].to_numpy()
        assert numbers[0] == 0 and set(np.diff(numbers)) <= {0, 1} and 0 < numbers[-1] < 4
    assert "subtask_index" in Dataset.from_parquet(str(out / DATA), cache_dir=str(tmp_path / "c")).features
    names = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert names == {path.relative_to(folder / "squares") for path in before} | {
        Path("meta/subtasks.parquet")
    }


def test_episodes_have_their_own_seconds_and_their_ends_are_no_changes(folder):
    said = segment(folder)
    spans = [line.split() for line in said.splitlines() if line.startswith("  ")]
    edges_s = {float(span[0]) for span in spans}
    assert all(edge_s == 0 or 0.15 < edge_s < 7.85 for edge_s in edges_s) and len(edges_s) > 1
    assert [f"episode {number} (8.00 s)" in said for number in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"codebase_version": "v2.1"}, (), "its layout is v2.1; convert it to v3.0"),
        ({}, ("--camera", "wrist"), f"has no camera wrist; it has {CAMERA}"),
        ({}, ("--format", "json", "--output", "out"), "written in its own layout"),
        ({"features": {"subtask_index": {"dtype": "int64"}}}, (), "has subtasks already"),
        ({"features": [1]}, (), "features must be an object of objects"),
        ({"video_path": None}, (), "video_path is None; expected a text"),
        ({"video_path": "{nope}.mp4"}, (), "names something else than video_key"),
        ({"video_path": "../../{video_key}.mp4"}, (), "leads out of the data set"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(folder, tmp_path, change, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data", "meta/episodes"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).symlink_to(folder / "squares" / name)
    info = json.loads((folder / "squares/meta/info.json").read_text(encoding="utf-8"))
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info | change), encoding="utf-8")
    answer = segment(folder, *words, source=tmp_path / "set", code=2)
    assert said in plain(answer) and "Traceback" not in answer and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("episode_index", 0, "episode 0 comes twice"),
        ("length", -1, "is no episode"),
        (f"videos/{CAMERA}/to_timestamp", float("nan"), "is no episode"),
        (f"videos/{CAMERA}/from_timestamp", "x", "is no episode"),
        (f"videos/{CAMERA}/to_timestamp", 60.0, "ends at 60.00 s of"),
        (None, None, "cannot be read"),
    ],
)
def test_tables_of_episodes_that_do_not_fit_are_named(folder, tmp_path, column, value, said):
    shutil.copytree(folder / "squares", tmp_path / "set")
    (file,) = (tmp_path / "set/meta/episodes").rglob("*.parquet")
    if column is None:
        file.write_bytes(file.read_bytes()[:100])
    else:
        table = pandas.read_parquet(file)
        table[column] = value
        table.to_parquet(file)
    answer = plain(segment(folder, source=tmp_path / "set", code=2))
    assert said in answer and "Traceback" not in answer
    assert value == 60.0 or str(file) in answer


def test_an_output_that_exists_or_lies_inside_is_refused(folder, tmp_path):
    (tmp_path / "out").mkdir()
    assert "exists; delete it" in plain(segment(folder, "--output", tmp_path / "out", code=2))
    said = segment(folder, "--output", folder / "squares" / "new", code=2)
    assert "lies in the data set itself" in plain(said) and not (folder / "squares" / "new").exists()
