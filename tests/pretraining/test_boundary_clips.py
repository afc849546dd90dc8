"""Clips as a `datasets` data set: those of training, streamed or prepared, from folders and data sets."""

import os
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from support.clip_folder import counted_sources, read_numbers, render_classes, small_extractor
from torch.utils.data import DataLoader

from bsp_hf import PretextClips, SynthesisConfig, load_boundary_clips
from bsp_hf.pretraining.clip_dataset.builder import BoundaryClipsBuilder
from bsp_hf.pretraining.dataset_sources import list_dataset_videos
from bsp_hf.pretraining.pretexts import make_pretext
from bsp_hf.pretraining.sources import relative_names, scan_video_folder
from bsp_hf.training.sampler import EpochSampler

SMALL = {"crop_size": 48, "short_side": 48}
LABELS = ["diff-class", "same-class", "diff-speed", "same-speed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return render_classes(tmp_path_factory.mktemp("clips"), size=(48, 48), fps=20)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(folder, cache) -> datasets.Dataset:
    return load_boundary_clips(folder, cache_dir=cache, seed=5, **SMALL)


def rows(dataset) -> list[tuple]:
    """Everything in every row, comparable."""
    plain = dataset.select_columns([name for name in dataset.column_names if name != "frames"])
    frames = dataset.select_columns(["frames"]).with_format("numpy")
    return [
        (row["frames"].astype(np.uint8).tobytes(), *map(repr, values.values()))
        for row, values in zip(frames, plain, strict=True)
    ]


def prepared_folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "boundary_clips").iterdir() if path.is_dir())


# What a row says


def test_rows_are_the_clips_of_training_in_its_order(folder, prepared):
    clips = PretextClips(
        counted_sources(folder), make_pretext("boundary", SynthesisConfig()), small_extractor(48), seed=5
    )
    order = list(EpochSampler(len(clips), 5))
    assert len(prepared) == len(clips) == 24
    names = [source.path.relative_to(folder).as_posix() for source in clips.catalog.sources]
    for row, index in zip(prepared.with_format("numpy"), order, strict=True):
        clip = clips.read(index)
        plan = clip.draw.plan
        assert (row["epoch"], row["index"], row["label"]) == (0, index, clip.target)
        np.testing.assert_array_equal(row["frames"], clip.frames)
        assert list(row["sources"]) == [names[source] for source in plan.sources]
        assert (row["boundary_frame"], row["speed"]) == (plan.boundary_frame, plan.speed)
    assert sorted(prepared["index"]) == list(range(24))


def test_columns_say_where_the_boundary_is_and_which_frames_are_shown(prepared):
    assert prepared.features["label"].names == LABELS
    assert prepared.features["frames"] == datasets.Array4D((8, 48, 48, 3), "uint8")
    for row, frames in zip(
        prepared.remove_columns("frames"), prepared.with_format("numpy")["frames"], strict=True
    ):
        label = LABELS[row["label"]]
        numbers = read_numbers(frames)
        if label == "same-speed":
            assert (row["boundary_frame"], row["boundary_s"], row["speed"]) == (0, None, 1.0)
        else:
            # 20 frames a second at the original rate up to the boundary.
            assert row["boundary_s"] == pytest.approx(row["boundary_frame"] / 20)
        if label.endswith("speed"):
            assert numbers == row["frame_indices"][0] and len(row["sources"]) == 1
            steps = np.diff(numbers)
            fast = 8 if label == "same-speed" else row["boundary_frame"]
            assert (steps[: fast - 1] == 1).all() and (steps[fast - 1 :] == row["speed"]).all()
        else:
            first, second = (name.split("/")[0] for name in row["sources"])
            assert (first == second) == (label == "same-class")
            assert row["boundary_frame"] == 4 and row["speed"] == 1.0
            assert numbers[4:] == row["frame_indices"][1][-4:]


