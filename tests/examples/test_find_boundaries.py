"""`examples/find_boundaries.py` end to end, on a rendered video and on one's own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPForBoundaryClassification, save_checkpoint_folder
from bsp_hf.pretraining.rendering.clips import render_long_video

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "find_boundaries.py"


def run_example(model: Path, output: Path, *options: str) -> dict:
    command = [sys.executable, str(EXAMPLE), "--model", str(model), "--output_dir", str(output), *options]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    for name in ("features.npz", "features.png", "boundaries.png"):
        assert (output / name).stat().st_size > 0
    return json.loads((output / "boundaries.json").read_text())


@pytest.mark.slow
def test_a_long_video_is_reported_with_and_without_truth(tmp_path):
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    save_checkpoint_folder(model, extractor, tmp_path / "encoder")

    scored = run_example(tmp_path / "encoder", tmp_path / "rendered", "--stride_frames", "4")
    assert len(scored["true_boundaries"]) == 7 and 0 <= scored["f1"] <= 1
    with np.load(tmp_path / "rendered" / "features.npz") as track:
        assert track["features"].shape == (len(track["centers_s"]), 16)

    render_long_video(tmp_path / "own.mp4", seed=3, num_actions=2)
    cuts = ("--kinds", "cut", "gradual", "--stride_frames", "4")
    own = run_example(tmp_path / "encoder", tmp_path / "own", "--video", str(tmp_path / "own.mp4"), *cuts)
    assert own["video"] == "own.mp4" and "f1" not in own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stride_frames", "0"), "--stride_frames 0 must be at least 1"),
        (("--threshold", "2"), "--threshold 2.0 must lie in 0 to 1"),
        (("--treshold", "0.2"), "unrecognized arguments: --treshold"),
        (("--video", "nowhere.mp4"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_two(tmp_path, options, message):
    command = [sys.executable, str(EXAMPLE), "--model", str(tmp_path / "nowhere"), *options]
    finished = subprocess.run(
        [*command, "--output_dir", str(tmp_path / "out")], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 2 and message in finished.stderr
    assert "Traceback" not in finished.stderr
