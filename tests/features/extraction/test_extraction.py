"""The folder job: what it writes, goes on with, refuses to mix, and says of what it could not read."""

import json
import os
import socket
import sys
import tarfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import datasets
import numpy as np
import pytest
from support.job_folders import contents, reasons
from support.rendered import render_video
from transformers import AutoFeatureExtractor, AutoModel, pipeline

from bsp_hf import extract_features
from bsp_hf.features import (
    TRACK_FORMATS,
    ExtractionSettings,
    FeatureTrack,
    JobConflictError,
    OutputError,
    VideoItem,
    find_videos,
    read_track,
    read_tracks,
    rescale,
)
from bsp_hf.features.extraction import failures as job_failures
from bsp_hf.features.extraction import loop as extraction_loop
from bsp_hf.features.extraction.folder import JobFolder, JobPlaces
from bsp_hf.features.extraction.lock import JobLock
from bsp_hf.features.storage import formats
from bsp_hf.videos.datasets import DatasetCell
from bsp_hf.videos.items import LocalFile


@lru_cache
def load(folder):
    return AutoModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)


def extract(videos, folder, output, dtype="float32", **options):
    """Like the pipeline: in float32 even where the processor has bfloat16."""
    model, extractor = load(folder)
    return extract_features(
        videos, model, output, extractor=extractor, dtype=dtype, show_progress=False, **options
    )


@pytest.fixture(scope="module")
def expected(tiny_encoder, clips) -> dict[str, FeatureTrack]:
    """What the pipeline makes of each video."""
    one = pipeline("video-feature-extraction", model=str(tiny_encoder))
    paths = {"b": "b.mkv", "c": "c.mkv", "kitchen/a": "kitchen/a.mkv"}
    return {id_: FeatureTrack.from_pipeline(one(clips / path), video_id=id_) for id_, path in paths.items()}


@pytest.fixture(scope="module")
def finished(tiny_encoder, clips, tmp_path_factory) -> Path:
    """The folder of a job that ran through."""
    folder = tmp_path_factory.mktemp("finished") / "features"
    assert extract(clips, tiny_encoder, folder).done == ("b", "c", "kitchen/a")
    return folder


