"""Every awkward file of the data kit through the job: each behaves as its row says."""

import csv

import pytest
import torch

from bsp_hf import (
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    extract_features,
    save_checkpoint_folder,
)
from bsp_hf.features import read_track


@pytest.mark.parametrize("keep_partial", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_hostile_file_behaves_as_its_row_says(shared_data, tiny_encoder, tmp_path, keep_partial):
    with open(shared_data / "hostile" / "expected.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    (tmp_path / "all.txt").write_text("\n".join(str(shared_data / "hostile" / row["file"]) for row in rows))
    report = extract_features(
        tmp_path / "all.txt", tiny_encoder, tmp_path / "out", keep_partial=keep_partial, show_progress=False
    )
    got = dict.fromkeys(report.done, "ok")
    got |= {video.video_id: "partial" for video in report.partial}
    got |= {video.video_id: "error" for video in report.failed}
    reasons = {video.video_id: video.reason for video in (*report.partial, *report.failed)}
    print(f"\n{'file':24} {'expected':9} {'got':9} frames")
    wrong = []
    for row in rows:
        video_id, outcome = row["file"].rpartition(".")[0], row["outcome"]
        path = tmp_path / "out" / f"{video_id}.npy"
        frames = read_track(path).record.num_frames if path.exists() else ""
        reason = reasons.get(video_id, "")
        print(f"{row['file']:24} {outcome:9} {got[video_id]:9} {frames:<6} {reason}")
        is_written = outcome == "ok" or (outcome == "partial" and keep_partial)
        expected_frames = int(row["frames"]) if is_written else ""
        if got[video_id] != outcome or frames != expected_frames or (outcome == "ok") != (reason == ""):
            wrong.append(row["file"])
    assert not wrong
    assert report.exit_status == 1
    told = (tmp_path / "out" / "failures.csv").read_text()
    assert all(row["file"] in told for row in rows if row["outcome"] != "ok")
    assert not any(row["file"] in told for row in rows if row["outcome"] == "ok")


def test_an_encoder_that_gives_nan_fails_the_video(tmp_path, tiny_encoder, clips):
    """Whatever the video; no file of features is left."""
    model = BSPForBoundaryClassification.from_pretrained(tiny_encoder)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    extractor = BSPFeatureExtractor.from_pretrained(tiny_encoder)
    broken = save_checkpoint_folder(model, extractor, tmp_path / "broken")
    report = extract_features(clips, broken, tmp_path / "out", show_progress=False)
    assert not report.done and report.exit_status != 0
    reasons = {failed.video_id: failed.reason for failed in report.failed}
    assert "feature rows of b are not finite, first row 0" in reasons["b"]
    assert {"b", "c", "kitchen/a"} <= reasons.keys()
    assert not list((tmp_path / "out").rglob("*.npy"))
