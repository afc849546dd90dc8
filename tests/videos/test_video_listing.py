"""What people have, as lists of videos: ids, ranges, collisions, and what cannot be used."""

import io
import os
import pickle
import tarfile

import fsspec
import pytest
from support.clips_of_names import count_frames

from bsp_hf.features import InputCollisionError, VideoItem, find_videos
from bsp_hf.videos.items import LocalFile
from bsp_hf.videos.tar import list_tar


def ids(*inputs, **options):
    return [item.video_id for item in find_videos(list(inputs), **options).items]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Names only; nothing is opened to list it."""
    monkeypatch.chdir(tmp_path)
    for name in ("v/b.mp4", "v/a.MKV", "v/x/c.d.webm", "v/x/notes.txt", "v/.hidden.mp4", "v/.cache/e.mp4"):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        open(name, "w").close()
    return tmp_path


def test_a_folder_is_searched_and_ids_are_paths_in_it_without_suffix(tree):
    assert ids("v") == ["a", "b", "x/c.d"]
    assert ids("v/") == ids(tree / "v") == ["a", "b", "x/c.d"]
    (item,) = (item for item in find_videos("v").items if item.video_id == "a")
    assert item.name == os.path.join("v", "a.MKV") and item.end_s is None


def test_links_to_folders_are_followed_and_circles_end(tree):
    os.symlink(tree / "v", tree / "v" / "x" / "round")
    os.makedirs("far")
    open("far/f.mp4", "w").close()
    os.symlink(tree / "far", tree / "v" / "linked")
    assert ids("v") == ["a", "b", "linked/f", "x/c.d"]


def test_patterns_do_not_follow_circles(tree):
    os.symlink(tree / "v", tree / "v" / "x" / "round")
    assert ids("v/**/*.webm") == ["x/c.d"]


def test_patterns_start_ids_at_the_first_wildcard(tree):
    assert ids("v/*.mp4") == ["b"]
    assert ids("v/**/*.*m*") == ["a", "b", "x/c.d"] or ids("v/**/*.webm") == ["x/c.d"]
    assert ids("v/x/*.webm") == ["c.d"]
    for number in range(9, 12):
        open(f"v/n{number:03d}.mp4", "w").close()
    assert ids("v/n{009..011}.mp4") == ["n009", "n010", "n011"]
    with pytest.raises(FileNotFoundError, match=r"no file matches v/\*\.avi"):
        ids("v/*.avi")


def test_files_that_are_named_need_no_usual_suffix(tree):
    open("strange.bin", "w").close()
    assert ids("strange.bin", "v/b.mp4") == ["b", "strange"]
    # Named twice, it is one video all the same.
    assert ids("v/b.mp4", "v/*.mp4") == ["b"]
    assert ids(VideoItem("own/id", "x", LocalFile(tree / "x")), "v/b.mp4") == ["b", "own/id"]


def test_lists_are_relative_to_themselves(tree):
    (tree / "v" / "all.txt").write_text("# mine\n\nb.mp4\n./x/c.d.webm\n../other/z.mp4\n")
    assert ids("v/all.txt") == ["b", "other/z", "x/c.d"]
    names = {item.video_id: item.name for item in find_videos("v/all.txt").items}
    assert names["b"] == os.path.join("v", "b.mp4")
    (tree / "far.lst").write_text(f"{tree}/v/b.mp4\n{tree}/v/x/c.d.webm\ns3://bucket/deep/k.mp4\n")
    assert ids("far.lst") == ["b", "k", "x/c.d"]


def test_tables_give_ids_and_parts(tree):
    (tree / "t.csv").write_text(
        "id,file,start_s,end_s,label\none,v/b.mp4,1.5,3,run\ntwo,v/b.mp4,3,,\n,v/x/c.d.webm,,,\n"
    )
    found = find_videos("t.csv", start_s=7, end_s=9).items
    parts = [(item.video_id, item.start_s, item.end_s) for item in found]
    assert parts == [("one", 1.5, 3.0), ("two", 3.0, None), ("v/x/c.d", 7, 9)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", r"t\.csv needs the columns file .*, named in its first line; it has \['name'\]"),
        ("", r"t\.csv needs the columns file .*; it has \[\]"),
        ("file,start_s\nv.mp4,soon\n", r"t\.csv, line 2: start_s must be a number of seconds, got 'soon'"),
        ("file,start,end\nv.mp4,5,4\n", r"t\.csv, line 2: v: start_s must not be negative and end_s"),
        ("file,id\n,x\n", r"t\.csv, line 2: the row lacks file"),
        ("file,id\nv.mp4,../x\n", r"t\.csv, line 2: '\.\./x' cannot be a video id"),
        ("file,id\nv.mp4,.bsp_hf/x\n", r"begin with a dot"),
    ],
)
def test_faulty_tables_name_their_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_videos(tmp_path / "t.csv")


def test_two_videos_of_one_id_are_an_error_that_names_both(tree):
    open("v/a.mp4", "w").close()
    with pytest.raises(InputCollisionError, match=r"a\.MKV and .*a\.mp4 would both have the id 'a'"):
        ids("v")
    (tree / "t.csv").write_text("id,file,start_s\nx,v/b.mp4,0\nx,v/b.mp4,1\n")
    with pytest.raises(InputCollisionError, match="'x'"):
        ids("t.csv")


def test_nothing_found_says_what_to_pass(tree):
    os.makedirs("empty")
    with pytest.raises(FileNotFoundError, match="there is no video in empty"):
        ids("empty")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4 does not exist"):
        ids("nowhere.mp4")
    with pytest.raises(FileNotFoundError, match="pass a folder, files or a list"):
        ids()
    open("empty/shard.tar", "w").close()
    with pytest.raises(FileNotFoundError, match=r"pass 'empty/\*\.tar'"):
        ids("empty")


def test_names_that_cannot_be_ids_stop_no_other(tree):
    open("v/new\nline.mp4", "w").close()
    found = find_videos("v")
    assert len(found.items) == 3
    (unusable,) = found.unusable
    assert "cannot be a video id" in unusable.reason and unusable.name.isprintable()


# --- archives ----------------------------------------------------------------------------------------------


def add(archive, name, data=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture(params=["w", "w:gz"])
def shard(request, tmp_path, clips):
    path = tmp_path / ("shard.tar" if request.param == "w" else "shard.tar.gz")
    with tarfile.open(path, request.param) as archive:
        add(archive, "0001.json", b"{}")
        add(archive, "0001.mp4", (clips / "b.mkv").read_bytes())
        add(archive, "./deep/0002.clip.mkv", (clips / "c.mkv").read_bytes())
        add(archive, "../../evil.mp4", b"x")
        add(archive, "/abs.mp4", b"x")
        add(archive, "._0001.mp4", b"x")
        add(archive, "__MACOSX/0001.mp4", b"x")
        add(archive, "link.mp4", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "folder.mp4", type=tarfile.DIRTYPE)
    return path


def test_archives_give_their_videos_by_key_and_nothing_leaves_them(shard, tmp_path):
    found = find_videos(shard)
    assert [item.video_id for item in found.items] == ["0001", "deep/0002"]
    assert [count_frames(pickle.loads(pickle.dumps(item))) for item in found.items] == [20, 5]
    assert found.items[0].name == f"{shard}::0001.mp4"
    reasons = {video.name.split("::")[1]: video.reason for video in found.unusable}
    assert set(reasons) == {"../../evil.mp4", "/abs.mp4", "link.mp4"}
    assert "leads out" in reasons["../../evil.mp4"] and "leads out" in reasons["/abs.mp4"]
    assert "a link or a device" in reasons["link.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [shard.name]


def test_a_member_reads_as_a_file_that_ends_where_it_ends(shard, clips):
    expected = (clips / "c.mkv").read_bytes()
    with find_videos(shard).items[1].origin.open() as file:
        assert file.read() == expected and file.read() == b""
        assert file.seek(-20, 2) == len(expected) - 20 and file.read(100) == expected[-20:]
        assert file.seek(7) == 7 and file.read(3) == expected[7:10]


def test_the_stamp_of_a_member_follows_its_archive(shard):
    item = find_videos(shard).items[0]
    before = item.origin.stamp()
    assert before == find_videos(shard).items[0].origin.stamp()
    os.utime(shard, ns=(0, 0))
    assert item.origin.stamp() != before


def test_one_key_in_two_archives_is_a_collision(shard, tmp_path):
    (tmp_path / "again.tar").write_bytes(shard.read_bytes())
    with pytest.raises(InputCollisionError, match=r"again\.tar::0001\.mp4 and .*shard\.tar\S*::0001\.mp4"):
        ids(tmp_path / "*.tar*")


def test_what_is_no_archive_is_an_error(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match=r"x\.tar cannot be read as a tar archive"):
        list(list_tar(str(tmp_path / "x.tar")))


# --- addresses ---------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(clips):
    file_system = fsspec.filesystem("memory")
    for name in ("b.mkv", "kitchen/a.mkv", "broken.mp4"):
        file_system.pipe(f"/bucket/{name}", (clips / name).read_bytes())
    file_system.pipe("/bucket/readme.md", b"")
    file_system.pipe("/bucket/.trash/old.mp4", b"x")
    yield file_system
    file_system.rm("/bucket", recursive=True)


def test_addresses_of_files_folders_patterns_and_archives(bucket, shard, clips):
    assert ids("memory://bucket") == ["b", "broken", "kitchen/a"]
    assert ids("memory://bucket/kitchen/a.mkv") == ["a"]
    assert ids("memory://bucket/*.mkv") == ["b"]
    (item,) = find_videos("memory://bucket/kitchen/a.mkv").items
    assert count_frames(item) == 12
    before = item.origin.stamp()
    assert before == find_videos("memory://bucket/kitchen").items[0].origin.stamp()
    bucket.pipe("/bucket/kitchen/a.mkv", (clips / "c.mkv").read_bytes())
    assert item.origin.stamp() != before and count_frames(item) == 5
    bucket.pipe(f"/bucket/{shard.name}", shard.read_bytes())
    assert [count_frames(item) for item in find_videos(f"memory://bucket/{shard.name}").items] == [20, 5]
    assert ids(f"file://{clips}") == ids(clips)


def test_unknown_addresses_say_so():
    with pytest.raises(ValueError, match=r"gopher://x"):
        ids("gopher://x/y.mp4")