def assert_same_rows(track, expected):
    np.testing.assert_allclose(track.features, expected.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(track.centers_s, expected.centers_s)


# --- what it writes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", TRACK_FORMATS)
def test_every_format_holds_the_features_of_the_pipeline(
    clips, tiny_encoder, tmp_path, expected, file_format
):
    report = extract(clips, tiny_encoder, tmp_path / "out", file_format=file_format)
    assert report.done == ("b", "c", "kitchen/a") and report.exit_status == 1
    assert report.num_snippets == 3 + 1 + 2 and report.video_s == pytest.approx(37 / 25)
    tracks = {track.record.video_id: track for track in read_tracks(tmp_path / "out", None)}
    assert sorted(tracks) == sorted(expected)
    for video_id, track in tracks.items():
        assert_same_rows(track, expected[video_id])
        record, other = track.record, expected[video_id].record
        assert (record.fps, record.num_frames, record.duration_s) == (
            other.fps,
            other.num_frames,
            other.duration_s,
        )
        assert record.complete and not record.encoder.differences(other.encoder)
    if file_format != "arrow":
        names = sorted(name for name in contents(tmp_path / "out") if not name.startswith(".bsp_hf/"))
        ends = [f".{file_format}", f".{file_format}.json"] if file_format in ("npy", "pt", "csv") else None
        ends = ends or [f".{file_format}"]
        assert names == sorted(
            ["failures.csv", *(f"{id_}{end}" for id_ in ("b", "c", "kitchen/a") for end in ends)]
        )


def test_one_hdf5_file_of_all_videos(clips, tiny_encoder, tmp_path, expected):
    report = extract(clips, tiny_encoder, tmp_path / "all.h5")
    assert report.failures_file == tmp_path / "all.h5.failures.csv" and report.failures_file.is_file()
    assert not report.waits_for_others
    for track in read_tracks(tmp_path / "all.h5"):
        assert_same_rows(track, expected[track.record.video_id])
    before = contents(tmp_path)
    assert extract(clips, tiny_encoder, tmp_path / "all.h5").skipped == ("b", "c", "kitchen/a")
    assert contents(tmp_path) == before
    # Deleted, it is packed again out of what was kept; the same videos give the same bytes.
    (tmp_path / "all.h5").unlink()
    assert extract(clips, tiny_encoder, tmp_path / "all.h5").done == ()
    assert contents(tmp_path) == before


def test_options_reach_the_engine(clips, tiny_encoder, tmp_path):
    one = pipeline("video-feature-extraction", model=str(tiny_encoder))
    options = {"stride_frames": 4, "fps": 12.5, "padding": "drop", "start_s": 0.1, "end_s": 0.79}
    result = FeatureTrack.from_pipeline(one(clips / "b.mkv", **options), video_id="b")
    report = extract(clips / "b.mkv", tiny_encoder, tmp_path / "out", batch_size=2, **options)
    assert report.exit_status == 0
    track = read_track(tmp_path / "out" / "b.npy")
    assert_same_rows(track, result)
    assert (track.record.fps, track.record.stride_frames) == (12.5, 4)
    assert track.record.num_frames == result.record.num_frames

    report = extract(clips / "b.mkv", tiny_encoder, tmp_path / "rescaled", rescale_to=10)
    track = read_track(tmp_path / "rescaled" / "b.npy")
    plain = FeatureTrack.from_pipeline(one(clips / "b.mkv"), video_id="b")
    assert track.record.rescaled_from == 3 and report.num_snippets == 3
    np.testing.assert_allclose(track.features, rescale(plain, 10).features, rtol=1e-4, atol=1e-5)


def test_parts_of_one_file_keep_the_times_of_the_file(clips, tiny_encoder, tmp_path):
    (tmp_path / "t.csv").write_text(
        f"id,file,start_s,end_s\nhead,{clips}/b.mkv,,0.32\ntail,{clips}/b.mkv,0.32,\n"
    )
    assert extract(tmp_path / "t.csv", tiny_encoder, tmp_path / "out").done == ("head", "tail")
    whole = pipeline("video-feature-extraction", model=str(tiny_encoder))(clips / "b.mkv")
    head, tail = (read_track(tmp_path / "out" / f"{name}.npy") for name in ("head", "tail"))
    np.testing.assert_allclose(
        np.concatenate([head.features, tail.features]), whole["features"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose([*head.centers_s, *tail.centers_s], whole["centers_s"])
    # Another range of the same id would replace what is there: it is refused for this video alone.
    (tmp_path / "t.csv").write_text(
        f"id,file,start_s,end_s\nhead,{clips}/b.mkv,,0.16\ntail,{clips}/b.mkv,0.32,\n"
    )
    before = contents(tmp_path / "out")
    report = extract(tmp_path / "t.csv", tiny_encoder, tmp_path / "out")
    assert (report.done, report.skipped, report.exit_status) == ((), ("tail",), 1)
    assert report.failed[0].video_id == "head" and "another part" in report.failed[0].reason
    assert reasons(tmp_path / "out" / "failures.csv") == {"b.mkv": report.failed[0].reason}
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    report = extract(tmp_path / "t.csv", tiny_encoder, tmp_path / "out", overwrite=True)
    assert (report.done, report.skipped) == (("head",), ("tail",))
    assert len(read_track(tmp_path / "out" / "head.npy").centers_s) == 1
    assert not (tmp_path / "out" / "failures.csv").exists()


@pytest.mark.parametrize("file_format", ["npz", "arrow", "h5"])
@pytest.mark.parametrize("options", [{"start_s": 0.32}, {"end_s": 0.4}, {"start_s": 0.1, "end_s": 0.7}])
def test_a_part_replaces_no_whole_video_and_passes_for_none(
    clips, tiny_encoder, tmp_path, options, file_format
):
    output = tmp_path / ("out.h5" if file_format == "h5" else "out")
    options = {"file_format": file_format, **options}
    extract(clips / "b.mkv", tiny_encoder, output, file_format=file_format)
    report = extract(clips / "b.mkv", tiny_encoder, output, **options)
    assert (report.done, report.skipped, report.exit_status) == ((), (), 2)
    assert read_track(output / "b.npz" if file_format == "npz" else output, "b").num_snippets == 3
    assert extract(clips / "b.mkv", tiny_encoder, output, file_format=file_format).skipped == ("b",)


def test_data_sets_are_extracted_and_streamed(clips, tiny_encoder, tmp_path, expected):
    rows = {"video": [str(clips / "b.mkv"), str(clips / "c.mkv"), str(clips / "broken.mp4")]}
    data = datasets.Dataset.from_dict(rows).cast_column("video", datasets.Video())
    report = extract(data, tiny_encoder, tmp_path / "out")
    assert report.done == ("b", "c") and len(report.failed) == 1
    assert_same_rows(read_track(tmp_path / "out" / "c.npy"), expected["c"])
    stream = data.to_iterable_dataset()
    assert extract(stream, tiny_encoder, tmp_path / "out").skipped == ("b", "c")
    halves = [extract(stream, tiny_encoder, tmp_path / "halves", shard=(i, 2)) for i in range(2)]
    assert [half.done for half in halves] == [("b",), ("c",)]
    twice = datasets.concatenate_datasets([data, data.select([0])])
    other = datasets.Dataset.from_dict({"video": [str(clips / "kitchen" / "a.mkv")] * 2, "id": ["x", "x"]})
    assert extract(twice, tiny_encoder, tmp_path / "twice").done == ("b", "c")
    (failure,) = extract(other, tiny_encoder, tmp_path / "same", id_column="id").failed or (None,)
    assert failure is None or "'x'" in failure.reason


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("Invalid: buffer")])
def test_a_row_of_a_data_set_that_cannot_be_read_stops_no_other(
    clips, tiny_encoder, tmp_path, monkeypatch, error
):
    read = DatasetCell.read

    def fail(cell):
        if cell.row == 1:
            raise error
        return read(cell)

    monkeypatch.setattr(DatasetCell, "read", fail)
    videos = [(clips / name).read_bytes() for name in ("c.mkv", "b.mkv", "c.mkv")]
    data = datasets.Dataset.from_dict({"video": videos, "id": ["x", "y", "z"]})
    report = extract(data, tiny_encoder, tmp_path / "out", video_column="video", id_column="id")
    assert report.done == ("x", "z")
    assert [(failure.video_id, failure.reason) for failure in report.failed] == [
        ("y", getattr(error, "strerror", None) or str(error))
    ]


def test_remote_videos_are_read_through_fsspec(clips, tiny_encoder, tmp_path, expected):
    import fsspec

    fsspec.filesystem("memory").pipe("/job/b.mkv", (clips / "b.mkv").read_bytes())
    report = extract("memory://job", tiny_encoder, tmp_path / "out")
    fsspec.filesystem("memory").rm("/job", recursive=True)
    assert report.done == ("b",)
    assert_same_rows(read_track(tmp_path / "out" / "b.npy"), expected["b"])


# --- going on ----------------------------------------------------------------------------------------------


def test_what_is_verified_is_not_done_again(clips, tiny_encoder, finished):
    before, times = contents(finished), {p: p.stat().st_mtime_ns for p in finished.rglob("*.npy")}
    report = extract(clips, tiny_encoder, finished)
    assert (report.done, report.skipped) == ((), ("b", "c", "kitchen/a"))
    assert report.exit_status == 1 and [f.file for f in report.failed] == [str(clips / "broken.mp4")]
    assert contents(finished) == before
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*.npy")} == times


def damage_nothing(folder):
    (folder / "b.npy").unlink()


def cut_array(folder):
    path = folder / "b.npy"
    path.write_bytes(path.read_bytes()[:-40])


def swap_arrays(folder):
    (folder / "b.npy").write_bytes((folder / "c.npy").read_bytes())


def swap_whole_tracks(folder):
    for end in (".npy", ".npy.json"):
        (folder / f"b{end}").write_bytes((folder / f"c{end}").read_bytes())


def lose_record(folder):
    (folder / "b.npy.json").unlink()


def empty_journal_entry(folder):
    for path in (folder / ".bsp_hf" / "journal").iterdir():
        path.write_text("")


def lose_journal(folder):
    for path in (folder / ".bsp_hf" / "journal").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing,
        cut_array,
        swap_arrays,
        swap_whole_tracks,
        lose_record,
        empty_journal_entry,
        lose_journal,
    ],
)
def test_whatever_is_not_whole_is_done_again(clips, tiny_encoder, finished, tmp_path, damage):
    folder = tmp_path / "features"
    copy_tree(finished, folder)
    damage(folder)
    assert contents(folder) != contents(finished)
    report = extract(clips, tiny_encoder, folder)
    assert "b" in report.done
    assert contents(folder) == contents(finished)


