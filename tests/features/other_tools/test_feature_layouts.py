"""Exports read back by readers written from the layouts alone, and foreign files read by ours."""

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
import torch
from support.made_tracks import ENCODER, OTHER, make_track

from bsp_hf.features import (
    LAYOUTS,
    EncoderMismatchError,
    FeatureFileError,
    FeatureTrack,
    MissingFeaturesError,
    export_tracks,
    find_missing_videos,
    read_foreign_features,
    rescale,
)

# What each tool's loader does with its files, in a few words of our own. None of these uses the package.


def load_like_actionformer(feat_folder, file_prefix, video_id, file_ext=".npy"):
    """(T, C), from one file if its name holds .hdf5, else from a folder."""
    feat_folder = str(feat_folder)
    if ".hdf5" in feat_folder:
        with h5py.File(feat_folder, "r") as file:
            return np.asarray(file[file_prefix + video_id][()], dtype=np.float32)
    return np.load(f"{feat_folder}/{file_prefix}{video_id}{file_ext}").astype(np.float32)


def actionformer_second(row, settings):
    """Its grid, turned around: row = (t * fps - num_frames / 2) / feat_stride."""
    return (row * settings["feat_stride"] + 0.5 * settings["num_frames"]) / settings["default_fps"]


def load_like_opentad(data_path, feat_format, prefix, video_id):
    path = f"{data_path}/{prefix}{video_id}.{feat_format}"
    if feat_format == "npy":
        return np.load(path).astype(np.float32)
    if feat_format == "npz":
        return np.load(path)["feats"].astype(np.float32)
    if feat_format == "pt":
        return torch.load(path).float().numpy()
    return pandas.read_csv(path, dtype="float32").to_numpy()


def load_like_gtad_activitynet(feature_path, video_name, temporal_scale=100):
    """(C, temporal_scale): a folder is told by its last slash, and several are joined by commas."""
    assert feature_path.endswith("/")
    streams = []
    for folder in feature_path.split(","):
        with h5py.File(f"{folder}{video_name}.h5", "r") as file:
            streams.append(file[video_name][:])
    channels_first = torch.Tensor(np.concatenate(streams, axis=1)).transpose(0, 1)
    return torch.nn.functional.interpolate(
        channels_first[None], size=temporal_scale, mode="linear", align_corners=False
    )[0].numpy()


def load_like_gtad_thumos(feature_path, video_name, skip_videoframes=5):
    """(T, C) of flow and rgb, every fifth frame; all four files are opened."""
    files = {
        f"{stream}_{subset}": h5py.File(f"{feature_path}/{stream}_{subset}.h5", "r")
        for stream in ("flow", "rgb")
        for subset in ("val", "test")
    }
    subset = "val" if "val" in video_name else "test"
    streams = [files[f"{stream}_{subset}"][video_name][::skip_videoframes, ...] for stream in ("flow", "rgb")]
    shortest = min(len(stream) for stream in streams)
    return np.concatenate([stream[:shortest] for stream in streams], axis=1)


def load_like_2dtan(settings, video_id):
    """Its three classes; each first reads annotations of fixed names in the same folder."""
    data_dir, input_type = settings["DATA_DIR"], settings["DATASET.VIS_INPUT_TYPE"]
    if settings["DATASET.NAME"] == "Charades":
        for name in ("Charades_v1_train.csv", "charades_sta_train.txt"):
            assert Path(data_dir, name).is_file()
        with h5py.File(f"{data_dir}/{input_type}_features.hdf5", "r") as file:
            return file[video_id][:]
    assert Path(data_dir, "train.json").is_file()
    assert input_type == "c3d"
    if settings["DATASET.NAME"] == "ActivityNet":
        with h5py.File(f"{data_dir}/sub_activitynet_v1-3.c3d.hdf5", "r") as file:
            return file[video_id]["c3d_features"][:]
    with h5py.File(f"{data_dir}/tall_c3d_features.hdf5", "r") as file:
        return file[video_id][:]


def load_like_lgi(video_feature_path, video_id):
    return np.load(video_feature_path.format(video_id)).squeeze()


def load_like_mmaction2_bmn(data_root, video_name):
    """(C, 100)."""
    path = f"{data_root}{video_name}.csv"
    return np.loadtxt(path, dtype=np.float32, delimiter=",", skiprows=1).transpose()


def load_like_bmn(feature_path, temporal_scale, video_name):
    """(100, C): the folder's name holds the number of rows, and the two are put one behind the other."""
    return pandas.read_csv(f"{feature_path}csv_mean_{temporal_scale}/{video_name}.csv").values[:, :]


def resize_like_opentad(feats, gt_segments_s, duration_s, resize_length):
    """What its step ResizeFeat makes of rows (T, C) and seconds."""
    channels_first = torch.from_numpy(feats).permute(1, 0)
    resized = torch.nn.functional.interpolate(channels_first[None], size=resize_length, mode="linear")[0]
    segments = (np.asarray(gt_segments_s) / duration_s).clip(0, 1) * resize_length
    return resized.permute(1, 0).numpy(), segments


