"""`bsp-hf picture`: every picture by its command, and the boundaries that it reads."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import bsp

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    FeatureTrack,
    save_checkpoint_folder,
)
from bsp_hf.cli.inspection.picture_inputs import read_boundaries, read_segments
from bsp_hf.features import write_track
from bsp_hf.pretraining.rendering.clips import render_long_video

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("picture") / "encoder"
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    history = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in range(1, 9)]
    history.append(
        {"step": 8, "eval_loss": 1.2, "eval_accuracy": 0.4, "eval_confusion": np.eye(4, dtype=int).tolist()}
    )
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    save_checkpoint_folder(model, extractor, folder, {"task": "boundary", "history": history})
    return folder


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, 8)), 10, axis=0) + 0.1 * rng.normal(size=(40, 8))
    made = FeatureTrack.from_rows(
        rows, video_id="v1", encoder="tiny", fps=25.0, snippet_frames=8, stride_frames=8
    )
    return write_track(made, tmp_path_factory.mktemp("picture") / "v1.npz")


def is_picture(path) -> bool:
    with Image.open(path) as image:
        return image.width > 300 and len(image.convert("L").getcolors()) > 20


def test_pictures_of_a_training(encoder, tmp_path):
    bsp("picture", "training", encoder, "-o", tmp_path / "training.png")
    bsp("picture", "confusion", encoder, "--output", tmp_path / "confusion.png")
    assert is_picture(tmp_path / "training.png") and is_picture(tmp_path / "confusion.png")
    assert "training_record.json is missing" in bsp(
        "picture", "training", tmp_path, "-o", tmp_path / "no.png", code=2
    )


def test_pictures_of_features(track, tmp_path):
    bsp("picture", "features", track, "--boundaries", "3.2,6.4", "-o", tmp_path / "features.png")
    said = bsp(
        *("picture", "differences", f"BSP={track}", f"other={track}"),
        *("--boundaries", "3.2,6.4,9.6", "-o", tmp_path / "differences.png"),
    )
    assert said.strip().endswith("2 encoders")
    assert is_picture(tmp_path / "features.png") and is_picture(tmp_path / "differences.png")
    twice = ("picture", "differences", track, track, "--boundaries", "3.2", "-o", tmp_path / "x.png")
    assert "pass NAME=FILE" in bsp(*twice, code=2)


def test_picture_of_a_videos_timeline(encoder, tmp_path):
    video = tmp_path / "long.mp4"
    render_long_video(video, num_actions=2, width=48, height=32, min_action_s=1.0, max_action_s=1.5)
    words = ("picture", "timeline", video, "--model", encoder, "--stride-frames", "4", "-o")
    said = bsp(*words, tmp_path / "timeline.png", "--boundaries", tmp_path / "long.boundaries.json")
    assert "boundaries in" in said and is_picture(tmp_path / "timeline.png")
    bsp(*words, tmp_path / "plain.png", "--no-film-strip")
    with Image.open(tmp_path / "timeline.png") as strip, Image.open(tmp_path / "plain.png") as plain_curve:
        assert plain_curve.height < strip.height


def test_picture_of_predicted_and_true_segments(tmp_path):
    found = [
        {"segment": [1, 4], "label": "jump", "score": 0.4},
        {"segment": [5, 9], "label": "run", "score": 0.8},
    ]
    (tmp_path / "results.json").write_text(json.dumps({"results": {"v1": found}}))
    truth = {"v_v1": {"duration": 10, "annotations": [{"segment": [1, 5], "label": "jump"}]}}
    (tmp_path / "truth.json").write_text(json.dumps({"database": truth}))
    shown = read_segments(tmp_path / "results.json", tmp_path / "truth.json", None, 1)
    assert shown.video_id == "v_v1" and shown.duration_s == 10 and shown.true.segments_s == [(1.0, 5.0)]
    assert shown.predicted.labels == ["run"] and shown.predicted.scores == [0.8]
    (tmp_path / "bare.json").write_text(json.dumps({"database": {"v1": truth["v_v1"]}}))
    (tmp_path / "named.json").write_text(json.dumps({"results": {"v_v1": found}}))
    named = read_segments(tmp_path / "named.json", tmp_path / "bare.json", None, 9)
    assert len(named.predicted.segments_s) == 2
    words = ("picture", "segments", tmp_path / "results.json", tmp_path / "truth.json", "-o")
    assert "2 predicted, 1 true" in bsp(*words, tmp_path / "segments.png")
    assert is_picture(tmp_path / "segments.png")
    assert "do not both hold v2" in bsp(*words, tmp_path / "x.png", "--video", "v2", code=2)


def test_another_format_is_refused_before_any_work(tmp_path):
    said = bsp("picture", "features", tmp_path / "nowhere.npz", "-o", tmp_path / "x.docx", code=2)
    assert "must end in .png, .pdf or .svg" in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "times_s", "kinds"),
    [
        ({"boundaries_s": [4, 2.5]}, (2.5, 4.0), None),
        ({"boundaries": [{"time_s": 3, "kind": "same_class"}]}, (3.0,), ("same class",)),
        ({"segments": [{"start_s": 0, "end_s": 2}, {"start_s": 2, "end_s": 5}]}, (0.0, 2.0, 5.0), None),
        ({"v1": {"duration": 9, "annotations": [{"segment": [1, 4]}]}}, (1.0, 4.0), None),
        ([1, 2], (1.0, 2.0), None),
    ],
)
def test_boundaries_are_read_from_the_layouts_people_have(content, times_s, kinds, tmp_path):
    path = tmp_path / "boundaries.json"
    path.write_text(json.dumps(content))
    found = read_boundaries(str(path))
    assert found.times_s == times_s and found.kinds == kinds


def test_boundaries_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match="neither a file nor seconds"):
        read_boundaries("soon")
    path = tmp_path / "boundaries.json"
    path.write_text('{"shots": [1, 2]}')
    with pytest.raises(ValueError, match="found none of true_boundaries"):
        read_boundaries(str(path))
    path.write_text('{"segments": [[1, 2, 3]]}')
    with pytest.raises(ValueError, match=r"segment is \[1, 2, 3\], expected \[start, end\]\)"):
        read_boundaries(str(path))


@pytest.mark.parametrize("command", [["timeline", "v.mp4"], ["clips"], ["features", "v.npz"]])
def test_a_picture_without_matplotlib_is_refused_before_any_work(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = bsp("picture", *command, "-o", tmp_path / "out.png", code=2)
    assert said.startswith("Error: Pictures need matplotlib: ") and "[plot]" in said