def copy_tree(source, target):
    for name, data in contents(source).items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize("file_format", ["h5", "safetensors", "npz"])
def test_a_changed_digit_in_any_format_is_noticed(clips, tiny_encoder, tmp_path, file_format):
    extract(clips / "b.mkv", tiny_encoder, tmp_path / "out", file_format=file_format)
    path = tmp_path / "out" / f"b.{file_format}"
    whole = path.read_bytes()
    features = read_track(path).features.tobytes()
    at = whole.index(features[:64]) + 40
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert extract(clips / "b.mkv", tiny_encoder, tmp_path / "out", file_format=file_format).done == ("b",)
    assert path.read_bytes() == whole


def test_a_source_that_changed_is_done_again_and_one_that_broke_leaves_nothing(
    clips, tiny_encoder, tmp_path, expected
):
    video = tmp_path / "v" / "x.mkv"
    video.parent.mkdir()
    video.write_bytes((clips / "b.mkv").read_bytes())
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out").done == ("x",)
    video.write_bytes((clips / "c.mkv").read_bytes())
    report = extract(tmp_path / "v", tiny_encoder, tmp_path / "out")
    assert report.done == report.replaced == ("x",)
    assert "features of 1 files that have changed were replaced: x" in str(report)
    assert_same_rows(read_track(tmp_path / "out" / "x.npy"), expected["c"])
    video.write_bytes(b"no video any more")
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out").exit_status == 2
    # Features of what is not there any more would be taken for those of what is.
    assert not list((tmp_path / "out").glob("x*"))
    video.write_bytes((clips / "b.mkv").read_bytes())
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out").done == ("x",)
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_failures_of_files_that_were_deleted_are_forgotten(clips, tiny_encoder, tmp_path):
    for name in ("b.mkv", "broken.mp4"):
        (tmp_path / "v").mkdir(exist_ok=True)
        (tmp_path / "v" / name).write_bytes((clips / name).read_bytes())
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out").exit_status == 1
    (tmp_path / "v" / "broken.mp4").unlink()
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out").exit_status == 0
    assert not (tmp_path / "out" / "failures.csv").exists()