def configuration(report):
    """The lines of a report as numbers and names."""
    pairs = (line.split(": ", 1) for line in report.configuration() if ": " in line)
    return {name.removeprefix("dataset."): value for name, value in pairs}


def plain(video_id="v_one", num_snippets=12, dim=6, **changes):
    track = make_track(video_id, num_snippets, dim, **changes)
    features = np.random.default_rng(num_snippets).standard_normal((num_snippets, dim)).astype(np.float32)
    return FeatureTrack(features, track.centers_s, track.record)


class TestActionFormer:
    def test_folder_of_npy(self, tmp_path):
        tracks = [plain("a", 12), plain("b", 1)]
        report = export_tracks(tracks, "actionformer", tmp_path / "out", prefix="v_")
        settings = configuration(report)
        assert settings["file_ext"] == ".npy"
        for track in tracks:
            loaded = load_like_actionformer(
                settings["feat_folder"], settings["file_prefix"], track.record.video_id, settings["file_ext"]
            )
            np.testing.assert_array_equal(loaded, track.features)
        assert settings["input_dim"] == "6"

    @pytest.mark.parametrize("output", ["out", "out/anet.hdf5"])
    def test_single_hdf5(self, tmp_path, output):
        tracks = [plain("a", 12), plain("b", 1)]
        report = export_tracks(tracks, "actionformer", tmp_path / output, file_format="hdf5", prefix="v_")
        settings = configuration(report)
        assert settings["feat_folder"].endswith(".hdf5")
        assert settings["dataset_name"] == "anet"  # no other class of its reads hdf5
        assert "for the others export npy" in str(report)
        for track in tracks:
            loaded = load_like_actionformer(settings["feat_folder"], "v_", track.record.video_id)
            np.testing.assert_array_equal(loaded, track.features)

    @pytest.mark.parametrize(("snippet_frames", "stride_frames"), [(8, 8), (16, 4), (7, 9)])
    def test_its_grid_gives_our_centre_times(self, tmp_path, snippet_frames, stride_frames):
        track = plain(snippet_frames=snippet_frames, stride_frames=stride_frames, fps=29.97)
        report = export_tracks([track], "actionformer", tmp_path)
        settings = {
            name: float(configuration(report)[name]) for name in ("feat_stride", "num_frames", "default_fps")
        }
        np.testing.assert_allclose(actionformer_second(np.arange(12), settings), track.centers_s)

    def test_rescaled_rows_are_spread_over_the_duration(self, tmp_path):
        track = rescale(plain(num_snippets=50), 20)
        settings = configuration(export_tracks([track], "actionformer", tmp_path))
        assert float(settings["feat_stride"]) <= 0
        # Its rule for a fixed number of rows: the duration gives the stride, num_frames counts in strides.
        stride = track.record.duration_s * track.record.fps / 20
        second = (np.arange(20) * stride + 0.5 * float(settings["num_frames"]) * stride) / track.record.fps
        np.testing.assert_allclose(second, track.centers_s)

    def test_frame_rates_that_differ_are_not_averaged(self, tmp_path):
        report = export_tracks([plain("a", fps=25.0), plain("b", fps=30.0)], "actionformer", tmp_path)
        assert configuration(report)["default_fps"].startswith("null")
        assert report.settings.fps is None
        assert "fps=several" in str(report)


class TestOpenTAD:
    @pytest.mark.parametrize("file_format", ["npy", "npz", "pt", "csv"])
    def test_every_format(self, tmp_path, file_format):
        tracks = [plain("a", 12), plain("b", 1)]
        report = export_tracks(tracks, "opentad", tmp_path, file_format=file_format, prefix="v_")
        for track in tracks:
            loaded = load_like_opentad(tmp_path, file_format, "v_", track.record.video_id)
            assert loaded.dtype == np.float32
            np.testing.assert_array_equal(loaded, track.features)
        assert f'feat_format="{file_format}", prefix="v_"' in str(report)

    def test_settings_place_the_rows(self, tmp_path):
        report = export_tracks([plain(fps=15.0, snippet_frames=16, stride_frames=4)], "opentad", tmp_path)
        lines = report.configuration()
        assert "feature_stride=4, sample_stride=1" in lines
        assert "offset_frames=8" in lines
        assert "fps=15.0" in lines
        seconds = (np.arange(12) * 4 + 8) / 15.0
        np.testing.assert_allclose(seconds, plain(fps=15.0, snippet_frames=16, stride_frames=4).centers_s)

    def test_rescaled_rows_load_with_the_settings_as_printed(self, tmp_path):
        track = rescale(plain(num_snippets=50), 20)
        report = export_tracks([track], "opentad", tmp_path, prefix="v_")
        printed = " ".join(report.configuration())
        (length,) = re.findall(r"resize_length=(\d+)", printed)
        assert (
            'type="AnetResizeDataset"' in printed and 'dict(type="ResizeFeat", tool="interpolate")' in printed
        )
        feats = load_like_opentad(tmp_path, "npy", "v_", "v_one")
        second = track.record.duration_s / 4
        rows, segments = resize_like_opentad(
            feats, [[second, 2 * second]], track.record.duration_s, int(length)
        )
        np.testing.assert_allclose(rows, track.features, atol=1e-6)
        np.testing.assert_allclose(segments, [[5, 10]])
        with pytest.raises(ValueError, match="v_two has num_rows 30, the tracks before it 20"):
            export_tracks([track, rescale(plain("v_two", 50), 30)], "opentad", tmp_path / "more")

    def test_half_frames_that_it_cuts_off_are_mentioned(self, tmp_path):
        report = export_tracks([plain(snippet_frames=7, stride_frames=7)], "opentad", tmp_path)
        assert "offset_frames=3" in report.configuration()
        assert "3.5" in report.notes()[0]


