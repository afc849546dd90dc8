"""`bsp-hf segment`: files of every format for a folder, what is refused, and exit statuses."""

import json
from pathlib import Path

import pytest
from support.commands import bsp, plain
from support.rendered import render_video
from support.tiny_localizers import boundary_classifier, render_levels, tiny_extractor

from bsp_hf import save_checkpoint_folder
from bsp_hf.localization.segments.writing import SEGMENT_FORMATS


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A boundary classifier, and videos with a broken one among them."""
    home = tmp_path_factory.mktemp("segment")
    save_checkpoint_folder(boundary_classifier(), tiny_extractor(), home / "model")
    (home / "videos" / "a b").mkdir(parents=True)
    render_levels(home / "videos" / "a b" / "levels; é.mp4", [20, 200], seconds_each=0.4)
    (home / "videos" / "broken.mp4").write_bytes(b"no video" * 50)
    return home


@pytest.fixture
def run(folder):
    def run(*words, code=0, video="videos/a b/levels; é.mp4"):
        return bsp(
            "segment", folder / video, "--model", folder / "model", "--threshold", 0, *words, code=code
        )

    return run


def test_a_folder_of_videos_is_written_in_every_format(run, tmp_path):
    formats = [word for name in SEGMENT_FORMATS for word in ("--format", name)]
    said = run("--output", tmp_path / "out", *formats, "--cut", "exact", video="videos", code=1)
    assert "a b/levels; é (0.80 s): " in said and "  cut  1.000" in said
    assert "broken.mp4: " in said and said.count("broken") == 1
    place = tmp_path / "out" / "a b"
    written = {path.suffix for path in place.iterdir()}
    assert written == {known.suffix for known in SEGMENT_FORMATS.values()} | {".mp4"}
    content = json.loads((place / "levels; é.json").read_text(encoding="utf-8"))
    cuts = [one for one in content["segments"] if one["kind"] == "cut"]
    assert [one["start_frame"] for one in cuts] == [10] and content["video"].endswith("levels; é.mp4")
    assert len(list(place.glob("*.mp4"))) == len(content["segments"])
    assert not list(place.glob(".*"))


def test_one_file_is_named_by_its_format_and_not_written_over(run, tmp_path):
    out = tmp_path / "made.vtt"
    assert f"{out}: " in run("--output", out)
    first = out.read_text(encoding="utf-8")
    said = plain(run("--output", out, "--max-segments", 1, code=2))
    assert f"{out} exists; delete it, pass --force" in said and out.read_text(encoding="utf-8") == first
    run("--output", out, "--max-segments", 1, "--force")
    assert out.read_text(encoding="utf-8").count("-->") == 1
    run("--output", tmp_path / "clips", "--cut", "copy", "--max-segments", 2)
    said = run("--output", tmp_path / "clips", "--cut", "copy", code=2)
    assert "exists; delete it" in said


def test_an_edl_of_a_rate_without_timecode_says_at_which_to_read_it(folder, tmp_path):
    path = render_video(tmp_path / "twenty.mp4", 8, fps=20)
    words = ("--model", folder / "model", "--output", tmp_path / "out.edl")
    assert "counts 60 frames a second" in bsp("segment", path, *words)
    path = render_video(tmp_path / "film.mp4", 8, fps=24)
    assert "frames a second" not in bsp("segment", path, *words, "--force")


def test_kinds_and_lengths_are_chosen(run):
    assert "segment\n" in run("--min-segment", 9)
    said = run("--kinds", "cut")
    assert "cut" in said and "change of" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kinds", "cut,jump"], "cut, gradual, action, pace"),
        (["--format", "xml", "--output", "out"], "'xml' is none of json"),
        (["--cut", "fast", "--output", "out"], "neither copy nor exact"),
        (["--cut", "copy"], "pass --output too"),
        (["--format", "json"], "pass --output too"),
        (["--output", "out.edl", "--cut", "copy"], "is one file"),
        (["--output", "out.edl", "--format", "edl", "--format", "csv"], "is one file"),
        (["--max-segments", 0], "max-segments"),
    ],
)
def test_mistakes_are_refused_in_one_line_before_anything_is_written(run, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = run(*words, code=2)
    assert said in plain(answer) and "Traceback" not in answer
    assert not list(tmp_path.iterdir())


def test_one_file_for_several_videos_is_refused(folder, tmp_path):
    said = bsp(
        "segment", folder / "videos", "--model", folder / "model", "--output", tmp_path / "a.csv", code=2
    )
    assert "is one file for 2 videos; pass a folder" in said
