"""`bsp-hf synth`: what it writes and pushes, what it says, and with which exit status."""

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from support.clip_folder import counted_sources, read_numbers, render_classes
from support.commands import bsp, plain
from support.loopback_hub import TOKEN, serve_hub

import bsp_hf
from bsp_hf import BoundaryType, load_boundary_clips
from bsp_hf.pretraining.clip_dataset import picture
from bsp_hf.pretraining.clip_dataset.picture import save_clip_picture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return render_classes(tmp_path_factory.mktemp("clips"), size=(48, 48))


def test_help_and_version_are_there():
    assert bsp("--version").strip() == f"bsp_hf {bsp_hf.__version__}"
    assert "synth" in bsp("--help") and "2 nothing done" in plain(bsp("--help"))
    said = plain(bsp("synth", "--help"))
    assert "bsp-hf synth clips/ --output boundary-clips --num-clips 1000" in said
    assert "Usage" in bsp(code=2)


def test_module_runs_as_the_installed_command():
    finished = subprocess.run(
        [sys.executable, "-m", "bsp_hf.cli", "synth"], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 2
    assert (
        finished.stderr.strip() == "Error: there is nothing to do; pass --picture, --output or --push-to-hub."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to do; pass --picture, --output or"),
        (["nowhere", "--picture", "x.png"], "nowhere is not a folder"),
        (
            ["{folder}", "--picture", "x.png", "--kinds", "diff-class,fade"],
            "--kinds: fade is none of diff-class",
        ),
        (["{folder}", "--picture", "x.png", "--half-length", "0"], "half_length=0 must be at least 1"),
        (
            ["{folder}", "--picture", "x.png", "--speeds", "2,fast"],
            "could not convert string to float: 'fast'",
        ),
        (["{folder}", "--picture", "x.png", "--clips-per-kind", "0"], "clips_per_kind=0"),
        (["{folder}", "--picture", "x.png", "--split", "val"], "--split val must be train or test"),
        (["{folder}", "--picture", "x.png", "--metadata", "no.csv"], "no.csv"),
        (
            ["{folder}", "--picture", "x.png", "--synthesis", "robots"],
            "--synthesis robots must be one of figure",
        ),
        (["{folder}", "--picture", "x.png", "--transitions", "iris"], "transitions=('iris',) may hold hard"),
        (["{folder}", "--output", "{folder}"], "exists; delete it, or pass another --output"),
        (["{folder}", "--output", "out", "--task", "jigsaw"], "task 'jigsaw' is unknown"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    said = bsp("synth", *(word.format(folder=folder) for word in words), code=2)
    assert said.startswith("Error: ") and message in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_data_set_is_that_of_the_library(folder, tmp_path):
    options = ("--num-clips", 5, "--crop-size", 48, "--seed", 3, "--speeds", "2", "--blend-half-width", 0)
    said = bsp("synth", folder, "--output", tmp_path / "new" / "clips", *options)
    assert f"{tmp_path / 'new' / 'clips'}: 5 clips out of 6 videos" in said
    written = datasets.load_dataset(
        str(tmp_path / "new" / "clips"), split="train", cache_dir=tmp_path / "read"
    )
    synthesis = bsp_hf.SynthesisConfig(speeds=(2.0,), blend_half_width=0)
    expected = load_boundary_clips(
        folder, num_clips=5, crop_size=48, seed=3, synthesis=synthesis, cache_dir=tmp_path / "cache"
    )
    assert written.features == expected.features and written["index"] == expected["index"]
    for row, other in zip(written.with_format("numpy"), expected.with_format("numpy"), strict=True):
        np.testing.assert_array_equal(row["frames"], other["frames"])
    # Nothing else is left.
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clips"]

    bsp("synth", folder, "--output", tmp_path / "clips.parquet", *options)
    table = datasets.Dataset.from_parquet(str(tmp_path / "clips.parquet"), cache_dir=tmp_path / "cache")
    assert table["index"] == expected["index"] and table.features == expected.features


# Loads a data set of the Hub without bsp_hf, whole and streamed.
LOAD = """
import json, sys
from datasets import load_dataset
whole = load_dataset(sys.argv[1], split="train")
streamed = list(load_dataset(sys.argv[1], split="train", streaming=True))
assert "bsp_hf" not in sys.modules and [row["index"] for row in streamed] == whole["index"][:]
print(json.dumps({"index": whole["index"][:], "label": whole["label"][:], "frames": whole[0]["frames"]}))
"""


@pytest.mark.slow
def test_what_is_pushed_loads_anywhere(folder, tmp_path):
    options = ["--num-clips", "5", "--crop-size", "32", "--private"]
    with serve_hub() as hub:
        network = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
        clean = {k: v for k, v in os.environ.items() if "OFFLINE" not in k} | network
        clean |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}

        def run(*words) -> str:
            finished = subprocess.run(
                [sys.executable, *words], env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=300
            )
            assert finished.returncode == 0, finished.stderr[-4000:]
            return finished.stdout

        said = run("-m", "bsp_hf.cli", "synth", str(folder), "--push-to-hub", "org/clips", *options)
        assert "org/clips: 5 clips out of 6 videos" in said
        assert hub.repositories["datasets", "org/clips"].is_private
        found = json.loads(run("-c", LOAD, "org/clips"))
    expected = load_boundary_clips(folder, num_clips=5, crop_size=32, cache_dir=tmp_path / "cache")
    assert found["index"] == expected["index"][:] and found["label"] == expected["label"][:]
    np.testing.assert_array_equal(found["frames"], expected[0]["frames"])


def test_videos_that_cannot_be_read_are_named_and_make_the_status_1(tmp_path, caplog):
    folder = render_classes(tmp_path / "clips", {"bend": (20, 21), "run": (22, 23)}, size=(48, 48))
    (folder / "run" / "broken.mp4").write_text("no video")
    said = bsp("synth", folder, "--picture", tmp_path / "clips.png", code=1)
    assert "8 clips out of 4 videos" in said and "1 videos cannot be read and were left out" in said
    assert "broken.mp4" in caplog.text
    assert (tmp_path / "clips.png").stat().st_size > 10_000


def test_picture_shows_the_kinds_asked_for_with_their_boundaries(folder, tmp_path, monkeypatch):
    shown = {}

    def plot(clips, titles, boundary_frames, blend_half_widths, max_frames):
        from bsp_hf.visualization.clips import plot_boundary_clips

        shown.update(clips=clips, titles=titles, boundaries=boundary_frames, blends=blend_half_widths)
        shown["figure"] = plot_boundary_clips(clips, titles, boundary_frames, blend_half_widths, max_frames)
        return shown["figure"]

    monkeypatch.setattr("bsp_hf.visualization.plot_boundary_clips", plot)
    path = tmp_path / "clips.png"
    sources = counted_sources(folder)
    assert save_clip_picture(sources, path, clips_per_kind=2, frame_size=48, seed=2) == 8
    kinds = [title.split(":")[0] for title in shown["titles"]]
    assert kinds == [kind.label for kind in BoundaryType for _ in range(2)]
    assert shown["blends"] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert shown["boundaries"][:4] == [4] * 4 and shown["boundaries"][6:] == [0, 0]
    for row, (clip, axes) in enumerate(zip(shown["clips"], shown["figure"].axes, strict=True)):
        under = [label.get_text() for label in axes.get_xticklabels()]
        numbers = [str(number) for number in read_numbers(clip)]
        if row < 2:
            assert re.fullmatch(r"\d+ \+ \d+", under.pop(3)) and numbers.pop(3)
        assert under == numbers
    # Every kind starts from the same videos.
    first_names = [re.match(r"[\w-]+: (\w+)", title)[1] for title in shown["titles"]]
    assert first_names == first_names[:2] * 4

    save_clip_picture(sources, path, kinds=[BoundaryType.DIFF_SPEED], clips_per_kind=1, frame_size=48)
    assert len(shown["clips"]) == 1 and "times the speed" in shown["titles"][0]
    with pytest.raises(ValueError, match="needs a kind"):
        save_clip_picture(sources, path, kinds=[])


def test_source_frames_follow_the_cross_fade():
    """By hand for tau = 3, epsilon = 2: i = 2 .. 5 blend f_1,i and f_2,i-1, the last all f_2."""
    from bsp_hf.pretraining.clips import ClipDraw, PretextClip
    from bsp_hf.pretraining.synthesis import ClipPlan

    plan = ClipPlan((0, 1), (np.arange(10, 15), np.arange(50, 55)), 3, 1.0, blend_half_width=2)
    clip = PretextClip(np.zeros((6, 2, 2, 3), np.uint8), 0, ClipDraw(0, 0, plan, np.random.default_rng(0)))
    assert picture._source_frames(clip) == ["10", "11 + 50", "12 + 51", "13 + 52", "53", "54"]


def test_source_frames_follow_every_cut():
    """A wipe of half width 1 in front of frame 3, a hard cut in front of frame 5; i counts from 1, then 0."""
    from bsp_hf.pretraining.clips import ClipDraw, PretextClip
    from bsp_hf.pretraining.shots.transitions import Cut
    from bsp_hf.pretraining.synthesis import ClipPlan

    parts = (np.arange(10, 14), np.arange(50, 53), np.arange(90, 92))
    for first_index, mixed in ((1, ["12 + 50", "51"]), (0, ["12", "13 + 51"])):
        cuts = (Cut(3, 1, "wipe", first_index), Cut(5, 0, "hard", first_index))
        plan = ClipPlan((0, 0, 1), parts, 5, cuts=cuts)
        clip = PretextClip(
            np.zeros((7, 2, 2, 3), np.uint8), 0, ClipDraw(0, 0, plan, np.random.default_rng(0))
        )
        assert picture._source_frames(clip) == ["10", "11", *mixed, "52", "90", "91"]


@pytest.mark.parametrize("name", ["figure", "text", "robust", "consecutive"])
def test_every_preset_has_a_picture(folder, tmp_path, monkeypatch, name):
    """The numbers under the frames are those that the videos' frames show, whatever joins them."""
    from bsp_hf.pretraining import clips as clips_module
    from bsp_hf.pretraining.shots.views import View

    # In another view, numbers cannot be read.
    monkeypatch.setattr(View, "apply", lambda self, frames: frames)
    shown = []
    render = clips_module.PretextClips.render
    monkeypatch.setattr(
        clips_module.PretextClips, "render", lambda self, draw: shown.append(render(self, draw)) or shown[-1]
    )
    path = tmp_path / "clips.png"
    said = bsp("synth", folder, "--picture", path, "--synthesis", name, "--crop-size", 48, "--seed", 1)
    assert said.strip().endswith("8 clips out of 6 videos")
    assert path.stat().st_size > 10_000 and len(shown) == 8
    for clip in shown:
        under = picture._source_frames(clip)
        pure = [frame for frame, label in enumerate(under) if "+" not in label]
        assert len(pure) >= 4
        assert [str(number) for number in read_numbers(clip.frames[pure])] == [under[frame] for frame in pure]


def test_fields_of_a_preset_are_options():
    from bsp_hf.cli.pretraining.synth import synth
    from bsp_hf.cli.settings_options import with_settings
    from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS

    made = []

    @with_settings(bsp_hf.SynthesisConfig, SYNTHESIS_PRESETS)
    def keep(*, settings):
        made.append(settings)

    def chosen(**given):
        keep(**{name: given.get(name) for name in options if name in inspect.signature(keep).parameters})
        return made[-1]

    robust = SYNTHESIS_PRESETS["robust"]
    options = set(inspect.signature(synth).parameters)
    assert {"synthesis" if name == "preset" else name for name in robust.to_dict()} <= options
    assert chosen(synthesis="robust") == robust
    assert chosen(synthesis="robust", jump_counts="none").jump_counts == ()
    assert chosen(synthesis="robust", speeds="2,0.25").speeds == (2.0, 0.25)
    assert chosen(synthesis="robust", draws_change_point=False).draws_change_point is False
    assert chosen(synthesis="text", half_length=3) == replace(SYNTHESIS_PRESETS["text"], half_length=3)


@pytest.mark.slow
def test_without_videos_clips_are_rendered(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    said = bsp("synth", "--picture", tmp_path / "clips.png", "--clips-per-kind", 1)
    assert said.strip().endswith("4 clips out of 60 videos")