class TestGTAD:
    def test_activitynet_reads_a_file_for_each_video(self, tmp_path):
        tracks = [plain("v_a", 37), plain("v_b", 100), plain("v_c", 1)]
        report = export_tracks(tracks, "gtad", tmp_path / "rgb")
        feature_path = report.configuration()[0].split()[1]
        for track in tracks:
            loaded = load_like_gtad_activitynet(feature_path, track.record.video_id)
            np.testing.assert_allclose(loaded.T, rescale(track, 100).features, atol=1e-6)

    def test_two_streams_are_joined_by_its_own_loader(self, tmp_path):
        first, second = plain("v_a", 40), plain("v_a", 40, dim=3, encoder=OTHER)
        for track, name in ((first, "bsp"), (second, "vanilla")):
            export_tracks([track], "gtad", tmp_path / name)
        loaded = load_like_gtad_activitynet(f"{tmp_path}/bsp/,{tmp_path}/vanilla/", "v_a")
        np.testing.assert_allclose(loaded[:6].T, rescale(first, 100).features, atol=1e-6)
        np.testing.assert_allclose(loaded[6:].T, rescale(second, 100).features, atol=1e-6)

    def test_annotation_times_are_written_beside(self, tmp_path):
        track = plain("v_a", 12, duration_s=4.0, num_frames=100)
        export_tracks([track], "gtad", tmp_path)
        timing = json.loads((tmp_path / "video_timing.json").read_text())
        assert timing == {"v_a": {"duration_second": 4.0, "duration_frame": 100, "feature_frame": 96}}
        # SPEC 4.6: corrected duration; 100 rows over it lie where the rescaled rows lie.
        corrected_s = 96 / 100 * 4.0
        np.testing.assert_allclose(
            (np.arange(100) + 0.5) / 100 * corrected_s, rescale(track, 100).centers_s, atol=0.17
        )
        inner = slice(5, 95)
        np.testing.assert_allclose(
            ((np.arange(100) + 0.5) / 100 * corrected_s)[inner], rescale(track, 100).centers_s[inner]
        )

    def test_overlapping_windows_are_mentioned(self, tmp_path):
        report = export_tracks([plain(snippet_frames=16, stride_frames=8)], "gtad", tmp_path)
        assert any("4 frames behind its start" in note and "8 frames" in note for note in report.notes())

    def test_thumos_reads_one_row_for_each_frame(self, tmp_path):
        tracks = [plain("video_validation_0000051", 30), plain("video_test_0000004", 20)]
        report = export_tracks(tracks, "gtad-thumos", tmp_path)
        for track in tracks:
            loaded = load_like_gtad_thumos(tmp_path, track.record.video_id)
            assert loaded.shape == (np.ceil(track.record.num_frames / 5), 6)
            seconds = np.arange(len(loaded)) * 5 / 25.0
            expected = np.stack(
                [np.interp(seconds, track.centers_s, column) for column in track.features.T], axis=1
            )
            np.testing.assert_allclose(loaded, expected, atol=1e-6)
        assert report.settings.offset_frames == 0

    def test_thumos_counts_in_the_frames_of_its_annotations(self, tmp_path):
        track = plain("video_test_0000004", 20, fps=10.0)  # 16 s, resampled to 10 a second
        export_tracks([track], "gtad-thumos", tmp_path, annotation_fps=30.0)
        with h5py.File(tmp_path / "rgb_test.h5") as file:
            assert file["video_test_0000004"].shape == (480, 6)

    def test_thumos_names_the_videos_it_has_no_file_for(self, tmp_path):
        report = export_tracks([plain("video_test_1"), plain("other")], "gtad-thumos", tmp_path)
        assert [video.video_id for video in report.left_out] == ["other"]


