"""`bsp-hf prepare`: what it writes and says, and with which exit status."""

import pytest
from support.clip_folder import render_classes
from support.commands import bsp

from bsp_hf.pretraining.sources import scan_video_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return render_classes(tmp_path_factory.mktemp("clips"), {"bend": (9,), "run": (8, 12)}, size=(64, 48))


def test_a_store_is_written_and_gone_on_with(folder, tmp_path):
    store = tmp_path / "store"
    said = bsp("prepare", folder, store, "--short-side", 32, "--form", "jpeg", "--quiet")
    assert f"{store}: 3 videos, 3 of them prepared now" in said
    assert {source.num_frames for source in scan_video_folder(store)} == {8, 9, 12}
    (folder / "run/empty.mp4").touch()
    said = bsp("prepare", folder, store, "--short-side", 32, "--form", "jpeg", code=1)
    assert "1 broken or in part only" in said and "run/empty.mp4: the file is empty" in said


def test_tables_are_joined(folder, tmp_path):
    for name, video, split in (("a", "bend/0.mp4", "train"), ("b", "run/1.mp4", "test")):
        (tmp_path / f"{name}.csv").write_text(f"file,class,split\n{video},x,{split}\n")
    tables = [word for name in "ab" for word in ("--metadata", tmp_path / f"{name}.csv")]
    bsp("prepare", folder, tmp_path / "store", *tables)
    assert {(s.label, s.split) for s in scan_video_folder(tmp_path / "store")} == {
        ("x", "train"),
        ("x", "test"),
    }
    said = bsp("prepare", folder, tmp_path / "other", *tables[:2], *tables[:2], code=2)
    assert "bend/0.mp4 is listed twice" in said


def test_mistakes_are_one_line(folder, tmp_path):
    assert "nowhere is not a folder" in bsp("prepare", "nowhere", tmp_path / "x", code=2)
    assert "holds something else" in bsp("prepare", folder, folder, code=2)
    bsp("prepare", folder / "bend", tmp_path / "store", "--short-side", 32)
    assert "was prepared already" in bsp("prepare", tmp_path / "store", tmp_path / "x", code=2)
    assert "crf=99 must be between" in bsp("prepare", folder, tmp_path / "x", "--crf", 99, code=2)
