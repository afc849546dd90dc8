"""Features by video id: own tracks in every format, the layouts of others, and several places joined."""

from functools import partial

import datasets
import numpy as np
import pytest
from support.made_tracks import ENCODER, OTHER, make_track

from bsp_hf.features import (
    FeatureFileError,
    FeatureSource,
    MissingFeaturesError,
    export_tracks,
    read_foreign_features,
    write_tracks,
)


@pytest.mark.parametrize("place", ["npy", "npz", "csv", "safetensors", "arrow", "all.h5"])
def test_own_tracks_are_found_in_every_format(tmp_path, place):
    tracks = [make_track(f"v_{name}", seed=number) for number, name in enumerate(("a", "b/c"))]
    if place == "all.h5":
        path = tmp_path / place
        write_tracks(tracks, path)
    else:
        path = tmp_path / "features"
        write_tracks(tracks, path, place)
    source = FeatureSource(path, prefix="v_")
    assert source.missing(["a", "x", "b/c", "y"]) == ("x", "y")
    found = source.read("b/c")
    np.testing.assert_array_equal(found.features, tracks[1].features)
    np.testing.assert_array_equal(found.row_centers_s(100.0), tracks[1].centers_s)
    assert (found.video_id, found.duration_s) == ("b/c", tracks[1].record.duration_s)
    assert source.read_track("a") == tracks[0]
    with pytest.raises(MissingFeaturesError, match="x"):
        source.read("x")


def test_an_arrow_data_set_is_opened_once_for_all_its_videos(tmp_path, monkeypatch):
    """It was opened and searched anew for every id, which took the square of their number."""
    tracks = [make_track(f"v{number}", seed=number) for number in range(5)]
    write_tracks(tracks, tmp_path / "set", "arrow")
    opened = []
    load = datasets.load_from_disk
    monkeypatch.setattr(datasets, "load_from_disk", lambda path: opened.append(path) or load(path))
    source = FeatureSource(tmp_path / "set")
    assert source.missing(["v4", "x"]) == ("x",)
    assert [source.read_track(f"v{number}") for number in reversed(range(5))] == tracks[::-1]
    assert len(opened) == 1


def test_an_array_without_its_record_is_missing(tmp_path):
    write_tracks([make_track("a")], tmp_path, "npy")
    (tmp_path / "a.npy.json").unlink()
    assert FeatureSource(tmp_path).missing(["a"]) == ("a",)


def test_two_places_are_two_streams(tmp_path):
    for name, encoder in (("one", ENCODER), ("two", OTHER)):
        write_tracks([make_track("a", encoder=encoder), make_track("b", encoder=encoder)], tmp_path / name)
    (tmp_path / "two" / "b.npz").unlink()
    source = FeatureSource([tmp_path / "one", tmp_path / "two"])
    assert source.missing(["a", "b"]) == ("b",)
    found = source.read("a")
    assert found.features.shape == (5, 8)
    assert found.record.encoder.parts == (ENCODER, OTHER)


@pytest.mark.parametrize(
    ("layout", "place"),
    [
        ("actionformer", "."),
        ("opentad", "."),
        ("gtad", "."),
        ("2dtan", "bsp_features.hdf5"),
        ("lgi", "."),
        ("bmn", "."),
        ("tsp", "bsp_features.h5"),
    ],
)
def test_layouts_of_others_are_found_by_id(tmp_path, layout, place):
    track = make_track("a", num_snippets=100)
    export_tracks([track], layout, tmp_path)
    source = FeatureSource(tmp_path / place, layout)
    assert source.missing(["a", "x"]) == ("x",)
    np.testing.assert_array_equal(source.read("a").features, track.features)
    with pytest.raises(ValueError, match="no tracks with records"):
        source.read_track("a")


def test_features_that_nobody_recorded_the_times_of_share_the_video_evenly(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3), dtype=np.float32))
    found = FeatureSource(tmp_path, "lgi").read("a")
    assert found.record is None and found.duration_s is None
    assert found.row_centers_s(8.0).tolist() == [1, 3, 5, 7]
    by_second = FeatureSource(tmp_path, "crosstask").read("a")
    assert by_second.row_centers_s(9.0).tolist() == [0.5, 1.5, 2.5, 3.5]


def test_what_cannot_be_a_source_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FeatureSource(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="at least one"):
        FeatureSource([])
    with pytest.raises(ValueError, match="'mp3' is unknown"):
        FeatureSource(tmp_path, "mp3")
    np.save(tmp_path / "empty.npy", np.ones((0, 3), dtype=np.float32))
    with pytest.raises(FeatureFileError, match="no row"):
        FeatureSource(tmp_path, "lgi").read("empty")
    with pytest.raises(ValueError, match="cannot be a video id"):
        FeatureSource(tmp_path, "lgi").missing(["../a"])


def test_rows_that_are_not_finite_are_refused_and_the_video_named(tmp_path):
    """Infinite in the file, or beyond the range of float32."""
    track = make_track("v")
    track.features[1, 0] = np.inf
    write_tracks([track, make_track("w")], tmp_path / "own")
    message = r"own.*1 of \d+ feature rows of v are not finite, first row 1"
    with pytest.raises(ValueError, match=message):
        FeatureSource(tmp_path / "own").read("v")
    assert len(FeatureSource(tmp_path / "own").read("w").features)
    for name, rows in (
        ("half", np.array([[1, np.inf], [2, 3]], np.float16)),
        ("wide", np.array([[1.0, 1e300], [2, 3]])),
    ):
        np.save(tmp_path / f"{name}.npy", rows)
        message = rf"{name}.*1 of 2 feature rows of {name} are not finite, first row 0"
        foreign = partial(read_foreign_features, tmp_path, "opentad")
        for read in (FeatureSource(tmp_path, "opentad").read, foreign):
            with pytest.raises(FeatureFileError, match=message):
                read(name)
    (tmp_path / "text.csv").write_text("a,b\n1,2\nNaN,3\n")
    with pytest.raises(FeatureFileError, match="1 of 2 feature rows of text are not finite, first row 1"):
        read_foreign_features(tmp_path, "opentad", "text", file_format="csv")


def test_tracks_that_are_not_finite_are_not_exported(tmp_path):
    track = make_track("v")
    track.features[2] = np.nan
    report = export_tracks([track, make_track("w")], "actionformer", tmp_path)
    (left_out,) = report.left_out
    assert left_out.video_id == "v" and "feature rows of v are not finite, first row 2" in left_out.reason