class TestGrounding:
    @pytest.mark.parametrize(
        ("layout", "annotations"),
        [
            ("2dtan", ["Charades_v1_train.csv", "charades_sta_train.txt"]),
            ("2dtan-activitynet", ["train.json"]),
            ("2dtan-tacos", ["train.json"]),
        ],
    )
    def test_every_class_of_2dtan_reads_the_file_of_its_name(self, tmp_path, layout, annotations):
        tracks = [plain("3MSZA", 12), plain("7UPGT", 1)]
        report = export_tracks(tracks, layout, tmp_path, feature_type="bsp_r18", prefix="v_")
        settings = configuration(report)
        (note,) = [note for note in report.notes() if "annotations" in note]
        assert str(tmp_path) in note and annotations[0].partition("train")[0] in note
        for name in annotations:  # as the note says
            (tmp_path / name).touch()
        for track in tracks:
            loaded = load_like_2dtan(settings, f"v_{track.record.video_id}")
            np.testing.assert_array_equal(loaded, track.features)
        assert settings["TAN.FRAME_MODULE.PARAMS.INPUT_SIZE"] == "6"

    @pytest.mark.parametrize("num_snippets", [12, 2, 1])
    def test_lgi_reads_two_axes_even_of_one_row(self, tmp_path, num_snippets):
        track = plain("3MSZA", num_snippets)
        report = export_tracks([track], "lgi", tmp_path)
        loaded = load_like_lgi(configuration(report)["train_loader.video_feature_path"].strip('"'), "3MSZA")
        assert loaded.ndim == 2
        if num_snippets == 1:
            np.testing.assert_allclose(loaded, np.repeat(track.features, 2, axis=0), rtol=1e-6)
        else:
            np.testing.assert_array_equal(loaded, track.features)


class TestOthers:
    def test_bmn_reads_a_hundred_rows_behind_one_header_line(self, tmp_path):
        tracks = [plain("v_a", 37), plain("v_b", 100)]
        report = export_tracks(tracks, "bmn", tmp_path)
        own, mmaction2 = report.configuration()[:2]
        for track in tracks:
            loaded = load_like_mmaction2_bmn(mmaction2.split()[1], track.record.video_id)
            assert loaded.shape == (6, 100)
            np.testing.assert_array_equal(loaded.T, rescale(track, 100).features)
            words = own.split()
            assert words[0] == "--feature_path" and words[4] == "--temporal_scale"
            loaded = load_like_bmn(words[1], words[5], track.record.video_id)
            np.testing.assert_allclose(loaded, rescale(track, 100).features, rtol=1e-6)
            with (tmp_path / "csv_mean_100" / f"{track.record.video_id}.csv").open() as file:
                lines = list(csv.reader(file))
            assert len(lines) == 101
            assert len(lines[0]) == 6
        assert "temporal_dim: 100" in report.configuration()
        assert report.settings.feat_stride is None

    def test_tsp_keeps_a_file_for_each_subset(self, tmp_path):
        tracks = [plain("a", 3), plain("b", 4), plain("c", 5)]
        subsets = {"a": "train", "b": "valid"}
        report = export_tracks(
            tracks, "tsp", tmp_path, prefix="v_", feature_type="bsp_on_kinetics", subsets=subsets
        )
        with h5py.File(tmp_path / "bsp_on_kinetics-train_features.h5") as file:
            np.testing.assert_array_equal(file["v_a"][()], tracks[0].features)
            assert "v_b" not in file
        with h5py.File(tmp_path / "bsp_on_kinetics-valid_features.h5") as file:
            np.testing.assert_array_equal(file["v_b"][()], tracks[1].features)
        assert [video.video_id for video in report.left_out] == ["c"]

    def test_tsp_without_subsets_is_one_file(self, tmp_path):
        export_tracks([plain("a", 3)], "tsp", tmp_path)
        with h5py.File(tmp_path / "bsp_features.h5") as file:
            assert file["a"].shape == (3, 6)


WRITTEN = [
    ("actionformer", "npy"),
    ("actionformer", "hdf5"),
    ("opentad", "npy"),
    ("opentad", "npz"),
    ("opentad", "pt"),
    ("opentad", "csv"),
    ("gtad", "h5"),
    ("gtad-thumos", "h5"),
    ("2dtan", "hdf5"),
    ("2dtan-activitynet", "hdf5"),
    ("2dtan-tacos", "hdf5"),
    ("lgi", "npy"),
    ("bmn", "csv"),
    ("tsp", "h5"),
]


# The file of all videos, where a layout has one.
ONE_FILE = {
    "2dtan": "bsp_features.hdf5",
    "2dtan-activitynet": "sub_activitynet_v1-3.c3d.hdf5",
    "2dtan-tacos": "tall_c3d_features.hdf5",
    "tsp": "bsp_features.h5",
}