# --- no mixtures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride_frames": 4}, "stride_frames 8 there, 4 now"),
        ({"fps": 10}, "fps None there, 10 now"),
        ({"padding": "drop"}, "padding 'repeat' there, 'drop' now"),
        ({"rescale_to": 100}, "rescale_to None there, 100 now"),
        ({"file_format": "npz"}, "file_format 'npy' there, 'npz' now"),
    ],
)
def test_other_settings_in_one_folder_are_refused(clips, tiny_encoder, finished, options, message):
    before = contents(finished)
    with pytest.raises(JobConflictError, match=message):
        extract(clips, tiny_encoder, finished, **options)
    assert contents(finished) == before


def test_another_encoder_in_one_folder_is_refused_or_replaces_all(
    clips, tiny_encoder, other_encoder, finished, tmp_path
):
    folder = tmp_path / "features"
    copy_tree(finished, folder)
    with pytest.raises(JobConflictError, match=r"the encoder bsp-tiny, revision weights-.* there, bsp-tiny"):
        extract(clips, other_encoder, folder)
    assert contents(folder) == contents(finished)
    # Those of videos that are not asked for go as well: they would be a mixture.
    report = extract(clips / "b.mkv", other_encoder, folder, overwrite=True)
    assert report.done == ("b",)
    assert [track.record.video_id for track in read_tracks(folder)] == ["b"]
    assert not (folder / "failures.csv").exists()
    # Given again, it deletes nothing that is as it should be.
    assert extract(clips / "b.mkv", other_encoder, folder, overwrite=True).skipped == ("b",)


def test_files_of_others_are_not_replaced_unasked(clips, tiny_encoder, tmp_path):
    np.save(tmp_path / "b.npy", np.zeros((3, 4)))
    with pytest.raises(JobConflictError, match=r"b\.npy is there and was not written by such a job"):
        extract(clips, tiny_encoder, tmp_path)
    assert np.load(tmp_path / "b.npy").shape == (3, 4)
    assert "b" in extract(clips, tiny_encoder, tmp_path, overwrite=True).done


