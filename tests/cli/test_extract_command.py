"""`bsp-hf extract` and `bsp-hf export`: what they write, what they say, and with which exit status."""

import csv
import subprocess
from pathlib import Path

import datasets
import numpy as np
import pytest
from support.commands import bsp, plain
from support.rendered import render_video
from support.tiny import randomize, tiny_config, tiny_extractor

from bsp_hf import BSPForBoundaryClassification, save_checkpoint_folder
from bsp_hf.features import read_track, read_tracks, rescale


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny encoder in `tiny` and two videos, one of them in `v/x`."""
    folder = tmp_path_factory.mktemp("place")
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    save_checkpoint_folder(model, tiny_extractor(), folder / "tiny")
    (folder / "v" / "x").mkdir(parents=True)
    render_video(folder / "v" / "a.mkv", 40, size=(48, 40), codec="ffv1")
    render_video(folder / "v" / "x" / "b.mkv", 16, size=(48, 40), codec="ffv1")
    return folder


def extract(place, output, *words, code: int = 0) -> str:
    return bsp("extract", "--model", place / "tiny", "--output", output, "--quiet", *words, code=code)


def test_help_shows_every_kind_of_input():
    said = plain(bsp("extract", "--help"))
    for word in ("tables (.csv", "archives (.tar", "s3://", "--shard", "--keep-partial", "--start-s"):
        assert word in said
    assert "bsp-hf export --for actionformer features/" in plain(bsp("export", "--help"))


def test_exit_status_is_0_for_all_1_for_some_2_for_none(place, tmp_path):
    said = extract(place, tmp_path / "out", place / "v")
    assert said.startswith(f"{tmp_path / 'out'}: 2 done") and "x real time" in said
    assert extract(place, tmp_path / "out", place / "v").startswith(f"{tmp_path / 'out'}: 0 done, 2 already")
    (tmp_path / "bad.mp4").write_text("no video")
    said = extract(place, tmp_path / "out", place / "v", tmp_path / "bad.mp4", code=1)
    assert "2 already there, 1 failed" in said and "it is not a video that is read here" in said
    rows = list(csv.reader((tmp_path / "out" / "failures.csv").open(newline="")))
    assert rows[0] == ["file", "reason"] and rows[1][0] == str(tmp_path / "bad.mp4")
    assert rows[1][1].startswith("it is not a video")
    said = extract(place, tmp_path / "none", tmp_path / "bad.mp4", code=2)
    assert "0 done, 1 failed" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "tiny", "--output", "out"], "pass videos, or --dataset, and not both"),
        (["nowhere", "--model", "tiny", "--output", "out"], "nowhere does not exist"),
        (["v", "--model", "tiny", "--output", "out", "--shard", "2"], "--shard 2 must be i/n, like 0/4"),
        (
            ["v", "--model", "tiny", "--output", "out", "--shard", "2/2"],
            "the first is 0/n and the last n-1/n",
        ),
        (["v", "--model", "tiny", "--output", "out", "--file-format", "mat"], "'mat' is none of npy"),
        (["v", "--model", "tiny", "--output", "out.h5", "--file-format", "npz"], "pass a folder for npz"),
        (["v", "--model", "tiny", "--output", "out", "--device", "cuda:7"], "device cuda:7: "),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(place, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    said = bsp("extract", *words, code=2)
    assert said.startswith("Error: ") and message in said and said.count("\n") == 1
    assert sorted(place.iterdir()) == before


def test_an_encoder_that_is_not_there_is_one_line(place, tmp_path):
    words = ("extract", place / "v", "--model", tmp_path / "gone", "--output", tmp_path / "out", "--quiet")
    assert bsp(*words, code=2).startswith("Error: ")
    assert not list((tmp_path / "out").glob("*.npy"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_one_line_and_status_2(place):
    said = extract(place, "/proc/features", place / "v", code=2)
    assert said.startswith("Error: /proc/features cannot be written (") and said.count("\n") == 1


def test_another_stride_in_one_folder_is_refused(place, tmp_path):
    extract(place, tmp_path / "out", place / "v" / "a.mkv")
    said = extract(place, tmp_path / "out", place / "v" / "a.mkv", "--stride-frames", 4, code=2)
    assert "stride_frames 8 there, 4 now" in said and said.count("\n") == 1
    assert "1 done" in extract(
        place, tmp_path / "out", place / "v" / "a.mkv", "--stride-frames", 4, "--overwrite"
    )
    assert read_track(tmp_path / "out" / "a.npy").record.stride_frames == 4


def test_parts_shards_and_rescaling(place, tmp_path):
    extract(place, tmp_path / "part", place / "v" / "a.mkv", "--start-s", 0.64, "--end-s", 1.28)
    np.testing.assert_allclose(read_track(tmp_path / "part" / "a.npy").centers_s, [0.8, 1.12])
    said = [extract(place, tmp_path / "out", place / "v", "--shard", f"{i}/2") for i in range(2)]
    assert all("1 done" in text for text in said)
    extract(place, tmp_path / "rescaled", place / "v", "--rescale-to", 100, "--file-format", "npz")
    for track in read_tracks(tmp_path / "rescaled"):
        whole = read_track(tmp_path / "out", track.record.video_id)
        np.testing.assert_allclose(track.features, rescale(whole, 100).features, rtol=1e-4, atol=1e-5)


def test_data_sets_on_disk_are_read_and_streamed(place, tmp_path):
    rows = {"clip": [str(place / "v" / "a.mkv")], "key": ["one"]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "data")
    words = ("--dataset", tmp_path / "data", "--video-column", "clip", "--id-column", "key")
    assert "1 done" in extract(place, tmp_path / "out", *words)
    assert "1 already there" in extract(place, tmp_path / "out", *words, "--streaming")
    assert (tmp_path / "out" / "one.npy").is_file()


def test_export_prints_the_settings_and_writes_what_the_loader_reads(place, tmp_path):
    extract(place, tmp_path / "out", place / "v")
    said = bsp("export", "--for", "actionformer", tmp_path / "out", tmp_path / "af", "--prefix", "v_")
    assert "feat_stride=8 num_frames=8 offset_frames=4 fps=25.0 input_dim=32" in said
    loaded = np.load(tmp_path / "af" / "v_a.npy")
    np.testing.assert_array_equal(loaded, read_track(tmp_path / "out" / "a.npy").features)
    said = bsp("export", "--for", "bmn", tmp_path / "out", tmp_path / "bmn")
    assert np.loadtxt(tmp_path / "bmn" / "csv_mean_100" / "a.csv", delimiter=",", skiprows=1).shape == (
        100,
        32,
    )
    bsp("export", "--for", "lgi", tmp_path / "out", tmp_path / "lgi", "--rescale-to", 100)
    assert np.load(tmp_path / "lgi" / "a.npy").shape == (100, 32)


def test_export_names_what_it_leaves_out_and_refuses_nonsense(place, tmp_path):
    extract(place, tmp_path / "out", place / "v" / "a.mkv", "--start-s", 0.8)
    said = bsp("export", "--for", "actionformer", tmp_path / "out", tmp_path / "af", code=2)
    assert "nothing was exported: a: row 0 is centred at" in said
    assert "--for i3d is none of actionformer" in bsp("export", "--for", "i3d", "a", "b", code=2)
    assert "Missing argument 'tracks'" in plain(bsp("export", code=2))
    assert "Missing option '--for'" in plain(bsp("export", "features", "out", code=2))
    assert "Missing option '--output'" in plain(bsp("extract", "v", code=2))
    assert "there are no features at" in bsp("export", "--for", "lgi", tmp_path / "no", "b", code=2)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 kB; only root may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True)
    except OSError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip("may not mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of HDF5's library
@pytest.mark.parametrize("file_format", ["npy", "npz", "pt", "safetensors", "h5", "csv"])
def test_a_full_disk_is_one_line_status_2_and_no_half_file(place, small_disk, tmp_path, file_format):
    (tmp_path / "v").mkdir()
    for number in range(30):
        (tmp_path / "v" / f"{number:02d}.mkv").symlink_to(place / "v" / "a.mkv")
    words = ("--stride-frames", 1, "--file-format", file_format)  # 33 rows of 32 numbers
    said = extract(place, small_disk / "out", tmp_path / "v", *words, code=2)
    message = f"Error: {small_disk / 'out'} cannot be written ("
    assert message in said and "Make room" in said
    if file_format != "h5":  # HDF5's own library has its say first
        assert said.startswith(message) and said.count("\n") == 1
    # What is there is whole.
    tracks = list(read_tracks(small_disk / "out", file_format))
    assert 0 < len(tracks) < 30
    assert all(track.features.shape == (33, 32) for track in tracks)
    left = {path.suffix for path in (small_disk / "out").iterdir()} - {""}
    assert left <= {f".{file_format}", ".json"}