def test_rows_past_an_epoch_go_on_in_the_next(folder, prepared, cache):
    longer = load_boundary_clips(folder, cache_dir=cache, seed=5, num_clips=30, **SMALL)
    assert rows(longer)[:24] == rows(prepared)
    assert longer["epoch"] == [0] * 24 + [1] * 6
    later = load_boundary_clips(folder, cache_dir=cache, seed=5, epoch=1, num_clips=6, **SMALL)
    assert rows(later) == rows(longer)[24:]


def test_regression_rows_hold_a_heatmap(folder, cache):
    clips = load_boundary_clips(
        folder, cache_dir=cache, task="regression-diff-speed", num_clips=3, streaming=True, **SMALL
    )
    for row in clips.with_format("numpy"):
        assert row["label"].dtype == np.float32 and row["label"].shape == (8,)
        assert np.flatnonzero(row["label"] == row["label"].max()).tolist() == [
            row["boundary_frame"] - 1,
            row["boundary_frame"],
        ]


def test_crop_may_be_oblong_and_settings_reach_the_clips(folder, cache):
    (row,) = load_boundary_clips(
        folder,
        cache_dir=cache,
        num_clips=1,
        crop_size=(16, 32),
        task="same-class",
        synthesis=SynthesisConfig(half_length=3, blend_half_width=0),
    ).with_format("numpy")
    assert row["frames"].shape == (6, 16, 32, 3)


# Streaming, processes, formats


def test_streaming_gives_the_prepared_rows(folder, prepared, cache):
    stream = load_boundary_clips(folder, cache_dir=cache, seed=5, streaming=True, **SMALL)
    assert isinstance(stream, datasets.IterableDataset)
    assert rows(stream) == rows(prepared)
    assert rows(stream.take(2)) == rows(prepared)[:2]


def test_number_of_processes_changes_nothing(folder, prepared, tmp_path):
    parallel = load_boundary_clips(folder, cache_dir=tmp_path, seed=5, num_proc=2, **SMALL)
    assert rows(parallel) == rows(prepared)


def test_torch_format_feeds_a_data_loader(folder, prepared, cache):
    loader = DataLoader(prepared.with_format("torch").select_columns(["frames", "label"]), batch_size=5)
    batches = list(loader)
    assert batches[0]["frames"].shape == (5, 8, 48, 48, 3)
    assert batches[0]["frames"].min() >= 0 and batches[0]["frames"].max() <= 255
    labels = torch.cat([batch["label"] for batch in batches])
    assert labels.tolist() == prepared["label"]

    stream = load_boundary_clips(folder, cache_dir=cache, seed=5, streaming=True, num_clips=30, **SMALL)
    stream = stream.with_format("torch").select_columns(["frames", "epoch", "index"])
    seen = {}
    for batch in DataLoader(stream, batch_size=4, num_workers=2):
        for frames, epoch, index in zip(batch["frames"], batch["epoch"], batch["index"], strict=True):
            seen[int(epoch), int(index)] = frames.numpy().tobytes()
    expected = load_boundary_clips(folder, cache_dir=cache, seed=5, num_clips=30, **SMALL)
    assert seen == {
        (row["epoch"], row["index"]): row["frames"].tobytes() for row in expected.with_format("numpy")
    }


# The cache