def test_ids_that_do_not_fit_one_hdf5_file_are_refused_before_any_work(clips, tiny_encoder, tmp_path):
    items = [VideoItem(id_, id_, LocalFile(clips / "b.mkv")) for id_ in ("a", "a/b")]
    with pytest.raises(ValueError, match="'a' and 'a/b' cannot both be in one HDF5 file"):
        extract(items, tiny_encoder, tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []


def test_settings_are_given_whole_or_by_name_and_the_record_is_theirs(clips, tiny_encoder, tmp_path):
    settings = ExtractionSettings(stride_frames=4, padding="drop", timeout_s=30, keep_partial=True)
    report = extract(clips / "b.mkv", tiny_encoder, tmp_path / "out", settings=settings, rescale_to=5)
    assert report.done == ("b",)
    job = json.loads((tmp_path / "out" / ".bsp_hf" / "job.json").read_text())
    assert {name: value for name, value in job.items() if name != "encoder"} == {
        "job_version": 1,
        "snippet_frames": 8,
        "stride_frames": 4,
        "fps": None,
        "padding": "drop",
        "rescale_to": 5,
        "file_format": "npy",
    }
    with pytest.raises(TypeError, match="'stride'"):
        extract(clips, tiny_encoder, tmp_path / "out", stride=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (2, 2)}, "shard=2/2"),
        ({"num_workers": -1}, "num_workers"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"rescale_to": 0}, "rescale_to"),
        ({"file_format": "pkl"}, "'pkl' is none of npy"),
        ({"start_s": 2, "end_s": 1}, "end_s must be later"),
    ],
)
def test_options_out_of_range_are_refused(clips, tiny_encoder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        extract(clips, tiny_encoder, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


# --- what cannot be read -----------------------------------------------------------------------------------


def test_broken_videos_are_named_with_their_reason(clips, tiny_encoder, finished):
    assert set(reasons(finished / "failures.csv")) == {"broken.mp4"}
    report = extract(clips, tiny_encoder, finished)
    table = str(report).splitlines()
    assert "3 already there, 1 failed" in table[0]
    assert "broken.mp4" in table[2] and "it is not a video that is read here" in table[2]
    assert str(finished / "failures.csv") in table[-1]


@pytest.fixture(scope="module")
def cut_video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    whole = render_video(
        folder / "whole.mp4", 60, size=(48, 40), gop=10, format_options={"movflags": "faststart"}
    )
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    return folder


def test_partial_videos_are_written_only_if_asked_and_never_pass_for_whole(cut_video, tiny_encoder, tmp_path):
    report = extract(cut_video, tiny_encoder, tmp_path / "out")
    assert report.done == ("whole",) and report.exit_status == 1
    (partial,) = report.partial
    assert partial.reason.startswith("partial: ") and not partial.is_kept
    assert not list((tmp_path / "out").glob("cut*"))
    assert reasons(tmp_path / "out" / "failures.csv") == {"cut.mp4": partial.reason}

    report = extract(cut_video, tiny_encoder, tmp_path / "out", keep_partial=True)
    assert report.partial[0].is_kept and report.exit_status == 1
    track = read_track(tmp_path / "out" / "cut.npy")
    assert track.record.complete is False and track.record.error and track.num_snippets < 8
    # Tried again, and gone again where it is not wanted.
    assert extract(cut_video, tiny_encoder, tmp_path / "out").partial[0].is_kept is False
    assert not list((tmp_path / "out").glob("cut*"))
    assert extract(cut_video / "cut.mp4", tiny_encoder, tmp_path / "one").exit_status == 2
    assert extract(cut_video / "cut.mp4", tiny_encoder, tmp_path / "one", keep_partial=True).exit_status == 1


@pytest.mark.parametrize("file_format", ["npy", "csv", "arrow", "h5"])
def test_what_may_be_cut_is_said_to_be_so_and_is_not_extracted_again(tiny_encoder, tmp_path, file_format):
    folder = tmp_path / "clips"
    folder.mkdir()
    render_video(folder / "stream.ts", 60, size=(48, 40), gop=10)
    output = tmp_path / "out"
    report = extract(folder, tiny_encoder, output, file_format=file_format)
    assert (report.done, report.unknown, report.exit_status) == (("stream",), ("stream",), 0)
    assert not report.partial and "1 in formats that do not state their end may be cut: stream" in str(report)
    (track,) = read_tracks(output)
    assert (track.record.complete, track.record.error) == ("unknown", None)
    again = extract(folder, tiny_encoder, output, file_format=file_format)
    assert (again.done, again.skipped) == ((), ("stream",))


def test_a_video_without_a_snippet_says_how_to_get_one(clips, tiny_encoder, tmp_path):
    (failure,) = extract(clips / "c.mkv", tiny_encoder, tmp_path / "out", padding="drop").failed
    assert "there are 5 frames, a snippet has 8" in failure.reason


def test_pipes_and_missing_files_are_failures(clips, tiny_encoder, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "all.txt").write_text(f"pipe.mp4\ngone.mp4\n{clips}/b.mkv\n")
    report = extract(tmp_path / "all.txt", tiny_encoder, tmp_path / "out", timeout_s=2)
    assert report.done == ("b",)
    told = reasons(tmp_path / "out" / "failures.csv")
    assert "a device, pipe or socket" in told["pipe.mp4"] and "No such" in told["gone.mp4"]


# --- names -------------------------------------------------------------------------------------------------

NAMES = ["at 10.15.20\u202fAM", "日本\u3000動画", "\U0001f469\u200d\U0001f467", "caf\udce9", "ok"]


@pytest.fixture
def named_clips(clips, tmp_path) -> Path:
    """Short videos with names that systems give."""
    (tmp_path / "v").mkdir()
    for name in NAMES:
        (tmp_path / "v" / f"{name}.mkv").symlink_to(clips / "c.mkv")
    return tmp_path / "v"


@pytest.mark.parametrize("file_format", TRACK_FORMATS)
def test_names_that_systems_give_are_extracted_in_every_format(
    named_clips, tiny_encoder, tmp_path, file_format
):
    report = extract(named_clips, tiny_encoder, tmp_path / "out", file_format=file_format)
    wanted = [name for name in NAMES if file_format not in ("h5", "arrow") or name != "caf\udce9"]
    assert sorted(report.done) == sorted(wanted)
    assert [track.record.video_id for track in read_tracks(tmp_path / "out")] == sorted(wanted)
    assert all(failure.file.endswith("caf\udce9.mkv") for failure in report.failed)
    assert len(report.failed) == len(NAMES) - len(wanted)
    str(report).encode()  # any terminal takes it
    if report.failed:
        assert reasons(report.failures_file) == {
            r"caf\udce9.mkv": f"its name is not UTF-8, as names in {file_format} files must be; rename it"
        }
    again = extract(named_clips, tiny_encoder, tmp_path / "out", file_format=file_format)
    assert sorted(again.skipped) == sorted(wanted)


@pytest.mark.parametrize("file_format", ["npy", "npz", "h5"])
@pytest.mark.parametrize(
    "name", ["M" * 251, "é" * 125 + "x", "\U0001f3ac" * 62 + "xyz"], ids=["letters", "accents", "pictures"]
)
def test_a_name_too_long_for_its_features_fails_alone_and_leaves_nothing(
    clips, tiny_encoder, tmp_path, name, file_format
):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / f"{name}.ts").symlink_to(clips / "c.mkv")
    (tmp_path / "v" / "zz.mkv").symlink_to(clips / "c.mkv")
    items = [VideoItem("deep/" * 900 + "x", "deep", LocalFile(clips / "c.mkv")), tmp_path / "v"]
    items.append(VideoItem(name + "1", "longer", LocalFile(clips / "c.mkv")))
    report = extract(items, tiny_encoder, tmp_path / "out", file_format=file_format)
    end = ".npy.json" if file_format == "npy" else f".{file_format}"
    fitting = [id_ for id_ in (name, f"{name}1", "zz") if len(f"{id_}{end}".encode()) <= 255]
    assert sorted(report.done) == sorted(fitting) and len(report.failed) == 4 - len(fitting)
    assert report.exit_status == 1
    for failure in report.failed:
        assert failure.reason.startswith("its features cannot be written (File name too long): ")
    left = {path.name for path in (tmp_path / "out").iterdir()} - {".bsp_hf", "failures.csv"}
    assert all(path.startswith(("zz.", name)) for path in left) and not any(".tmp" in path for path in left)
    again = extract(items, tiny_encoder, tmp_path / "out", file_format=file_format)
    assert sorted(again.skipped) == sorted(report.done) and len(again.failed) == len(report.failed)


@pytest.mark.parametrize("name", ["failures", "Failures", "FAILURES"])
@pytest.mark.parametrize("file_format", ["csv", "npy"])
def test_a_video_called_failures_keeps_its_features(clips, tiny_encoder, tmp_path, name, file_format):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / f"{name}.mkv").symlink_to(clips / "b.mkv")
    (tmp_path / "v" / "ok.mkv").symlink_to(clips / "c.mkv")
    options = {"file_format": file_format}
    assert sorted(extract(tmp_path / "v", tiny_encoder, tmp_path / "out", **options).done) == [name, "ok"]
    (tmp_path / "v" / "bad.mp4").write_bytes(b"no video")
    for videos in (tmp_path / "v", tmp_path / "v" / "bad.mp4"):
        report = extract(videos, tiny_encoder, tmp_path / "out", **options)
        assert list(reasons(report.failures_file)) == ["bad.mp4"] and str(report.failures_file) in str(report)
        assert read_track(tmp_path / "out" / f"{name}.{file_format}").num_snippets == 3
        if name == "Failures" and file_format == "csv":
            break  # where case matters, only the list of videos tells
    (tmp_path / "v" / "bad.mp4").unlink()
    report = extract(tmp_path / "v", tiny_encoder, tmp_path / "out", **options)
    assert sorted(report.skipped) == [name, "ok"] and not report.failures_file.exists()


