"""`bsp-hf info`: what it says of videos, features and checkpoints."""

import json
import re

import av
import numpy as np
import pytest
import torch
from support.commands import bsp

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    FeatureTrack,
    save_checkpoint_folder,
)
from bsp_hf.features import write_track


def facts_of(path, *options) -> dict:
    (facts,) = json.loads(bsp("info", path, "--json", *options)).values()
    return facts


def make_track(video_id: str = "v1") -> FeatureTrack:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    return FeatureTrack.from_rows(
        rows, video_id=video_id, encoder="i3d", fps=25.0, snippet_frames=8, stride_frames=4
    )


def test_a_video_is_described_by_its_header_or_by_all_of_it(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(15):
            picture = np.zeros((48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    facts = facts_of(path)
    assert facts["kind"] == "video" and facts["size"] == "64x48" and facts["fps"] == 10
    assert facts["duration_declared_s"] == pytest.approx(1.5) and "num_frames" not in facts
    facts = facts_of(path, "--read-all")
    assert facts["num_frames"] == 15 and facts["duration_s"] == pytest.approx(1.5)
    assert facts["last_frame_s"] == pytest.approx(1.4) and facts["complete"] is True
    assert facts["frame_step_s"] == {"shortest": pytest.approx(0.1), "longest": pytest.approx(0.1)}


def test_a_cut_video_says_what_is_missing(tmp_path, shared_data):
    said = bsp("info", shared_data / "hostile" / "truncated_tail.mp4", "--read-all")
    assert re.search(r"complete +no\n +missing +.*41 of 75 declared frames", said)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".h5"])
def test_a_track_is_described_in_seconds(tmp_path, suffix):
    path = write_track(make_track(), tmp_path / f"v1{suffix}")
    facts = facts_of(path)
    assert facts["rows"] == "3 snippets x 4 features" and facts["encoder"]["id"] == "i3d"
    assert facts["snippet_s"] == 0.32 and facts["stride_s"] == 0.16
    assert facts["first_center_s"] == 0.16 and facts["last_center_s"] == pytest.approx(0.48)
    assert facts["values"] == {"least": 0, "mean": 5.5, "largest": 11, "not finite": 0}


def test_a_folder_of_tracks_is_summed_up(tmp_path):
    for number in range(4):
        write_track(make_track(f"v{number}"), tmp_path / f"v{number}.npz")
    facts = facts_of(tmp_path, "--most", "2")
    assert facts["num_videos"] == 4 and facts["num_snippets"] == 12
    assert facts["duration_s"] == pytest.approx(4 * 16 / 25)
    assert facts["videos"] == ["v0 (3 x 4, 0.64 s)", "v1 (3 x 4, 0.64 s)", "and 2 more"]


def test_an_array_of_another_tool_has_no_times(tmp_path):
    np.save(tmp_path / "v1.npy", np.zeros((7, 5), np.float32))
    facts = facts_of(tmp_path / "v1.npy")
    assert facts["shapes"] == {"v1": "7 x 5"} and "times unknown" in facts["kind"]
    assert "record" in facts["record"]


def test_a_checkpoint_folder_is_described_without_loading_it(tmp_path):
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    history = [{"step": 8, "eval_loss": 1.0, "eval_accuracy": 0.5}]
    record = {"task": "boundary", "clips_seen": 64, "history": history}
    save_checkpoint_folder(model, BSPFeatureExtractor(), tmp_path / "encoder", record)
    facts = facts_of(tmp_path / "encoder")
    assert facts["labels"] == ["diff-class", "same-class", "diff-speed", "same-speed"]
    assert facts["num_parameters"] == model.num_parameters()
    assert facts["preprocessing"]["crop_size"] == {"height": 224, "width": 224}
    assert facts["held_out"] == {"step": 8, "loss": 1.0, "accuracy": 0.5}
    assert "hidden_sizes [8, 16]" in facts["backbone"] and facts["loads_without_the_package"]


def test_a_foreign_checkpoint_is_named_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(2, 3)}, "epoch": 7}, path)
    facts = facts_of(path)
    assert facts["num_tensors"] == 1 and facts["first_keys"] == ["module.conv1.weight"]
    assert facts["facts"] == {"epoch": 7} and facts["to_convert"] == f"bsp-hf convert {path} weights"


def test_exit_status_says_whether_all_some_or_none_could_be_read(tmp_path):
    path = write_track(make_track(), tmp_path / "v1.npz")
    (tmp_path / "text.mp4").write_text("no video")
    assert "text.mp4" in bsp("info", path, tmp_path / "text.mp4", code=1)
    assert "there is nothing at" in bsp("info", tmp_path / "nowhere.mp4", code=2)
    (tmp_path / "empty").mkdir()
    assert "holds neither a checkpoint" in bsp("info", tmp_path / "empty", code=2)
