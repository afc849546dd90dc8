"""Stores of prepared videos: what they keep, that they resume, and that they read as the originals do."""

import csv
import json
import logging
import os
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from support.clip_folder import read_numbers, render_classes, render_video, small_extractor
from support.interruption import read_folder

from bsp_hf.encoder.video import index_frames
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.features.extraction.lock import lock_file
from bsp_hf.features.extraction.resume import JobConflictError
from bsp_hf.pretraining import sources as sources_module
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.preparation import job
from bsp_hf.pretraining.preparation.job import prepare_videos
from bsp_hf.pretraining.preparation.settings import KEYFRAME_EVERY, PreparationSettings
from bsp_hf.pretraining.pretexts import BoundaryClassification
from bsp_hf.pretraining.sources import count_frames, scan_video_folder
from bsp_hf.pretraining.synthesis_config import SynthesisConfig

LENGTHS = {"bend": (30, 25), "run": (26, 37)}
FORMS = tuple(KEYFRAME_EVERY)


def prepare(folder, output, metadata=None, **options):
    settings = PreparationSettings(**{"short_side": 48, **options})
    return prepare_videos(scan_video_folder(folder, metadata), output, settings, root=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for split in ("train", "val"):
        render_classes(folder / split, LENGTHS, size=(128, 96))
    render_video(folder / "train/run/long name.avi", 12, size=(65, 49), codec="ffv1", fps=10)
    (folder / "train/run/broken.mp4").write_bytes(b"\0" * 200)
    return folder


@pytest.fixture(scope="module")
def stores(folder, tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("stores")
    reports = {form: prepare(folder, place / form, form=form, videos_per_shard=3) for form in FORMS}
    for report in reports.values():
        assert (report.num_prepared, report.num_new) == (9, 9)
        assert [name for name, _ in report.failures] == ["train/run/broken.mp4"]
    return {form: place / form for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_frames_classes_groups_and_splits_are_those_of_the_originals(form, folder, stores, monkeypatch):
    originals, _ = count_frames(scan_video_folder(folder))
    # What was counted when it was written is not counted again.
    monkeypatch.setattr(sources_module, "index_frames", None)
    prepared, broken = count_frames(scan_video_folder(stores[form]))
    assert not broken and len(prepared) == len(originals)
    for source, original in zip(sorted(prepared, key=lambda s: s.group), originals, strict=True):
        assert source.num_frames == original.num_frames
        assert (source.label, source.group, source.split) == (original.label, original.group, original.split)
        order = np.random.default_rng(0).permutation(source.num_frames)
        frames = FrameStore().read(source, order)
        assert read_numbers(frames) == order.tolist()
        assert min(frames.shape[1:3]) == 48
        assert FrameStore().fps(source) == (10.0 if "long name" in source.group else 25.0)


def test_broken_files_are_listed(stores):
    for store in stores.values():
        with (store / "failures.csv").open(newline="") as file:
            (failure,) = csv.DictReader(file)
        assert failure["file"] == "train/run/broken.mp4" and "not a video" in failure["reason"]
        assert json.loads((store / "store.json").read_text())["classes"] == ["bend", "run"]


def test_files_have_the_index_that_is_computed_and_the_keyframes_asked_for(stores):
    for form, every in (("mp4", 12), ("intra", 1)):
        for source in scan_video_folder(stores[form]):
            computed, found = source.origin.index(), index_frames(source.origin.path)
            for field in fields(found):
                assert np.array_equal(getattr(computed, field.name), getattr(found, field.name)) or (
                    field.name == "times_s" and np.allclose(computed.times_s, found.times_s, atol=1e-9)
                ), field.name
            assert found.keyframe_positions.tolist() == list(range(0, source.num_frames, every))


def test_shards_are_a_data_set(stores, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    shards = sorted(path.name for path in stores["jpeg"].glob("*.arrow"))
    assert shards == ["test-00000.arrow", "test-00001.arrow", "train-00000.arrow", "train-00001.arrow"]
    data = datasets.load_dataset(str(stores["jpeg"]), cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in data.items()} == {"train": 5, "test": 4}
    sources = {source.origin.name: source for source in scan_video_folder(stores["jpeg"])}
    for row in data["train"]:
        source = sources[row["name"]]
        assert (row["class"], row["group"]) == (source.label, source.group)
        kept = FrameStore().read(source, np.arange(source.num_frames))
        np.testing.assert_array_equal(np.stack([np.asarray(frame) for frame in row["frames"]]), kept)


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_preparation_goes_on_and_ends_alike(form, folder, stores, tmp_path, monkeypatch):
    calls, write = [], job.write_unit

    def write_or_stop(unit, *place):
        if len(calls) == 2:
            # As a process that is killed leaves it, within a line of the journal too.
            (place[1] / "half.tmp").touch()
            raise KeyboardInterrupt
        calls.append(unit.file)
        return write(unit, *place)

    monkeypatch.setattr(job, "write_unit", write_or_stop)
    options = {"form": form, "videos_per_shard": 3}
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path, **options)
    with (tmp_path / ".journal.jsonl").open("a") as journal:
        journal.write('{"file": "train/run/0.m')
    with pytest.raises(ValueError, match="is not finished: run the same"):
        scan_video_folder(tmp_path)
    first = calls.copy()
    monkeypatch.setattr(job, "write_unit", lambda *args: (calls.append(args[0].file), write(*args))[1])
    prepare(folder, tmp_path, **options)
    assert len(calls) == len(set(calls)) and calls[:2] == first
    assert read_folder(tmp_path) == read_folder(stores[form])
    assert prepare(folder, tmp_path, **options).num_new == 0


def test_what_changed_is_written_anew_and_what_failed_only_on_request(folder, stores, tmp_path, monkeypatch):
    originals, store = tmp_path / "originals", tmp_path / "store"
    shutil.copytree(folder, originals)
    shutil.copytree(stores["mp4"], store)
    render_video(originals / "val/run/0.mp4", 20, size=(128, 96))
    (store / "train/bend/1.mp4").unlink()
    calls, write = [], job.write_unit
    monkeypatch.setattr(job, "write_unit", lambda *args: (calls.append(args[0].file), write(*args))[1])
    assert prepare(originals, store).num_new == 2
    assert sorted(calls) == ["train/bend/1.mp4", "val/run/0.mp4"]
    assert next(s for s in scan_video_folder(store) if s.group == "val/run/0.mp4").num_frames == 20
    calls.clear()
    render_video(originals / "train/run/broken.mp4", 9, size=(128, 96))
    report = prepare(originals, store)
    assert calls == ["train/run/broken.mp4"] and not report.failures
    assert not (store / "failures.csv").exists()
    (originals / "train/run/broken.mp4").write_bytes(b"")
    prepare(originals, store)
    calls.clear()
    prepare(originals, store)
    assert not calls
    assert prepare(originals, store, retry_failed=True).failures and calls == ["train/run/broken.mp4"]


def test_stores_of_other_settings_other_folders_and_stores_in_use_are_refused(folder, stores, tmp_path):
    with pytest.raises(ValueError, match=r"prepared otherwise \(short_side 48 there, 32 now\)"):
        prepare(folder, stores["mp4"], short_side=32)
    with pytest.raises(ValueError, match="holds something else"):
        prepare(folder, folder)
    with pytest.raises(ValueError, match="would be those of the store too"):
        prepare(folder, folder / "store")
    with (
        lock_file(stores["intra"] / ".lock", ""),
        pytest.raises(JobConflictError, match="another process prepares videos in it"),
    ):
        prepare(folder, stores["intra"], form="intra")
    with pytest.raises(ValueError, match="keeps its own table"):
        scan_video_folder(stores["mp4"], tmp_path / "splits.csv")
    for options in ({"form": "webm"}, {"short_side": 0}, {"quality": 100}, {"timeout_s": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            PreparationSettings(**options)


@pytest.mark.parametrize("form", FORMS)
def test_names_that_no_file_of_a_store_can_have_stop_no_other(form, tmp_path):
    render_classes(tmp_path / "clips", {"bend": (9,)}, size=(64, 48))
    long, broken = f"{'x' * 250}.avi", "a\nb.mp4"
    for name in (long, broken):
        shutil.copy(tmp_path / "clips/bend/0.mp4", tmp_path / "clips/bend" / name)
    report = prepare(tmp_path / "clips", tmp_path / "store", form=form)
    failed = dict(report.failures)
    assert report.num_prepared == (2 if form == "jpeg" else 1)  # whose names are no files of their own
    assert "control characters" in failed.pop(f"bend/{broken}")
    assert "a\\nb.mp4" in str(report) and "a\nb" not in str(report)
    assert list(failed) == ([] if form == "jpeg" else [f"bend/{long}"])
    assert not list((tmp_path / "store").rglob("*.tmp*"))


def test_rows_that_are_damaged_are_named(stores, tmp_path):
    shutil.copytree(stores["mp4"], tmp_path / "store")
    table = tmp_path / "store/videos.csv"
    table.write_text(table.read_text().replace(",30,25.0,", ",x,25.0,", 1))
    with pytest.raises(ValueError, match=r"videos\.csv, line 2: not a row of prepared videos"):
        scan_video_folder(tmp_path / "store")
    for before, after in ((",25.0,", ",nan,"), (",48,", ",-48,"), ("train/bend/0.mp4", "../bend/0.mp4")):
        shutil.copy(stores["mp4"] / "videos.csv", table)
        table.write_text(table.read_text().replace(before, after))
        with pytest.raises(ValueError, match=r"videos\.csv, line \d+: not a row of prepared videos"):
            scan_video_folder(tmp_path / "store")
    table.write_bytes(b"name,class\n\xff\xfe")
    with pytest.raises(ValueError, match=r"videos\.csv, line 1: not a row"):
        scan_video_folder(tmp_path / "store")
    store = json.loads((tmp_path / "store/store.json").read_text())
    (tmp_path / "store/store.json").write_text(json.dumps(store | {"keyframe_every": "x"}))
    with pytest.raises(ValueError, match=r"store\.json: keyframe_every is 'x'"):
        scan_video_folder(tmp_path / "store")
    (tmp_path / "store/store.json").write_text("{}")
    with pytest.raises(ValueError, match=r"store\.json is no record of prepared videos"):
        scan_video_folder(tmp_path / "store")


def test_a_shard_that_is_cut_names_itself_and_another_source_takes_the_place(stores, tmp_path, caplog):
    shutil.copytree(stores["jpeg"], tmp_path / "store")
    shard = tmp_path / "store/train-00001.arrow"
    os.truncate(shard, shard.stat().st_size // 2)
    sources = scan_video_folder(tmp_path / "store")
    broken = [source for source in sources if source.origin.shard == shard]
    with pytest.raises(VideoDecodeError, match=r"train-00001\.arrow, row 0 \(train/run/"):
        FrameStore().read(broken[0], np.array([0]))
    pretext = BoundaryClassification(SynthesisConfig(half_length=2))
    clips = PretextClips(sources, pretext, small_extractor())
    anchor = [s.origin.shard for s in clips.catalog.sources].index(shard)
    with caplog.at_level(logging.WARNING):
        assert clips.read(anchor).frames.shape == (4, 32, 32, 3)
    assert "another source replaces one that cannot be read" in caplog.text and shard.name in caplog.text


@pytest.mark.parametrize("form", FORMS)
def test_clips_of_a_store_are_those_of_the_originals(form, folder, stores):
    """The same sources, plans and labels; the pixels within what compression and the smaller size cost."""
    pretext = BoundaryClassification(SynthesisConfig(half_length=2))
    originals, _ = count_frames(scan_video_folder(folder))
    order = {source.group: number for number, source in enumerate(originals)}
    stored = sorted(scan_video_folder(stores[form]), key=lambda source: order[source.group])
    ours, theirs = (PretextClips(part, pretext, small_extractor(48)) for part in (stored, originals))
    for index in range(0, len(ours), 5):
        clip, original = ours.read(index), theirs.read(index)
        assert clip.target == original.target
        assert clip.draw.plan.sources == original.draw.plan.sources
        for frames, expected in zip(clip.draw.plan.frames, original.draw.plan.frames, strict=True):
            assert np.array_equal(frames, expected)
        assert np.abs(clip.frames.astype(int) - original.frames).mean() < 6


# The lists of Kinetics


def kinetics(folder: Path, rows: list[str], name: str = "train.csv") -> Path:
    table = folder / name
    table.write_text("\n".join(["label,youtube_id,time_start,time_end,split,is_cc", *rows]) + "\n")
    return table


def test_lists_of_kinetics_find_their_videos_under_every_name(tmp_path, caplog):
    for name in ("abseiling/0wR5jVB-WPk_000417_000427", "x/3caPS4FHFF8", "-3TwvTQcQjs_2_12"):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = ["abseiling,0wR5jVB-WPk,417,427,train,0", "air drumming,3caPS4FHFF8,36,46,train,0"]
    rows += ["air drumming,-3TwvTQcQjs,2,12,validate,0", "applauding,gone,0,10,train,0"]
    with caplog.at_level(logging.WARNING):
        sources = scan_video_folder(tmp_path / "videos", kinetics(tmp_path, rows))
    assert [(source.label, source.group, source.split) for source in sources] == [
        ("air drumming", "-3TwvTQcQjs", "test"),
        ("abseiling", "0wR5jVB-WPk", "train"),
        ("air drumming", "3caPS4FHFF8", "train"),
    ]
    assert "1 of its videos are not in" in caplog.text
    with pytest.raises(ValueError, match="holds none of the 1 videos"):
        scan_video_folder(tmp_path / "videos", kinetics(tmp_path, rows[-1:]))


# Processes


@pytest.mark.slow
def test_processes_write_the_same_and_their_crashes_cost_one_video(folder, stores, tmp_path, monkeypatch):
    for form in ("mp4", "jpeg"):
        prepare(folder, tmp_path / form, form=form, videos_per_shard=3, num_workers=2)
        assert read_videos(tmp_path / form) == read_videos(stores[form])
    monkeypatch.setattr(job, "write_unit", crash_at_one)
    for form in ("mp4", "jpeg"):
        report = prepare(folder, tmp_path / f"crash-{form}", form=form, videos_per_shard=3, num_workers=2)
        assert report.num_prepared == 8
        assert ("train/run/0.mp4", job._CRASH) in report.failures


def crash_at_one(unit, *place):
    from bsp_hf.pretraining.preparation.encoding import write_unit

    if "train/run/0.mp4" in unit.names:
        os._exit(9)
    return write_unit(unit, *place)


def read_videos(store: Path) -> dict[str, bytes]:
    """The order of the journal is that in which processes end."""
    return {name: data for name, data in read_folder(store).items() if not name.startswith(".")}