@pytest.mark.parametrize("file_format", ["npy", "npz", "h5"])
def test_a_folder_called_like_features_stops_one_video(clips, tiny_encoder, tmp_path, file_format):
    (tmp_path / "v" / f"a.{file_format}").mkdir(parents=True)
    for name in ("a.mkv", f"a.{file_format}/b.mkv", "z.mkv"):
        (tmp_path / "v" / name).symlink_to(clips / "c.mkv")
    report = extract(tmp_path / "v", tiny_encoder, tmp_path / "out", file_format=file_format)
    assert report.done == ("a", "z") and report.exit_status == 1
    assert "(Not a directory)" in report.failed[0].reason
    assert extract(tmp_path / "v", tiny_encoder, tmp_path / "out", file_format=file_format).skipped == (
        "a",
        "z",
    )
    # And a folder in the output, of whomever.
    (tmp_path / "other" / f"a.{file_format}").mkdir(parents=True)
    report = extract(tmp_path / "v" / "a.mkv", tiny_encoder, tmp_path / "other", file_format=file_format)
    assert f"a.{file_format} is a folder" in report.failed[0].reason and report.exit_status == 2


def test_a_folder_that_comes_while_a_video_is_extracted_stops_this_video(
    clips, tiny_encoder, tmp_path, monkeypatch
):
    keep = JobFolder.keep

    def block(self, track, item, source):
        if item.video_id == "b":
            (tmp_path / "out" / "b.npy").mkdir()
        keep(self, track, item, source)

    monkeypatch.setattr(JobFolder, "keep", block)
    report = extract(clips, tiny_encoder, tmp_path / "out")
    assert report.done == ("c", "kitchen/a")
    assert "b.npy is a folder" in {video.video_id: video.reason for video in report.failed}["b"]