class TestEveryLayout:
    def test_all_that_can_be_written_are_tried_here(self):
        assert [
            (layout.name, name) for layout in LAYOUTS.values() for name in layout.export_formats
        ] == WRITTEN

    @pytest.mark.parametrize(("layout", "file_format"), WRITTEN)
    def test_our_reader_brings_rows_and_record_back(self, tmp_path, layout, file_format):
        track = plain("video_test_1", 12)
        report = export_tracks([track], layout, tmp_path, file_format=file_format, prefix="v_")
        place = tmp_path / ONE_FILE[layout] if layout in ONE_FILE else report.place
        found = read_foreign_features(
            place, layout, "video_test_1", prefix="v_", file_format=file_format, dim=6
        )
        if layout == "bmn":
            np.testing.assert_array_equal(found.features, rescale(track, 100).features)
        elif layout != "gtad-thumos":
            np.testing.assert_array_equal(found.features, track.features)
        assert found.features.dtype == np.float32
        assert found.features.flags.c_contiguous
        assert found.record.video_id == "video_test_1"
        assert found.record.encoder == ENCODER
        assert found.record.fps == 25.0
        assert find_missing_videos(
            place, layout, ["video_test_1", "video_test_2"], prefix="v_", file_format=file_format
        ) == ("video_test_2",)
        with pytest.raises(MissingFeaturesError, match="video_test_2"):
            read_foreign_features(place, layout, "video_test_2", prefix="v_", file_format=file_format)

    @pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "crosstask"])
    def test_report_prints_what_the_localizer_must_be_told(self, tmp_path, layout):
        text = str(export_tracks([plain("video_test_1")], layout, tmp_path))
        for name in ("feat_stride=", "num_frames=8", "offset_frames=", "fps=25.0", "input_dim=6"):
            assert name in text
        assert str(tmp_path) in text

    @pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "crosstask"])
    def test_no_video_leads_out_of_its_folder(self, tmp_path, layout):
        (tmp_path / "in").mkdir()
        for suffix in (".npy", ".h5", ".csv"):
            (tmp_path / f"secret{suffix}").write_bytes(b"x")
        place = tmp_path / "in" if layout not in ONE_FILE else tmp_path / "in.h5"
        if layout in ONE_FILE:
            with h5py.File(place, "w"):
                pass
        with pytest.raises((ValueError, MissingFeaturesError)) as caught:
            read_foreign_features(place, layout, "../secret_test")
        assert "cannot be a video id" in str(caught.value) or layout == "gtad-thumos"


class TestWhatIsLeftOut:
    def test_incomplete_tracks_are_named_with_their_reason(self, tmp_path, caplog):
        partial = plain("v_part", complete=False, error="the file ends at 1.2 s")
        report = export_tracks([plain(), partial, make_track("v_none", 0, 6)], "actionformer", tmp_path)
        assert report.video_ids == ("v_one",)
        assert [video.video_id for video in report.left_out] == ["v_part", "v_none"]
        assert "ends at 1.2 s" in report.left_out[0].reason
        assert "v_part" in str(report)
        assert "v_part" in caplog.text
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == [".bsp_hf_export.json", "v_one.npy", "v_one.npy.json"]

    @pytest.mark.parametrize("layout", ["actionformer", "opentad", "gtad", "2dtan", "lgi", "bmn", "tsp"])
    def test_rows_off_the_grid_are_not_passed_off_as_regular(self, tmp_path, layout):
        track = plain()
        late = FeatureTrack(track.features, track.centers_s + 5.0, replace(track.record, video_id="late"))
        slowing = FeatureTrack(
            track.features, track.centers_s * np.linspace(1, 1.5, 12), replace(track.record, video_id="vfr")
        )
        report = export_tracks([track, late, slowing], layout, tmp_path)
        assert [video.video_id for video in report.left_out] == ["late", "vfr"]
        assert "row 0 is centred at 5.160 s" in report.left_out[0].reason

    def test_last_window_that_was_not_full_is_no_reason(self, tmp_path):
        track = plain()
        centers_s = track.centers_s.copy()
        centers_s[-1] -= 3.5 / 25  # one real frame of eight
        padded = FeatureTrack(track.features, centers_s, track.record)
        assert export_tracks([padded], "actionformer", tmp_path).left_out == ()

    def test_video_shorter_than_one_overlapping_window_is_no_reason(self, tmp_path):
        track = plain(num_snippets=1, snippet_frames=16, stride_frames=4)
        single_frame = FeatureTrack(track.features, [0.5 / 25], track.record)
        assert export_tracks([single_frame], "actionformer", tmp_path).left_out == ()

    def test_frame_times_that_tremble_are_no_reason(self, tmp_path):
        track = plain()
        trembling = track.centers_s + np.random.default_rng(0).uniform(-0.05, 0.05, 12)
        assert export_tracks(
            [FeatureTrack(track.features, trembling, track.record)], "opentad", tmp_path
        ).video_ids

    @pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "crosstask"])
    def test_nothing_to_export_is_an_error_and_leaves_no_file(self, tmp_path, layout):
        with pytest.raises(ValueError, match=r"nothing was exported: v_test: .*ends early"):
            export_tracks([plain("v_test", complete=False, error="ends early")], layout, tmp_path / "out")
        with pytest.raises(ValueError, match="no track"):
            export_tracks([], layout, tmp_path / "out")
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def evenly(track):
    """Where a loader that knows no times puts the rows of a video: spread over its duration."""
    return (np.arange(track.num_snippets) + 0.5) / track.num_snippets * track.record.duration_s


