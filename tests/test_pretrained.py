"""The packaged encoders: they load offline, are the defaults, and are as small as the package promises."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForVideoClassification, pipeline
from typer.testing import CliRunner

import bsp_hf
from bsp_hf.cli import app
from bsp_hf.pretrained import DEFAULT_DETECTOR, DEFAULT_ENCODER, PACKAGED, find_packaged
from bsp_hf.pretraining.rendering.clips import render_long_video


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("packaged") / "long.mp4"
    render_long_video(path, num_actions=2, min_action_s=1.0, max_action_s=1.2, width=96, height=72)
    return path


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_encoders_load_in_single_precision_with_every_weight(name):
    folder = bsp_hf.pretrained_path(name)
    loader = AutoModelForVideoClassification if name == DEFAULT_DETECTOR else AutoModel
    model, report = loader.from_pretrained(folder, output_loading_info=True)
    assert model.dtype == torch.float32
    assert not any(report.values())
    assert all(value.isfinite().all() for value in model.state_dict().values() if value.is_floating_point())


def test_packaged_encoders_are_small_and_bring_their_cards():
    folders = [Path(bsp_hf.pretrained_path(name)) for name in PACKAGED]
    weights = [path for folder in folders for path in folder.glob("*.safetensors")]
    assert max(path.stat().st_size for path in weights) <= 10 * 2**20
    assert sum(path.stat().st_size for path in weights) <= 20 * 2**20
    for folder in folders:
        card = (folder / "README.md").read_text()
        assert "To be filled in" not in card
        assert "CC BY" in card
        assert (
            "train_packaged_encoders.py"
            in json.loads((folder / "training_record.json").read_text())["command"]
        )
        assert not list(folder.glob("*.py"))


def test_names_that_are_no_packaged_encoder_are_refused_or_left_alone(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'bsp-tsm-r50' is no packaged encoder: bsp-two-stream-lite0"):
        bsp_hf.pretrained_path("bsp-tsm-r50")
    monkeypatch.chdir(tmp_path)
    assert find_packaged("bsp-tsm-r50") == "bsp-tsm-r50"
    assert find_packaged("bsp-tsm-lite0") == bsp_hf.pretrained_path("bsp-tsm-lite0")
    (tmp_path / "bsp-tsm-lite0").mkdir()
    assert find_packaged("bsp-tsm-lite0") == "bsp-tsm-lite0"  # the user's own


def test_pipelines_use_them_where_no_model_is_named(video):
    extract, find = pipeline("video-feature-extraction"), pipeline("video-boundary-detection")
    assert extract.model.name_or_path == bsp_hf.pretrained_path(DEFAULT_ENCODER)
    assert find.model.name_or_path == bsp_hf.pretrained_path(DEFAULT_DETECTOR)
    assert extract(str(video))["features"].shape[1] == extract.model.config.hidden_size == 2560


def test_saved_pipelines_name_no_folder_of_this_machine(tmp_path):
    pipeline("video-boundary-detection").save_pretrained(tmp_path)
    for path in tmp_path.glob("*.json"):
        assert str(Path(bsp_hf.__file__).parent) not in path.read_text(), path.name


def test_commands_use_them_and_tell(video, tmp_path):
    result = CliRunner().invoke(app, ["extract", str(video), "-o", str(tmp_path / "features")])
    assert result.exit_code == 0, result.output
    assert result.output.count("no --model: bsp-two-stream-lite0, which comes with the package") == 1
    named = CliRunner().invoke(
        app, ["extract", str(video), "--model", "bsp-two-stream-lite0", "-o", str(tmp_path / "named")]
    )
    assert named.exit_code == 0, named.output
    assert "no --model" not in named.output
    first, second = (np.load(next((tmp_path / name).glob("*.npy"))) for name in ("features", "named"))
    assert first.shape[1] == 2560
    assert np.array_equal(first, second)
    result = CliRunner().invoke(app, ["localize", str(video), "-o", str(tmp_path / "found.json")])
    assert result.exit_code == 0, result.output
    assert "no --model: bsp-tsm-lite0" in result.output