def test_what_is_no_video_in_a_list_is_reported(clips, tiny_encoder, tmp_path):
    report = extract([None, clips / "c.mkv", float("nan")], tiny_encoder, tmp_path / "out")
    assert report.done == ("c",) and report.exit_status == 1
    assert set(reasons(report.failures_file)) == {"videos[0]", "videos[2]"}


def test_a_cut_shard_is_a_failure_and_the_others_go_on(clips, tiny_encoder, tmp_path):
    for number in range(3):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            archive.add(clips / "c.mkv", f"{number}a.mkv")
            archive.add(clips / "b.mkv", f"{number}b.mkv")
    whole = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: whole.index(b"1b.mkv") + 900])
    report = extract(str(tmp_path / "{0..2}.tar"), tiny_encoder, tmp_path / "out")
    assert report.done == ("0a", "0b", "1a", "2a", "2b") and report.exit_status == 1
    assert set(reasons(report.failures_file)) == {"1.tar", "1.tar::1b.mkv"}
    assert reasons(report.failures_file)["1.tar::1b.mkv"] == "the archive ends inside it"


@dataclass(frozen=True)
class Hanging:
    """A file on a disk that has gone away: opening it never returns."""

    def stamp(self):
        return "1"

    def open(self):
        threading.Event().wait()


def test_a_file_that_hangs_is_abandoned_and_the_others_are_done(clips, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction_loop, "GRACE_S", 0.5)
    items = [VideoItem("a", "nfs/a.mp4", Hanging()), *find_videos(clips / "b.mkv").items]
    started_s = time.monotonic()
    report = extract(items, tiny_encoder, tmp_path / "out", timeout_s=1.0)
    assert time.monotonic() - started_s < 60
    assert report.done == ("b",)
    assert report.failed[0].file == "nfs/a.mp4"
    assert report.failed[0].reason == "it gave nothing for 1.5 s and was abandoned"


def test_noting_failures_takes_time_in_proportion_to_their_number(tiny_encoder, tmp_path, monkeypatch):
    """The table of all was read and written anew for each of them."""
    calls = []
    read_json = job_failures.read_json
    monkeypatch.setattr(job_failures, "read_json", lambda path: calls.append(path) or read_json(path))
    (tmp_path / "v").mkdir()
    for number in range(60):
        (tmp_path / "v" / f"{number:02}.mp4").write_bytes(b"no video")
    report = extract(tmp_path / "v", tiny_encoder, tmp_path / "out")
    assert len(report.failed) == len(reasons(tmp_path / "out" / "failures.csv")) == 60
    assert len(calls) < 10 * 60


def test_the_table_of_failures_is_there_before_the_job_ends(clips, tiny_encoder, tmp_path, monkeypatch):
    class Late(Exception):
        pass

    def stop(self, track, *_):
        assert list(reasons(tmp_path / "out" / "failures.csv")) == ["a.mp4"]
        raise Late

    (tmp_path / "a.mp4").write_bytes(b"no video")
    monkeypatch.setattr(JobFolder, "keep", stop)
    with pytest.raises(Late):
        extract([tmp_path / "a.mp4", clips / "b.mkv"], tiny_encoder, tmp_path / "out")


# --- an output that cannot be written ----------------------------------------------------------------------


def test_a_full_disk_stops_with_one_message_and_leaves_no_half_file(
    clips, tiny_encoder, finished, tmp_path, monkeypatch
):
    calls = []

    def write(track, path):
        if len(calls) == 1:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        calls.append(path)
        return write_npy(track, path)

    write_npy = formats._WRITERS[".npy"]
    monkeypatch.setitem(formats._WRITERS, ".npy", write)
    with pytest.raises(OutputError, match=r"out cannot be written .*No space left on device.* Make room"):
        extract(clips, tiny_encoder, tmp_path / "out")
    left = {name for name in contents(tmp_path / "out") if not name.startswith(".bsp_hf/")}
    assert {"b.npy", "b.npy.json"} <= left <= {"b.npy", "b.npy.json", "failures.csv"}
    assert not any("half" in str(data) for data in contents(tmp_path / "out").values())
    monkeypatch.undo()
    assert extract(clips, tiny_encoder, tmp_path / "out").skipped == ("b",)
    assert contents(tmp_path / "out") == contents(finished)