class TestRowsThatAreSpreadOverTheVideo:
    """Loaders that know no times spread the rows over the duration, also if the last snippet was padded."""

    @pytest.mark.parametrize(
        ("layout", "change"),
        [
            ("lgi", lambda track: track),
            ("2dtan", lambda track: track),
            ("2dtan-activitynet", lambda track: track),
            ("2dtan-tacos", lambda track: track),
            ("actionformer", lambda track: rescale(track, 20)),
            ("opentad", lambda track: rescale(track, 20)),
        ],
    )
    def test_rows_are_put_where_the_loader_takes_them_to_be(self, tmp_path, layout, change):
        track = plain(num_snippets=13, num_frames=98, duration_s=98 / 25)  # of the last snippet two frames
        centers_s = track.centers_s.copy()
        centers_s[-1] = 97 / 25
        track = change(FeatureTrack(track.features, centers_s, track.record))
        assert np.abs(track.centers_s - evenly(track)).max() > 0.1
        report = export_tracks([track], layout, tmp_path, feature_type="bsp")
        place = tmp_path / ONE_FILE[layout] if layout in ONE_FILE else report.place
        found = read_foreign_features(place, layout, "v_one")
        expected = [np.interp(evenly(track), track.centers_s, column) for column in track.features.T]
        np.testing.assert_allclose(found.features.T, expected, rtol=1e-5, atol=1e-6)
        assert any("1 video" in note and "spread evenly" in note for note in report.notes())

    @pytest.mark.parametrize("layout", ["lgi", "2dtan"])
    def test_overlapping_windows_are_put_there_too(self, tmp_path, layout):
        track = plain(snippet_frames=16, stride_frames=4)
        report = export_tracks([track], layout, tmp_path)
        place = tmp_path / ONE_FILE[layout] if layout in ONE_FILE else report.place
        found = read_foreign_features(place, layout, "v_one")
        expected = [np.interp(evenly(track), track.centers_s, column) for column in track.features.T]
        np.testing.assert_allclose(found.features.T, expected, rtol=1e-5, atol=1e-6)
        assert not any("frames behind its start" in note for note in report.notes())

    @pytest.mark.parametrize("layout", ["gtad", "bmn"])
    def test_padded_rows_are_timed_by_the_annotations_where_a_loader_takes_that(self, tmp_path, layout):
        track = plain(num_snippets=13, num_frames=98, duration_s=98 / 25)
        export_tracks([track], layout, tmp_path)
        timing = json.loads((tmp_path / "video_timing.json").read_text())["v_one"]
        # SPEC 4.6: what the rows cover, which here is more than the video.
        covered_s = timing["feature_frame"] / timing["duration_frame"] * timing["duration_second"]
        np.testing.assert_allclose((np.arange(13) + 0.5) / 13 * covered_s, track.centers_s)


class TestWhatIsRefused:
    def test_unknown_layouts_and_formats(self, tmp_path):
        with pytest.raises(ValueError, match=r"'detr' is unknown.*actionformer"):
            export_tracks([plain()], "detr", tmp_path)
        with pytest.raises(ValueError, match="'lgi' cannot be written as 'csv': choose npy"):
            export_tracks([plain()], "lgi", tmp_path, file_format="csv")
        with pytest.raises(ValueError, match="only read"):
            export_tracks([plain()], "crosstask", tmp_path)
        with pytest.raises(ValueError, match="pickle could run code"):
            read_foreign_features(tmp_path, "opentad", "v", file_format="pkl")
        with pytest.raises(ValueError, match="annotation_fps"):
            export_tracks([plain()], "gtad-thumos", tmp_path, annotation_fps=0.0)

    def test_one_export_holds_one_encoder_and_one_grid(self, tmp_path):
        with pytest.raises(EncoderMismatchError, match="v_two"):
            export_tracks([plain(), plain("v_two", encoder=OTHER)], "opentad", tmp_path)
        with pytest.raises(ValueError, match="v_two has feat_stride 4"):
            export_tracks([plain(), plain("v_two", stride_frames=4)], "opentad", tmp_path)
        with pytest.raises(ValueError, match="v_two has input_dim 3"):
            export_tracks([plain(), plain("v_two", dim=3)], "opentad", tmp_path)
        with pytest.raises(ValueError, match="two tracks of 'v_one'"):
            export_tracks([plain(), plain()], "opentad", tmp_path)

    @pytest.mark.parametrize("feature_type", ["../x", "/x", ""])
    def test_feature_type_cannot_lead_out_of_the_folder(self, tmp_path, feature_type):
        if feature_type:
            with pytest.raises(ValueError, match="cannot be"):
                export_tracks([plain()], "2dtan", tmp_path, feature_type=feature_type)
        else:
            export_tracks([plain()], "2dtan", tmp_path, feature_type=feature_type)
            assert (tmp_path / "_features.hdf5").is_file()

    def test_missing_h5py_names_the_extra(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "h5py", None)
        for layout in ("gtad", "2dtan", "tsp"):
            with pytest.raises(ImportError, match=r"pip install .*\[h5\]"):
                export_tracks([plain()], layout, tmp_path)
        export_tracks([plain()], "lgi", tmp_path)


