"""`bsp-hf localize`: tables on the terminal, files of three layouts, and exit statuses."""

import csv
import itertools
import json
import re
from pathlib import Path

import pytest
from support.commands import bsp, plain
from support.tiny_localizers import (
    SENTENCE,
    boundary_classifier,
    companions_of,
    render_levels,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
    tiny_track,
)

from bsp_hf import save_checkpoint_folder, save_localizer_folder
from bsp_hf.features import write_track


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of localizers, and one of videos with a broken one among them."""
    home = tmp_path_factory.mktemp("localize")
    encoder = save_checkpoint_folder(tiny_encoder(), tiny_extractor(), home / "bsp")
    for kind in ("gtad", "tan"):
        save_localizer_folder(tiny_localizer(kind), home / kind, encoder=encoder, **companions_of(kind))
    save_checkpoint_folder(boundary_classifier(), tiny_extractor(), home / "boundaries")
    (home / "videos").mkdir()
    render_levels(home / "videos" / "levels.mp4", [20, 200])
    (home / "videos" / "broken.mp4").write_bytes(b"no video" * 50)
    return home


def test_a_table_in_seconds_and_a_file_for_the_evaluator(folder, tmp_path):
    out = tmp_path / "deep" / "results.json"
    video = folder / "videos" / "levels.mp4"
    said = bsp("localize", video, "--model", folder / "gtad", "--output", out, "--format", "activitynet")
    assert said.startswith("levels (2.00 s): ")
    assert " s  0." in said and "action" in said
    results = json.loads(out.read_text())
    assert results["version"] == "VERSION 1.3" and list(results["results"]) == ["levels"]
    first = results["results"]["levels"][0]
    assert set(first) == {"label", "score", "segment"} and 0 <= first["segment"][0] < first["segment"][1] <= 2


def test_results_for_activitynet_have_its_ids(folder, tmp_path):
    video = tmp_path / "v_levels.mp4"
    video.symlink_to(folder / "videos" / "levels.mp4")
    out = tmp_path / "results.json"
    bsp("localize", video, "--model", folder / "gtad", "--output", out, "--format", "activitynet")
    assert list(json.loads(out.read_text())["results"]) == ["levels"]


def test_two_videos_stay_two_where_activitynet_would_call_them_alike(folder, tmp_path):
    for name in ("1.mp4", "v_1.mp4"):
        (tmp_path / name).symlink_to(folder / "videos" / "levels.mp4")
    out = tmp_path / "results.json"
    bsp("localize", tmp_path / "1.mp4", tmp_path / "v_1.mp4", "--model", folder / "gtad", "--top-k", 1,
        "--output", out, "--format", "activitynet")  # fmt: skip
    results = json.loads(out.read_text())["results"]
    assert {name: len(found) for name, found in results.items()} == {"1": 1, "v_1": 1}


def test_a_broken_video_is_named_and_the_others_are_written(folder, tmp_path):
    out = tmp_path / "results.csv"
    said = bsp(
        "localize", folder / "videos", "--model", folder / "gtad", "--top-k", 2, "--output", out, code=1
    )
    assert "broken" in said and "levels (2.00 s): 2 segments" in said
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video_id"] for row in rows] == ["levels", "levels"]
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    said = bsp("localize", folder / "videos" / "broken.mp4", "--model", folder / "gtad", code=2)
    assert "broken" in said


def test_sentences_are_looked_for(folder, tmp_path):
    out = tmp_path / "moments.json"
    command = ["localize", folder / "videos" / "levels.mp4", "--model", folder / "tan"]
    bsp(*command, "--query", SENTENCE, "--query", "a door", "--top-k", 1, "--output", out)
    moments = json.loads(out.read_text())["videos"]
    assert [moment["segments"][0]["label"] for moment in moments] == [SENTENCE, "a door"]
    assert "pass --query" in bsp(*command, code=2)


def test_boundaries_and_stored_features(folder, tmp_path):
    video = folder / "videos" / "levels.mp4"
    said = bsp("localize", video, "--model", folder / "boundaries", "--threshold", 0.2)
    assert said.startswith("levels (2.00 s): ")
    write_track(tiny_track(), tmp_path / "made.npz")
    said = bsp("localize", tmp_path / "made.npz", "--model", folder / "gtad", code=2)
    assert "come from another encoder" in plain(said)


def test_a_folder_of_tracks_is_localized_and_every_row_is_shown(folder, tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos" / name).symlink_to(folder / "videos" / "levels.mp4")
    bsp("extract", tmp_path / "videos", "--model", folder / "bsp", "--output", tmp_path / "tracks")
    said = bsp("localize", tmp_path / "tracks", "--model", folder / "gtad", "--top-k", 14, "--timecodes")
    assert "a (2.00 s): 14 segments" in said and "b (2.00 s): 14 segments" in said
    assert len(re.findall(r"^ +0:00:\d\d\.\d{3} +0:00:\d\d\.\d{3}  0\.\d{3}  action$", said, re.M)) == 28


def test_boundaries_of_some_kinds_lie_apart_as_asked(folder, tmp_path):
    command = [
        "localize",
        folder / "videos" / "levels.mp4",
        "--model",
        folder / "boundaries",
        "--threshold",
        0,
    ]
    out = tmp_path / "found.json"
    bsp(*command, "--min-gap-s", 0.9, "--kinds", "cut", "--output", out)
    (video,) = json.loads(out.read_text())["videos"]
    times_s = [found["time_s"] for found in video["segments"]]
    assert video["complete"] is True and {found["label"] for found in video["segments"]} == {"cut"}
    assert all(after - before >= 0.9 for before, after in itertools.pairwise(times_s)) and len(times_s) <= 3
    said = bsp(*command, "--kinds", "diff-class", code=2)
    assert "kinds=['diff-class'] are none of cut, gradual, action, pace" in said
    other = [
        "localize",
        folder / "videos" / "levels.mp4",
        "--model",
        folder / "gtad",
        "--kinds",
        "cut",
    ]
    assert "are for boundaries" in bsp(*other, code=2)


def test_coarse_to_fine_names_what_it_left_out(folder, tmp_path):
    command = ["localize", folder / "videos" / "levels.mp4", "--threshold", 1]
    dense, coarse = tmp_path / "dense.json", tmp_path / "coarse.json"
    bsp(*command, "--model", folder / "boundaries", "--output", dense)
    said = bsp(*command, "--model", folder / "boundaries", "--output", coarse, "--coarse-to-fine")
    (one,), (other,) = (json.loads(path.read_text())["videos"] for path in (dense, coarse))
    assert one["segments"] == other["segments"] and len(one["segments"]) == 1 and "skipped_s" not in one
    (before, after), (change,) = other["skipped_s"], other["segments"]
    assert 0 < before[0] < before[1] < change["time_s"] < after[0] < after[1] < 2
    share = int(re.search(r"(\d+) % of the windows were encoded", said)[1])
    assert share == round(100 * 9 / 47)  # three hold the cut between their halves, and three on each side
    said = bsp(*command, "--model", folder / "gtad", "--coarse-to-fine", code=2)
    assert "are for boundaries" in said


@pytest.mark.parametrize(
    ("name", "options"),
    [("out.xml", []), ("out", []), ("out.txt", ["--format", "csv"]), ("out.json", ["--format", "csv"])],
)
def test_a_file_of_another_name_is_refused_before_any_work(folder, tmp_path, name, options):
    said = bsp("localize", folder / "videos" / "levels.mp4", "--output", tmp_path / name, *options, code=2)
    assert f"{name} must end in" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_is_refused(folder):
    video = folder / "videos" / "levels.mp4"
    assert "takes no --query" in bsp("localize", video, "--query", "x", code=2)  # the packaged detector
    assert "takes no --query" in bsp("localize", video, "--model", folder / "gtad", "--query", "x", code=2)
    said = bsp("localize", video, "--model", folder / "gtad", "--format", "xml", code=2)
    assert "none of json, csv, activitynet" in said
    for senseless in (["--batch-size", 0], ["--top-k", -1], ["--threshold", 2], ["--threshold", "nan"]):
        said = plain(bsp("localize", video, "--model", folder / "gtad", *senseless, code=2))
        assert senseless[0].strip("-") in said and "Traceback" not in said
    for device in ("gpu", "mps", "cuda:7"):
        said = bsp("localize", video, "--model", folder / "gtad", "--device", device, code=2)
        assert said.startswith(f"Error: device {device}: ") and said.count("\n") == 1
    assert "nowhere" in bsp("localize", "nowhere.mp4", "--model", folder / "gtad", code=2)
