"""Localizers train on features in the layouts that other people publish, written here as they write them."""

import json

import h5py
import numpy as np
import pytest
import torch

from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.localization.training_arguments import load_task
from bsp_hf.training.command_line import parse_settings

DIM = 8
VIDEOS = ("v_a", "v_b", "v_c", "v_d", "v_e")  # the last two are evaluated on, and v_e has no features
TINY = {"num_steps": 16, "max_duration": 16, "hidden_dim": 16, "num_groups": 2, "group_width": 2}


def rows_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(100, DIM)).astype(np.float32)


def write_one_h5(path, rows):
    with h5py.File(path, "w") as file:
        for name, row in rows.items():
            file[name] = row


def write(layout, folder, rows):
    """Write features with none of this package's code; return what --features and --feature_layout get."""
    folder.mkdir(parents=True)
    if layout == "gtad":  # a file a video, the rows under the id
        for name, row in rows.items():
            write_one_h5(folder / f"{name}.h5", {name: row})
        return folder
    if layout in ("lgi", "actionformer", "opentad"):
        for name, row in rows.items():
            np.save(folder / f"{name}.npy", row)
        return folder
    if layout == "bmn":  # a header of column numbers
        header = ",".join(map(str, range(DIM)))
        for name, row in rows.items():
            np.savetxt(folder / f"{name}.csv", row, delimiter=",", header=header, comments="", fmt="%.9g")
        return folder
    path = folder / {"2dtan": "sub_activitynet_v1-3.c3d.hdf5", "tsp": "tsp-valid_features.h5"}[layout]
    write_one_h5(path, rows)
    return path


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    path = tmp_path_factory.mktemp("annotations") / "anet.json"
    database = {
        name: {
            "subset": "training" if number < 3 else "validation",
            "duration": 40.0,
            "annotations": [{"segment": [4.0 + number, 20.0], "label": "jump"}],
        }
        for number, name in enumerate(VIDEOS)
    }
    path.write_text(json.dumps({"database": database}))
    return path


def load(annotations, features, layout, *more, config=TINY):
    words = ["--localizer", "gtad", "--annotations", annotations, "--train_subset", "training"]
    words += ["--eval_subset", "validation", "--features", *features, "--feature_layout", layout]
    words += ["--output_dir", "out", "--config", json.dumps(config), *more]
    return load_task(parse_settings(LocalizerTrainingSettings, [str(word) for word in words]))


@pytest.mark.parametrize("layout", ["gtad", "2dtan", "lgi", "actionformer", "tsp", "bmn", "opentad"])
def test_features_of_others_train_a_localizer_and_missing_videos_are_listed(
    annotations, tmp_path, caplog, layout
):
    rows = {name: rows_of(number) for number, name in enumerate(VIDEOS[:4])}
    task = load(annotations, [write(layout, tmp_path / "features", rows)], layout)
    assert task.config.feature_dim == DIM and task.config.encoder is None
    np.testing.assert_allclose(task.features.read("v_b").features, rows["v_b"], rtol=1e-6)
    assert task.split.coverage == "1 of 2 videos" and task.split.missing_evaluation == ("v_e",)
    assert "1 of 2 evaluation videos have no features: v_e" in caplog.text
    batch = task.collate([task.train_samples[index] for index in range(3)])
    batch.pop("indices")
    assert batch["features"].shape[:1] == (3,) and torch.isfinite(task.make_model()(**batch).loss)


@pytest.mark.parametrize("joined", [True, False], ids=["a,b", "a b"])
def test_folders_of_gtad_with_commas_are_two_streams(annotations, tmp_path, joined):
    streams = [
        {name: rows_of(number + 10 * stream) for number, name in enumerate(VIDEOS[:4])} for stream in (0, 1)
    ]
    folders = [write("gtad", tmp_path / name, rows) for name, rows in zip("ab", streams, strict=True)]
    task = load(annotations, [",".join(map(str, folders))] if joined else folders, "gtad")
    expected = np.concatenate([rows["v_a"] for rows in streams], axis=1)
    np.testing.assert_array_equal(task.features.read("v_a").features, expected)
    assert task.config.feature_dim == 2 * DIM


def test_rows_that_cannot_cover_the_video_at_the_assumed_rate_are_noticed(annotations, tmp_path, caplog):
    rows = {name: rows_of(number) for number, name in enumerate(VIDEOS)}
    features = write("opentad", tmp_path / "features", rows)
    windows = {"num_steps": 128, "max_duration": 128, "hidden_dim": 16, "num_groups": 2, "group_width": 2}
    task = load(annotations, [features], "opentad", "--preset", "thumos14", config=windows)
    assumed = ", assuming 30 frames per second of 2 videos, 5 frames from row to row"
    assert task.coverage == "2 of 2 videos, 2 segments" + assumed
    # 100 rows of 5 frames at 30 a second.
    assert "v_a (16.7 s of features, annotated 40.0 s)" in caplog.text and "--stride_frames" in caplog.text
    caplog.clear()
    load(annotations, [features], "opentad", "--preset", "thumos14", "--stride_frames", "12", config=windows)
    assert "of features" not in caplog.text