class TestForeignFiles:
    """Files as other people publish them."""

    def test_i3d_arrays_with_axes_of_one(self, tmp_path):
        rows = np.arange(12, dtype=np.float64).reshape(3, 4)
        for name, shape in (("a", (3, 1, 1, 4)), ("b", (1, 3, 4)), ("c", (3, 4))):
            np.save(tmp_path / f"{name}.npy", rows.reshape(shape))
            features, record = read_foreign_features(tmp_path, "lgi", name)
            np.testing.assert_array_equal(features, rows)
            assert features.dtype == np.float32
            assert record is None
        np.save(tmp_path / "one.npy", rows[:1].reshape(1, 1, 1, 4))
        assert read_foreign_features(tmp_path, "lgi", "one").features.shape == (1, 4)

    def test_float16_rows_become_float32(self, tmp_path):
        torch.save(torch.ones(2, 3, dtype=torch.bfloat16), tmp_path / "v.pt")
        np.savez(tmp_path / "v.npz", feats=np.ones((2, 3), dtype=np.float16))
        for file_format in ("pt", "npz"):
            found = read_foreign_features(tmp_path, "opentad", "v", file_format=file_format)
            assert found.features.dtype == np.float32
            assert (found.features == 1).all()

    def test_csv_as_pandas_writes_it(self, tmp_path):
        frame = pandas.DataFrame(np.arange(6.0).reshape(3, 2))
        frame.to_csv(tmp_path / "v.csv", index=False)
        for layout in ("bmn", "opentad"):
            found = read_foreign_features(tmp_path, layout, "v", file_format="csv")
            np.testing.assert_array_equal(found.features, frame.to_numpy())

    def test_tsp_file_with_compressed_chunks(self, tmp_path):
        with h5py.File(tmp_path / "tsp-train_features.h5", "w") as file:
            file.create_dataset("v_a", data=np.ones((3, 512)), chunks=True, compression="gzip")
        found = read_foreign_features(tmp_path / "tsp-train_features.h5", "tsp", "a", prefix="v_", dim=512)
        assert found.features.shape == (3, 512)

    def test_2dtan_file_that_keeps_rows_inside_a_group(self, tmp_path):
        path = tmp_path / "sub_activitynet_v1-3.c3d.hdf5"
        with h5py.File(path, "w") as file:
            file["v_a/c3d_features"] = np.ones((3, 500))
            file["v_b/x"], file["v_b/y"] = np.ones((3, 5)), np.ones((3, 5))
        assert read_foreign_features(path, "2dtan", "v_a").features.shape == (3, 500)
        assert find_missing_videos(path, "2dtan", ["v_a", "v_none"]) == ("v_none",)
        with pytest.raises(MissingFeaturesError):
            read_foreign_features(path, "2dtan", "v_b")

    def test_gtad_single_file_and_folder(self, tmp_path):
        rows = np.ones((5, 4), dtype=np.float32)
        (tmp_path / "f").mkdir()
        for path in (tmp_path / "all.h5", tmp_path / "f" / "v_a.h5"):
            with h5py.File(path, "w") as file:
                file["v_a"] = rows
        for path in (tmp_path / "all.h5", tmp_path / "f"):
            np.testing.assert_array_equal(read_foreign_features(path, "gtad", "v_a").features, rows)

    def test_thumos_streams_of_unequal_length(self, tmp_path):
        with h5py.File(tmp_path / "rgb_val.h5", "w") as file:
            file["video_validation_1"] = np.arange(33.0)[:, None]
        alone = read_foreign_features(tmp_path, "gtad-thumos", "video_validation_1")
        np.testing.assert_array_equal(alone.features[:, 0], [0, 5, 10, 15, 20, 25, 30])
        with h5py.File(tmp_path / "flow_val.h5", "w") as file:
            file["video_validation_1"] = -np.arange(27.0)[:, None]
        both = read_foreign_features(tmp_path, "gtad-thumos", "video_validation_1")
        np.testing.assert_array_equal(both.features, [[-i, i] for i in (0, 5, 10, 15, 20, 25)])
        with pytest.raises(ValueError, match="neither 'val' nor 'test'"):
            read_foreign_features(tmp_path, "gtad-thumos", "x")
        assert find_missing_videos(
            tmp_path, "gtad-thumos", ["video_validation_1", "video_validation_2", "x"]
        ) == ("video_validation_2", "x")

    def test_crosstask_rows(self, tmp_path):
        np.save(tmp_path / "vid.npy", np.zeros((90, 3200), dtype=np.float32))
        assert read_foreign_features(tmp_path, "crosstask", "vid", dim=3200).features.shape == (90, 3200)

    def test_opentad_folders_of_unequal_length_are_interpolated_to_the_longest(self, tmp_path):
        short, long = np.array([[0.0], [4.0]], dtype=np.float32), np.ones((4, 2), dtype=np.float32)
        for name, rows in (("s", short), ("l", long)):
            (tmp_path / name).mkdir()
            np.save(tmp_path / name / "v.npy", rows)
        found = read_foreign_features([tmp_path / "s", tmp_path / "l"], "opentad", "v", dim=3)
        np.testing.assert_array_equal(found.features, [[0, 1, 1], [1, 1, 1], [3, 1, 1], [4, 1, 1]])
        with pytest.raises(ValueError, match="2 and 4 rows"):
            read_foreign_features([tmp_path / "s", tmp_path / "l"], "lgi", "v")
        with pytest.raises(ValueError, match="at least one"):
            read_foreign_features([], "lgi", "v")

    def test_joined_folders_of_ours_say_both_encoders(self, tmp_path):
        export_tracks([plain("v")], "lgi", tmp_path / "a")
        export_tracks([plain("v", encoder=OTHER)], "lgi", tmp_path / "b")
        found = read_foreign_features([tmp_path / "a", tmp_path / "b"], "lgi", "v")
        assert found.features.shape == (12, 12)
        assert found.record.encoder.parts == (ENCODER, OTHER)

    def test_array_on_its_side_is_told_by_its_dim(self, tmp_path):
        np.save(tmp_path / "v.npy", np.zeros((512, 90), dtype=np.float32))
        with pytest.raises(FeatureFileError, match="channels first"):
            read_foreign_features(tmp_path, "actionformer", "v", dim=512)
        with pytest.raises(FeatureFileError, match="rows hold 90 numbers, expected 77"):
            read_foreign_features(tmp_path, "actionformer", "v", dim=77)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [(np.zeros(512), r"\(512,\)"), (np.zeros((2, 3, 4)), r"\(2, 3, 4\)"), (np.array([["a"]]), "numbers")],
    )
    def test_arrays_that_are_no_rows_are_named(self, tmp_path, rows, message):
        np.save(tmp_path / "v.npy", rows)
        with pytest.raises(FeatureFileError, match=rf"v\.npy: array: .*{message}"):
            read_foreign_features(tmp_path, "actionformer", "v")

    def test_npz_without_feats_names_what_it_holds(self, tmp_path):
        np.savez(tmp_path / "v.npz", features=np.zeros((2, 3)))
        with pytest.raises(FeatureFileError, match="feats: missing; it holds features"):
            read_foreign_features(tmp_path, "opentad", "v", file_format="npz")

    def test_json_of_someone_else_beside_an_array_is_passed_over(self, tmp_path):
        np.save(tmp_path / "v.npy", np.zeros((2, 3)))
        (tmp_path / "v.npy.json").write_text('{"labels": [1]}')
        assert read_foreign_features(tmp_path, "lgi", "v").record is None

    def test_folder_in_place_of_the_one_file_is_told(self, tmp_path):
        with pytest.raises(ValueError, match="pass the file"):
            read_foreign_features(tmp_path, "2dtan", "v")

    def test_missing_videos_are_listed_in_order(self, tmp_path):
        np.save(tmp_path / "b.npy", np.zeros((2, 3)))
        assert find_missing_videos(tmp_path, "lgi", ["c", "b", "a"]) == ("c", "a")
        assert find_missing_videos(tmp_path / "none.hdf5", "2dtan", ["a"]) == ("a",)


def test_an_export_of_other_settings_does_not_mix_with_the_files_of_a_folder(tmp_path):
    tracks = [make_track("a"), make_track("b")]
    export_tracks(tracks, "actionformer", tmp_path / "out", prefix="v_")
    export_tracks(tracks[:1], "actionformer", tmp_path / "out", prefix="v_")
    for options in ({"prefix": "w_"}, {"prefix": "v_", "layout": "opentad"}):
        layout = options.pop("layout", "actionformer")
        with pytest.raises(ValueError, match="holds another export"):
            export_tracks(tracks, layout, tmp_path / "out", **options)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npy")) == ["v_a.npy", "v_b.npy"]