def test_a_file_in_the_way_of_the_folder_is_one_message(clips, tiny_encoder, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out is a file; pass another output"):
        extract(clips, tiny_encoder, tmp_path / "out")
    (tmp_path / "x.h5").mkdir()
    with pytest.raises(OutputError, match="is a folder; pass another output"):
        extract(clips, tiny_encoder, tmp_path / "x.h5")


# --- several processes -------------------------------------------------------------------------------------


def test_shards_make_what_one_process_makes(clips, tiny_encoder, finished, tmp_path):
    reports = [extract(clips, tiny_encoder, tmp_path / "out", shard=(i, 3)) for i in range(3)]
    assert sorted(id_ for report in reports for id_ in report.done) == ["b", "c", "kitchen/a"]
    assert sum(len(report.failed) for report in reports) == 1
    assert contents(tmp_path / "out") == contents(finished)


def test_the_last_shard_packs(clips, tiny_encoder, tmp_path):
    first, second = (extract(clips, tiny_encoder, tmp_path / "x.h5", shard=(i, 2)) for i in range(2))
    assert first.waits_for_others and "ends last" in str(first) and not second.waits_for_others
    extract(clips, tiny_encoder, tmp_path / "y.h5")
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()


@contextmanager
def running(output, shard=(0, 1)):
    """Another job that extracts into an output."""
    lock = JobLock(output, JobPlaces(output, "npy").work, shard)
    with ExitStack() as stack:
        with lock.step("start"):
            stack.enter_context(lock.hold())
        yield


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [((0, 1), (0, 1)), ((0, 1), (1, 2)), ((1, 2), (0, 1)), ((1, 2), (1, 2)), ((1, 2), (2, 3))],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_job_is_refused_in_a_line_that_names_the_first(
    clips, tiny_encoder, other_encoder, finished, tmp_path, theirs, mine, overwrite
):
    copy_tree(finished, tmp_path / "out")
    encoder = other_encoder if overwrite else tiny_encoder
    with running(tmp_path / "out", theirs):
        before = contents(tmp_path / "out")
        with pytest.raises(JobConflictError) as refused:
            extract(clips, encoder, tmp_path / "out", shard=mine, overwrite=overwrite)
        assert contents(tmp_path / "out") == before
    holder = f"process {os.getpid()} on host {socket.gethostname()}"
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / 'out'} is in use: {holder} extracts") and "\n" not in said
    assert f"(shard {theirs[0]}/{theirs[1]})" in said
    assert extract(clips, tiny_encoder, tmp_path / "out").exit_status == 1  # free again
    assert contents(tmp_path / "out") == contents(finished)


def test_shards_run_side_by_side_but_do_not_overwrite_beside_each_other(
    clips, tiny_encoder, other_encoder, finished, tmp_path
):
    with running(tmp_path / "out", (1, 2)):
        report = extract(clips, tiny_encoder, tmp_path / "out", shard=(0, 2), overwrite=True)  # nothing there
        assert report.done == ("b", "c")
        with pytest.raises(JobConflictError, match=r"is in use: .*\(shard 1/2\)"):
            extract(clips, other_encoder, tmp_path / "out", shard=(0, 2), overwrite=True)
        assert (tmp_path / "out" / "b.npy").exists()
    extract(clips, tiny_encoder, tmp_path / "out", shard=(1, 2))
    assert contents(tmp_path / "out") == contents(finished)


def test_jobs_that_start_together_are_one_job(clips, tiny_encoder, finished, tmp_path):
    reports, refusals = [], []

    def run():
        try:
            reports.append(extract(clips, tiny_encoder, tmp_path / "out"))
        except JobConflictError as error:
            refusals.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    # Those that came when another had ended found all done.
    assert sorted(id_ for report in reports for id_ in report.done) == ["b", "c", "kitchen/a"]
    assert len(reports) >= 1 and len(reports) + len(refusals) == 4
    assert contents(tmp_path / "out") == contents(finished)


def test_a_missing_package_is_noticed_before_there_is_a_folder(clips, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for output, options in ((tmp_path / "out.h5", {}), (tmp_path / "out", {"file_format": "h5"})):
        with pytest.raises(ImportError, match=r"HDF5 files need h5py: .* -m pip install .*\[h5\]"):
            extract(clips, tiny_encoder, output, **options)
    assert list(tmp_path.iterdir()) == []
    assert extract(clips / "c.mkv", tiny_encoder, tmp_path / "out", stride_frames=4).done