def test_prepared_rows_are_found_again_until_settings_or_files_change(tmp_path, monkeypatch):
    folder = render_classes(tmp_path / "clips", {"bend": (20, 21), "run": (22, 23)}, size=(48, 48))
    cache = tmp_path / "cache"

    def load(videos=folder, **changes):
        return load_boundary_clips(videos, cache_dir=cache, **{"num_clips": 2, **SMALL, **changes})

    first = rows(load())
    with monkeypatch.context() as patch:
        # Nothing is decoded or counted a second time.
        patch.setattr(PretextClips, "read", None)
        patch.setattr("bsp_hf.pretraining.sources._count_one", None)
        assert rows(load()) == first
    for number, changes in enumerate(
        (
            {"seed": 1},
            {"epoch": 1},
            {"num_clips": 3},
            {"task": "diff-speed"},
            {"crop_size": 32},
            {"short_side": 50},
            {"synthesis": SynthesisConfig(blend_half_width=2)},
        )
    ):
        load(**changes)
        assert len(prepared_folders(cache)) == number + 2, changes

    # The same files elsewhere are the same data.
    moved = folder.rename(tmp_path / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(PretextClips, "read", None)
        assert rows(load(moved)) == first
    num_prepared = len(prepared_folders(cache))
    os.utime(moved / "run" / "0.mp4", ns=(0, 10**18))
    load(moved)
    assert len(prepared_folders(cache)) == num_prepared + 1
    (moved / "run" / "0.mp4").rename(moved / "run" / "9.mp4")
    load(moved)
    assert len(prepared_folders(cache)) == num_prepared + 2


def test_only_the_frames_of_a_clip_are_decoded(folder, cache, monkeypatch):
    asked = []
    from bsp_hf.pretraining import frame_store

    read_frames = frame_store.read_frames
    monkeypatch.setattr(
        frame_store,
        "read_frames",
        lambda source, frames, index: asked.append(len(frames)) or read_frames(source, frames, index),
    )
    stream = load_boundary_clips(folder, cache_dir=cache, seed=5, streaming=True, num_clips=10, **SMALL)
    for row in stream:
        assert asked == [len(frames) for frames in row["frame_indices"]]
        asked.clear()


# Splits and other data sets


def test_split_takes_the_videos_of_that_part(tmp_path, cache):
    folder = tmp_path / "clips"
    for part in ("train", "test"):
        render_classes(folder / part, {"bend": (20, 21), "run": (22, 23)}, size=(48, 48))
    for part in ("train", "test"):
        clips = load_boundary_clips(folder, split=part, cache_dir=cache, **SMALL)
        assert str(clips.split) == part and len(clips) == 16
        labels = {name for names in clips["sources"] for name in names}
        assert labels == {"bend/0.mp4", "bend/1.mp4", "run/0.mp4", "run/1.mp4"}
    with pytest.raises(ValueError, match="split='val' must be"):
        load_boundary_clips(folder, split="val", cache_dir=cache, **SMALL)


def video_dataset(folder: Path, *, as_bytes: bool, with_class_label: bool = True) -> datasets.Dataset:
    sources = scan_video_folder(folder)
    names = sorted({source.label for source in sources})
    features = datasets.Features(
        {
            "clip": datasets.Video(decode=False),
            "label": datasets.ClassLabel(names=names) if with_class_label else datasets.Value("string"),
        }
    )
    cells = [
        {
            "path": None if as_bytes else str(source.path),
            "bytes": source.path.read_bytes() if as_bytes else None,
        }
        for source in sources
    ]
    labels = [names.index(s.label) if with_class_label else s.label for s in sources]
    return datasets.Dataset.from_dict({"clip": cells, "label": labels}, features=features)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_data_set_of_videos_gives_the_clips_of_its_files(folder, prepared, tmp_path, as_bytes):
    videos = video_dataset(folder, as_bytes=as_bytes, with_class_label=as_bytes)
    clips = load_boundary_clips(videos, cache_dir=tmp_path, seed=5, **SMALL)
    assert [row[:5] for row in rows(clips)] == [row[:5] for row in rows(prepared)]
    if as_bytes:
        assert {name for names in clips["sources"] for name in names} == {f"clip-{row}" for row in range(6)}
    else:
        assert clips["sources"] == prepared["sources"]


def test_stored_videos_are_prepared_in_several_processes_too(folder, prepared, tmp_path):
    videos = datasets.DatasetDict({"validation": video_dataset(folder, as_bytes=True)})
    clips = load_boundary_clips(videos, split="validation", cache_dir=tmp_path, seed=5, num_proc=2, **SMALL)
    assert [row[:5] for row in rows(clips)] == [row[:5] for row in rows(prepared)]
    with pytest.raises(ValueError, match=r"split=None is none of the data set's parts: validation"):
        load_boundary_clips(videos, cache_dir=tmp_path, **SMALL)


def test_video_folder_builder_of_datasets_is_understood(folder, prepared, tmp_path):
    videos = datasets.load_dataset(
        "videofolder", data_dir=str(folder), cache_dir=str(tmp_path), split="train"
    )
    sources = list_dataset_videos(videos)
    assert relative_names(sources) == [
        "bend/0.mp4",
        "bend/1.mp4",
        "run/0.mp4",
        "run/1.mp4",
        "wave/0.mp4",
        "wave/1.mp4",
    ]
    assert [source.label for source in sources] == ["bend", "bend", "run", "run", "wave", "wave"]


def test_shuffled_and_selected_rows_keep_their_videos(folder, tmp_path):
    videos = video_dataset(folder, as_bytes=True)
    shuffled = videos.shuffle(seed=3).select(range(4))
    for row, source in zip(shuffled, list_dataset_videos(shuffled), strict=True):
        assert source.origin.read() == row["clip"]["bytes"]
        assert source.label == videos.features["label"].int2str(row["label"])
    stamps = {source.stamp for source in [*list_dataset_videos(videos), *list_dataset_videos(shuffled)]}
    assert len(stamps) == 6  # those of the same video are the same


def test_hidden_labels_and_groups_are_understood():
    videos = datasets.Dataset.from_dict(
        {
            "video": [{"path": "a.mp4", "bytes": None}, {"path": "b.mp4", "bytes": b"1"}],
            "label": [-1, 0],
            "group": ["anna", None],
        },
        features=datasets.Features(
            {
                "video": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
                "label": datasets.ClassLabel(names=["run"]),
                "group": datasets.Value("string"),
            }
        ),
    )
    first, second = list_dataset_videos(videos)
    assert (first.label, first.group, first.origin) == ("", "anna", None)
    assert (second.label, second.group, second.origin.read()) == ("run", "row 1", b"1")


def test_unsuitable_data_sets_are_refused(folder, cache):
    videos = video_dataset(folder, as_bytes=False)
    with pytest.raises(TypeError, match="load it without streaming"):
        list_dataset_videos(videos.to_iterable_dataset())
    with pytest.raises(ValueError, match=r"0 columns hold videos .*\['label'\]"):
        list_dataset_videos(videos.select_columns(["label"]))
    with pytest.raises(ValueError, match="column 'label' holds no videos"):
        list_dataset_videos(videos, video_column="label")
    with pytest.raises(ValueError, match="no column 'action'"):
        list_dataset_videos(videos, label_column="action")
    with pytest.raises(ValueError, match="2 columns hold videos"):
        list_dataset_videos(videos.add_column("again", videos["clip"], feature=videos.features["clip"]))
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    empty = datasets.Dataset.from_dict(
        {"video": [{"path": None, "bytes": None}]}, features=datasets.Features({"video": cell})
    )
    with pytest.raises(ValueError, match="row 0 of the data set has neither"):
        list_dataset_videos(empty)
    with pytest.raises(ValueError, match="metadata belongs to a folder"):
        load_boundary_clips(videos, metadata="clips.csv", cache_dir=cache)
    with pytest.raises(ValueError, match="belong to a data set"):
        load_boundary_clips(folder, video_column="video", cache_dir=cache)
    for options in ({"num_clips": 0}, {"epoch": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            load_boundary_clips(folder, cache_dir=cache, **SMALL, **options)


def test_version_is_a_part_of_the_cache(folder, cache, monkeypatch):
    assert BoundaryClipsBuilder.VERSION == "1.0.0"
    load_boundary_clips(folder, cache_dir=cache, num_clips=1, **SMALL)
    monkeypatch.setattr(BoundaryClipsBuilder, "VERSION", datasets.Version("1.0.1"))
    load_boundary_clips(folder, cache_dir=cache, num_clips=1, **SMALL)
    versions = {path.name for path in (cache / "boundary_clips").glob("*/*") if path.is_dir()}
    assert versions == {"1.0.0", "1.0.1"}
