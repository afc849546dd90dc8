"""Finding trimmed videos: layouts, tables and their bad rows, splits that keep groups whole, frame counts."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clip_folder import render_video, unknown_videos

from bsp_hf.pretraining import sources as sources_module
from bsp_hf.pretraining.sources import (
    SourceCatalog,
    TrimmedVideo,
    count_frames,
    digest_sources,
    scan_video_folder,
    split_sources,
)
from bsp_hf.videos.items import VideoBytes


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(sources: list[TrimmedVideo], root: Path) -> list[tuple[str, str, str, str]]:
    return [(s.path.relative_to(root).as_posix(), s.label, s.split, s.group) for s in sources]


# Layouts


def test_first_folder_is_the_class_and_other_files_are_ignored(tmp_path):
    touch(
        tmp_path,
        "run/b.mp4",
        "run/a.WEBM",
        "bend/day1/c.avi",
        "bend/notes.txt",
        "bend/c.mp4.part",
        "loose.mp4",
    )
    assert listed(scan_video_folder(tmp_path), tmp_path) == [
        ("bend/day1/c.avi", "bend", "", "bend/day1/c.avi"),
        ("loose.mp4", "", "", "loose.mp4"),
        ("run/a.WEBM", "run", "", "run/a.WEBM"),
        ("run/b.mp4", "run", "", "run/b.mp4"),
    ]


def test_split_folders_above_the_classes_give_the_split(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "test/run/b.mp4", "val/bend/c.mp4", "validation/bend/d.mp4")
    assert [(label, split) for _, label, split, _ in listed(scan_video_folder(tmp_path), tmp_path)] == [
        ("run", "test"),
        ("run", "train"),
        ("bend", "test"),
        ("bend", "test"),
    ]


def test_split_folders_without_classes_are_no_classes(tmp_path):
    touch(tmp_path, "train/a.mp4", "test/b.mp4")
    assert [(label, split) for _, label, split, _ in listed(scan_video_folder(tmp_path), tmp_path)] == [
        ("", "test"),
        ("", "train"),
    ]


def test_split_folders_have_many_names_in_any_case(tmp_path):
    touch(tmp_path, "Train/run/a.mp4", "VALID/run/b.mp4", "training/bend/c.mp4", "eval/bend/d.mp4")
    assert [(label, split) for _, label, split, _ in listed(scan_video_folder(tmp_path), tmp_path)] == [
        ("run", "train"),
        ("run", "test"),
        ("bend", "test"),
        ("bend", "train"),
    ]


def test_a_split_folder_beside_classes_is_refused(tmp_path):
    touch(tmp_path, "run/a.mp4", "bend/a.mp4", "Test/a.mp4")
    with pytest.raises(ValueError, match=r"holds 'Test', which names a split, beside 'bend'\. Lay"):
        scan_video_folder(tmp_path)


def test_hidden_and_system_folders_are_no_classes_and_linked_ones_are(tmp_path):
    folder = touch(tmp_path / "clips", "run/a.mp4", ".ipynb_checkpoints/a.mp4", "__MACOSX/run/._a.mp4")
    touch(tmp_path, "elsewhere/b.mp4")
    (folder / "jump").symlink_to(tmp_path / "elsewhere")
    touch(folder, "run/.hidden.mp4", "run/.trash/a.mp4", "@eaDir/a.mp4")
    assert [(name, label) for name, label, _, _ in listed(scan_video_folder(folder), folder)] == [
        ("jump/b.mp4", "jump"),
        ("run/a.mp4", "run"),
    ]


def test_suffixes_are_those_of_extraction(tmp_path):
    touch(tmp_path, "run/a.wmv", "run/b.3gp", "run/c.mxf")
    assert len(scan_video_folder(tmp_path)) == 3


def test_folder_without_videos_and_missing_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"holds no video. Expected CLASS/clip.mp4"):
        scan_video_folder(touch(tmp_path, "run/a.txt"))
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        scan_video_folder(tmp_path / "nowhere")


# Tables


def write_table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    table = folder / "clips.csv"
    table.write_bytes(text.encode(encoding))
    return table


def test_table_says_class_split_and_group_and_may_leave_files_out(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4", "unlisted.mp4")
    table = write_table(
        tmp_path,
        "file,class,split,group,fps\n"
        "c.mp4,run,Validation ,anna,25\na.mp4,bend,train,bert,25\n"
        "b.mp4,run,training,,25\nd.mp4,,test,anna,\n",
    )
    assert listed(scan_video_folder(tmp_path, table), tmp_path) == [
        ("a.mp4", "bend", "train", "bert"),
        ("b.mp4", "run", "train", "b.mp4"),
        ("c.mp4", "run", "test", "anna"),
        ("d.mp4", "", "test", "anna"),
    ]


def test_table_of_a_spreadsheet_or_of_datasets_is_read_too(tmp_path):
    touch(tmp_path, "a.mp4")
    table = write_table(tmp_path, "file_name;label\n".replace(";", ",") + "a.mp4,run\n", encoding="utf-8-sig")
    assert listed(scan_video_folder(tmp_path, table), tmp_path) == [("a.mp4", "run", "", "a.mp4")]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("a.mp4", ValueError, "line 3: the row lacks class"),
        (",run", ValueError, "line 3: the row lacks file"),
        ("missing.mp4,run", FileNotFoundError, "line 3: .*missing.mp4 does not exist"),
        ("b.mp4,run", ValueError, "line 3: b.mp4 is listed twice"),
        ("a.mp4,run,tets", ValueError, "line 3: split 'tets' is unknown; use one of train"),
        ("../outside.mp4,run", ValueError, r"line 3: \.\./outside.mp4 leaves the folder"),
        ("sub/../../outside.mp4,run", ValueError, "line 3: .* leaves the folder"),
        ("{root}/../outside.mp4,run", ValueError, "line 3: .* leaves the folder"),
        ("link.mp4,run", ValueError, "line 3: link.mp4 leaves the folder"),
        ('a.mp4,"two\nlines"\nmissing.mp4,run', FileNotFoundError, "line 5: .*missing.mp4"),
    ],
)
def test_bad_rows_are_named_by_their_line(tmp_path, rows, error, message):
    folder = touch(tmp_path, "clips/a.mp4", "clips/b.mp4", "clips/sub/c.mp4", "outside.mp4") / "clips"
    (folder / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    table = write_table(
        tmp_path, "file,class,split\nb.mp4,run,\n" + rows.replace("{root}", str(folder)) + "\n"
    )
    with pytest.raises(error, match=message):
        scan_video_folder(folder, table)


def test_table_without_its_columns_or_rows_or_in_another_encoding_is_refused(tmp_path):
    touch(tmp_path, "a.mp4")
    with pytest.raises(ValueError, match=r"needs the columns file .* it has \['clip', 'class'\]"):
        scan_video_folder(tmp_path, write_table(tmp_path, "clip,class\na.mp4,run\n"))
    with pytest.raises(ValueError, match="no row below its header"):
        scan_video_folder(tmp_path, write_table(tmp_path, "file,class\n"))
    with pytest.raises(ValueError, match="needs the columns"):
        scan_video_folder(tmp_path, write_table(tmp_path, ""))
    with pytest.raises(ValueError, match="is not a CSV file in UTF-8"):
        scan_video_folder(tmp_path, write_table(tmp_path, "file,class\na.mp4,für\n", encoding="latin-1"))
    with pytest.raises(FileNotFoundError):
        scan_video_folder(tmp_path, tmp_path / "nowhere.csv")


def test_real_table_lists_every_clip_once(shared_data):
    folder = shared_data / "actions_mini"
    sources = scan_video_folder(folder, folder / "splits.csv")
    assert len(sources) == 770 and len({source.path for source in sources}) == 770
    assert {source.split for source in sources} == {"train", "test"}
    assert sum(source.split == "train" for source in sources) == 555
    assert len({source.group for source in sources}) == 351


# Splits


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 99),
)
def test_groups_are_never_split_and_nothing_is_lost(videos, eval_fraction, seed):
    sources = [TrimmedVideo(Path(f"{i}"), label, f"group{group}") for i, (label, group) in enumerate(videos)]
    try:
        train, test = split_sources(sources, eval_fraction, seed)
    except ValueError as error:
        assert "the split leaves" in str(error)
        return
    assert sorted(map(str, [s.path for s in train + test])) == sorted(str(s.path) for s in sources)
    assert not {source.group for source in train} & {source.group for source in test}
    assert (train, test) == split_sources(sources, eval_fraction, seed)


def test_held_out_share_is_taken_from_the_groups_of_every_class():
    sources = [TrimmedVideo(Path(f"{c}{i}"), c, f"{c}{i // 2}") for c in "ab" for i in range(40)]
    _, test = split_sources(sources, 0.25, seed=3)
    for label in "ab":
        assert len({source.group for source in test if source.label == label}) == 5
    assert test != split_sources(sources, 0.25, seed=4)[1]


def test_class_of_one_group_stays_in_training():
    sources = [TrimmedVideo(Path(f"{i}"), "a", f"{i}") for i in range(4)]
    train, test = split_sources([*sources, TrimmedVideo(Path("only"), "b", "only")])
    assert "b" in {source.label for source in train} and {source.label for source in test} == {"a"}


def test_named_splits_decide_and_a_group_in_both_is_held_out():
    def video(name: str, split: str, group: str) -> TrimmedVideo:
        return TrimmedVideo(Path(name), "a", group, split)

    sources = [video("0", "train", "x"), video("1", "test", "y"), video("2", "train", "y")]
    train, test = split_sources(sources)
    assert [source.path.name for source in train] == ["0"]
    assert [source.path.name for source in test] == ["1", "2"]


def test_impossible_splits_are_refused():
    sources = unknown_videos(20, 20, 20, 20)
    with pytest.raises(ValueError, match="has no split, but 1 others have"):
        split_sources([replace(sources[0], split="train"), *sources[1:]])
    with pytest.raises(ValueError, match="leaves 4 sources to train on and 0 held out"):
        split_sources([replace(source, split="train") for source in sources])
    with pytest.raises(ValueError, match="leaves 2 sources to train on and 0 held out"):
        split_sources(unknown_videos(20, 20, labels="ab"))
    for fraction in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="eval_fraction"):
            split_sources(sources, fraction)


# Counting


@pytest.fixture
def count_calls(monkeypatch):
    """The sources whose frames are counted, in order."""
    calls = []

    def count(source):
        calls.append(source.path.name)
        return source.stamp, 7

    monkeypatch.setattr(sources_module, "_count_one", count)
    return calls


def test_frames_are_counted_in_one_process_or_several(tmp_path):
    for number, length in enumerate((5, 9, 13)):
        render_video(tmp_path / f"{number}.mp4", length, size=(48, 36))
    sources = scan_video_folder(tmp_path)
    for num_workers in (0, 2):
        counted, broken = count_frames(sources, num_workers)
        assert [source.num_frames for source in counted] == [5, 9, 13] and not broken
        assert [replace(source, num_frames=0) for source in counted] == sources


def test_broken_files_are_left_out_and_named_with_their_reason(tmp_path, caplog):
    render_video(tmp_path / "good.mp4", 5, size=(48, 36))
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    gone = TrimmedVideo(tmp_path / "gone.mp4", "", "gone")
    with caplog.at_level(logging.WARNING, "bsp_hf"):
        counted, broken = count_frames([*scan_video_folder(tmp_path), gone], cache=tmp_path / "counts.json")
    assert [source.path.name for source in counted] == ["good.mp4"]
    assert [path.name for path, _ in broken] == ["empty.mp4", "text.mp4", "gone.mp4"]
    for path, reason in broken:
        assert str(path) in reason and str(path) in caplog.text
    assert "the file is empty" in broken[0][1]


def test_hostile_files_are_counted_or_reported_and_never_stop_the_job(shared_data, recwarn):
    import csv

    with (shared_data / "hostile" / "expected.csv").open() as file:
        expected = {row["file"]: row for row in csv.DictReader(file)}
    sources = [TrimmedVideo(shared_data / "hostile" / name, "", name) for name in expected]
    counted, broken = count_frames(sources)
    assert len(counted) + len(broken) == len(expected)
    for source in counted:
        row = expected[source.path.name]
        assert row["outcome"] != "error"
        if row["outcome"] == "ok":
            assert source.num_frames == int(row["frames"]), source.path.name
    for path, _ in broken:
        assert expected[path.name]["outcome"] != "ok"


def test_counts_are_remembered_until_the_file_changes(tmp_path, count_calls):
    folder, cache = touch(tmp_path / "clips", "a.mp4", "b.mp4"), tmp_path / "cache" / "counts.json"
    sources = scan_video_folder(folder)
    count_frames(sources, cache=cache)
    assert count_calls == ["a.mp4", "b.mp4"]
    stamp = cache.stat().st_mtime_ns
    counted, _ = count_frames(sources, cache=cache)
    assert [source.num_frames for source in counted] == [7, 7]
    assert count_calls == ["a.mp4", "b.mp4"] and cache.stat().st_mtime_ns == stamp

    (folder / "b.mp4").write_bytes(b"more")
    os.utime(folder / "a.mp4", ns=(0, 12345))
    count_frames(sources, cache=cache)
    assert count_calls[2:] == ["a.mp4", "b.mp4"]


def test_interrupted_counting_keeps_what_it_has(tmp_path, monkeypatch):
    sources = scan_video_folder(touch(tmp_path, *(f"{number}.mp4" for number in range(5))))
    monkeypatch.setattr(sources_module, "_COUNTS_BETWEEN_SAVES", 2)

    def count(source):
        if source.path.name == "4.mp4":
            raise KeyboardInterrupt
        return source.stamp, 7

    monkeypatch.setattr(sources_module, "_count_one", count)
    with pytest.raises(KeyboardInterrupt):
        count_frames(sources, cache=tmp_path / "counts.json")
    assert len(json.loads((tmp_path / "counts.json").read_text())["counts"]) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"clip.mp4": [1, 2, 3]}'])
def test_damaged_count_cache_is_written_anew(tmp_path, content, count_calls, caplog):
    sources, cache = scan_video_folder(touch(tmp_path, "a.mp4")), tmp_path / "counts.json"
    cache.write_text(content)
    with caplog.at_level(logging.WARNING, "bsp_hf"):
        counted, _ = count_frames(sources, cache=cache)
    assert counted[0].num_frames == 7 and "is not a table of frame counts" in caplog.text
    assert list(json.loads(cache.read_text())["counts"].values()) == [7]


def test_videos_without_a_file_are_counted_and_remembered(tmp_path):
    data = render_video(tmp_path / "a.mp4", 11, size=(48, 36)).read_bytes()
    sources = [
        TrimmedVideo(Path("cell.mp4"), "run", "0", origin=VideoBytes(data)),
        TrimmedVideo(Path("bad.mp4"), "run", "1", origin=VideoBytes(b"no video")),
    ]
    counted, broken = count_frames(sources, cache=tmp_path / "counts.json")
    assert [source.num_frames for source in counted] == [11]
    assert [path.name for path, _ in broken] == ["bad.mp4"] and broken[0][1].startswith("bad.mp4: ")
    assert json.loads((tmp_path / "counts.json").read_text())["counts"] == {VideoBytes(data).stamp(): 11}


def test_a_digest_of_sources_changes_with_a_video_and_not_with_its_folder(tmp_path):
    for length, name in ((5, "run/0.mp4"), (9, "bend/1.mp4")):
        (tmp_path / "a" / name).parent.mkdir(parents=True)
        render_video(tmp_path / "a" / name, length, size=(48, 36))
    before, _ = count_frames(scan_video_folder(tmp_path / "a"))
    digest = digest_sources(before)
    (tmp_path / "a").rename(tmp_path / "b")
    after, _ = count_frames(scan_video_folder(tmp_path / "b"))
    assert digest_sources(after) == digest
    assert digest not in map(
        digest_sources, [after[::-1], after[:1], [replace(after[0], label="jump"), after[1]]]
    )
    render_video(after[0].path, 9, size=(64, 36))
    assert digest_sources(after) != digest


# Catalog


def test_catalog_finds_partners_by_class():
    catalog = SourceCatalog(unknown_videos(20, 21, 22, 23, 24, labels="bab a"))
    assert catalog.labels == ["", "a", "b"]
    assert catalog.lengths.tolist() == [20, 21, 22, 23, 24]
    assert catalog.is_labelled.tolist() == [True, True, True, False, True]
    assert catalog.same_class(0).tolist() == [2] and catalog.same_class(3).tolist() == []
    assert catalog.other_classes(0).tolist() == [1, 3, 4]
    assert len(catalog) == 5
