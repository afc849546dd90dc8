"""The walk through a folder of videos: what is listed, in which order, and where links lead."""

import os

import pytest

from bsp_hf.videos.walk import walk_files, walk_videos


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(folder):
    return [path.relative_to(folder).as_posix() for path in walk_videos(folder)]


def test_videos_are_listed_by_their_names_in_one_order(tmp_path):
    touch(tmp_path, "b.MP4", "B.mp4", "a/z.webm", "a-b.mov", "a/y/x.Mkv", "notes.txt", "c.mp4.part")
    assert listed(tmp_path) == ["B.mp4", "a/y/x.Mkv", "a/z.webm", "a-b.mov", "b.MP4"]


def test_hidden_and_system_files_and_folders_are_passed_over(tmp_path):
    touch(
        tmp_path,
        "a.mp4",
        "._a.mp4",
        ".cache/b.mp4",
        "x/.trash/c.mp4",
        "__MACOSX/d.mp4",
        "x/@eaDir/e.mp4",
        "$RECYCLE.BIN/f.mp4",
        "System Volume Information/g.mp4",
        "lost+found/h.mp4",
    )
    assert listed(tmp_path) == ["a.mp4"]
    assert [path.name for path in walk_files(tmp_path)] == ["a.mp4"]


def test_a_hidden_folder_can_itself_be_searched(tmp_path):
    touch(tmp_path, ".cache/a.mp4")
    assert listed(tmp_path / ".cache") == ["a.mp4"]


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
def test_a_folder_is_listed_at_its_own_place_and_not_at_links_to_it(tmp_path, names):
    link, folder = names
    touch(tmp_path, f"{folder}/v.mp4")
    os.symlink(tmp_path / folder, tmp_path / link)
    assert listed(tmp_path) == [f"{folder}/v.mp4"]


def test_links_that_lead_out_are_followed_once(tmp_path):
    touch(tmp_path, "far/deep/v.mp4", "root/own.mp4")
    os.symlink(tmp_path / "far", tmp_path / "root" / "b")
    os.symlink(tmp_path / "far", tmp_path / "root" / "a")
    assert listed(tmp_path / "root") == ["a/deep/v.mp4", "own.mp4"]


def test_links_to_files_and_into_hidden_folders_are_followed(tmp_path):
    touch(tmp_path, ".store/v.mp4", "v/w.mp4")
    os.symlink(tmp_path / ".store", tmp_path / "linked")
    os.symlink(tmp_path / "v" / "w.mp4", tmp_path / "again.mp4")
    assert listed(tmp_path) == ["again.mp4", "linked/v.mp4", "v/w.mp4"]


def test_circles_of_links_end(tmp_path):
    touch(tmp_path, "root/x/v.mp4", "far/w.mp4")
    os.symlink(tmp_path / "root", tmp_path / "root" / "x" / "round")
    os.symlink(tmp_path / "far", tmp_path / "root" / "out")
    os.symlink(tmp_path / "root", tmp_path / "far" / "back")
    assert listed(tmp_path / "root") == ["out/w.mp4", "x/v.mp4"]
