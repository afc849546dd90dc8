import csv
import json
import os
import struct
import sys
import time
import tracemalloc
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from datasets import load_from_disk
from datasets.utils.logging import disable_progress_bar
from safetensors import safe_open
from safetensors.numpy import save_file
from support.made_tracks import OTHER, make_track

from bsp_hf.features import (
    TRACK_FORMATS,
    FeatureFileError,
    FeatureTrack,
    MissingFeaturesError,
    concatenate_tracks,
    read_foreign_features,
    read_track,
    read_tracks,
    write_track,
    write_tracks,
)
from bsp_hf.features.storage.h5 import list_h5_keys
from bsp_hf.features.storage.sidecar import sidecar_path

SUFFIXES = [".npy", ".npz", ".h5", ".hdf5", ".pt", ".csv", ".safetensors"]
BARE = [".npy", ".pt", ".csv"]

disable_progress_bar()


def odd_tracks():
    """Tracks at the edges of what a file must hold."""
    tail = make_track("v_tail", num_snippets=3)
    return [
        make_track("v_usual", num_snippets=7, dim=5),
        make_track("v_one_row", num_snippets=1),
        make_track("v_one_column", num_snippets=4, dim=1),
        make_track("v_no_row", num_snippets=0),
        make_track("v_part", fps=30000 / 1001, complete=False, error='broken at "1.2" s, ünlesbar\n'),
        make_track("kitchen/clip.v2", rescaled_from=9),
        concatenate_tracks([make_track("v_joined"), make_track("v_joined", encoder=OTHER, seed=3)]),
        replace(tail, centers_s=np.array([0.16, 0.48, np.pi / 4])),
    ]


ODD = {track.record.video_id: track for track in odd_tracks()}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("video_id", ODD)
def test_reading_back_gives_the_equal_track(tmp_path, suffix, video_id):
    path = write_track(ODD[video_id], tmp_path / f"features{suffix}")
    back = read_track(path)
    assert back == ODD[video_id]
    assert back.features.tobytes() == ODD[video_id].features.tobytes()
    assert back.features.flags.c_contiguous
    assert back.features.flags.writeable


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_features_that_are_not_finite_come_back(tmp_path, suffix):
    rows = np.array([[np.nan, -np.nan, np.inf, -np.inf, 3.4028235e38, 1e-45]], dtype=np.float32)
    track = FeatureTrack(rows, [0.16], make_track().record)
    assert read_track(write_track(track, tmp_path / f"x{suffix}")) == track


@pytest.mark.parametrize("file_format", TRACK_FORMATS)
def test_many_tracks_come_back_from_a_folder(tmp_path, file_format):
    tracks = [make_track(f"v_{count}", num_snippets=count) for count in (0, 1, 6)]
    place = tmp_path / "set"
    assert write_tracks(iter(tracks), place, file_format) == ("v_0", "v_1", "v_6")
    assert list(read_tracks(place)) == tracks
    assert read_track(place, "v_6") == tracks[2]
    with pytest.raises(MissingFeaturesError, match="v_none"):
        read_track(place, "v_none")
    with pytest.raises(ValueError, match="video_id="):
        read_track(place)


@pytest.mark.parametrize("name", ["all.h5", "all.hdf5"])
def test_one_hdf5_file_holds_many_videos(tmp_path, name):
    tracks = [ODD["kitchen/clip.v2"], ODD["v_one_row"], ODD["v_usual"]]
    write_tracks(tracks, tmp_path / name)
    assert list(read_tracks(tmp_path / name)) == tracks
    assert read_track(tmp_path / name, "kitchen/clip.v2") == tracks[0]
    with pytest.raises(ValueError, match="3 videos: pass video_id="):
        read_track(tmp_path / name)
    with pytest.raises(MissingFeaturesError, match="'v_none'"):
        read_track(tmp_path / name, "v_none")
    with pytest.raises(ValueError, match=r"'kitchen/clip\.v2', not of 'kitchen'"):
        read_track(tmp_path / name, "kitchen")


@pytest.mark.parametrize(("place", "file_format"), [("x", "npz"), ("x", "arrow"), ("x.h5", "h5")])
def test_a_video_is_written_once(tmp_path, place, file_format):
    with pytest.raises(ValueError, match="two tracks"):
        write_tracks([make_track(), make_track()], tmp_path / place, file_format)


def test_an_id_cannot_be_the_folder_of_another_in_one_hdf5_file(tmp_path):
    with pytest.raises(ValueError, match="'a/b' cannot be in one file"):
        write_tracks([make_track("a"), make_track("a/b")], tmp_path / "x.h5")
    with pytest.raises(ValueError, match="cannot be a key"):
        write_tracks([make_track("_bsp_hf/a")], tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"pkl.*npy"):
        write_tracks([make_track()], tmp_path, "pkl")
    with pytest.raises(ValueError, match="h5"):
        write_tracks([make_track()], tmp_path / "x.h5", "npy")
    with pytest.raises(ValueError, match=r"must end in one of .*\.safetensors"):
        write_track(make_track(), tmp_path / "x.pkl")
    with pytest.raises(ValueError, match="must end in"):
        read_track(tmp_path / "x.pkl")


def test_arrow_data_set_holds_one_kind_of_features(tmp_path):
    with pytest.raises(ValueError, match="v_two has rows of 3 numbers"):
        write_tracks([make_track(), make_track("v_two", dim=3)], tmp_path / "x", "arrow")
    with pytest.raises(ValueError, match="at least one"):
        write_tracks([], tmp_path / "x", "arrow")
    assert os.listdir(tmp_path) == []


# What each file holds, read by other means than ours.


def test_npy_is_a_bare_array_with_the_record_beside_it(tmp_path):
    track = ODD["v_usual"]
    write_track(track, tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), track.features)
    beside = json.loads((tmp_path / "v.npy.json").read_text(encoding="utf-8"))
    assert beside["fps"] == 25.0
    assert beside["stride_frames"] == 8
    assert beside["encoder"]["revision"] == "weights-0123456789abcdef"
    assert beside["centers_s"] == track.centers_s.tolist()
    assert beside["shape"] == [7, 5]
    assert beside["format_version"] == 1


def test_npz_needs_no_pickle_and_keeps_feats_times_and_record(tmp_path):
    track = ODD["v_usual"]
    write_track(track, tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"feats", "centers_s", "record"}
        np.testing.assert_array_equal(arrays["feats"], track.features)
        np.testing.assert_array_equal(arrays["centers_s"], track.centers_s)
        assert json.loads(str(arrays["record"]))["video_id"] == "v_usual"


def test_pt_is_a_tensor_that_loads_with_weights_only(tmp_path):
    write_track(ODD["v_usual"], tmp_path / "v.pt")
    tensor = torch.load(tmp_path / "v.pt", weights_only=True)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), ODD["v_usual"].features)
    assert tensor.untyped_storage().nbytes() == 7 * 5 * 4


def test_csv_has_one_header_line_and_numbers_that_come_back(tmp_path):
    write_track(ODD["v_usual"], tmp_path / "v.csv")
    with (tmp_path / "v.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["f0", "f1", "f2", "f3", "f4"]
    np.testing.assert_array_equal(
        np.array(lines[1:]).astype(np.float64).astype(np.float32), ODD["v_usual"].features
    )


def test_safetensors_carries_the_record_in_its_metadata(tmp_path):
    write_track(ODD["v_usual"], tmp_path / "v.safetensors")
    with safe_open(str(tmp_path / "v.safetensors"), framework="pt") as file:
        assert set(file.keys()) == {"features", "centers_s"}
        assert file.get_tensor("centers_s").dtype == torch.float64
        np.testing.assert_array_equal(file.get_tensor("features").numpy(), ODD["v_usual"].features)
        assert json.loads(file.metadata()["record"])["num_frames"] == 56


def test_hdf5_keeps_rows_under_the_id_and_the_record_in_an_attribute(tmp_path):
    write_track(ODD["v_usual"], tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5") as file:
        np.testing.assert_array_equal(file["v_usual"][:], ODD["v_usual"].features)
        assert file["v_usual"].dtype == np.float32
        assert json.loads(file["v_usual"].attrs["bsp_hf_record"])["snippet_frames"] == 8


def test_arrow_data_set_opens_with_datasets_alone(tmp_path):
    write_tracks([ODD["v_usual"]], tmp_path / "set", "arrow")
    example = load_from_disk(str(tmp_path / "set"))[0]
    np.testing.assert_array_equal(np.array(example["features"], dtype=np.float32), ODD["v_usual"].features)
    assert example["centers_s"] == ODD["v_usual"].centers_s.tolist()
    assert json.loads(example["record"])["video_id"] == example["video_id"] == "v_usual"
    assert sorted(os.listdir(tmp_path / "set")) == [
        "data-00000-of-00001.arrow",
        "dataset_info.json",
        "state.json",
    ]


# Files and records that do not belong together, or are broken.


@pytest.mark.parametrize("suffix", BARE)
def test_sidecar_of_another_shape_is_an_error(tmp_path, suffix):
    write_track(make_track(num_snippets=5), tmp_path / f"a{suffix}")
    write_track(make_track(num_snippets=6), tmp_path / f"b{suffix}")
    (tmp_path / f"b{suffix}").replace(tmp_path / f"a{suffix}")
    with pytest.raises(FeatureFileError, match=r"shape.*\[5, 4\].*\[6, 4\]") as caught:
        read_track(tmp_path / f"a{suffix}")
    assert caught.value.field == "shape"
    assert caught.value.path == tmp_path / f"a{suffix}.json"


@pytest.mark.parametrize("suffix", BARE)
def test_sidecar_of_other_features_of_the_same_shape_is_an_error(tmp_path, suffix):
    write_track(make_track(seed=1), tmp_path / f"a{suffix}")
    write_track(make_track(seed=2), tmp_path / f"b{suffix}")
    (tmp_path / f"b{suffix}").replace(tmp_path / f"a{suffix}")
    with pytest.raises(FeatureFileError, match="sha256"):
        read_track(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", BARE)
def test_array_without_a_record_is_no_track(tmp_path, suffix):
    write_track(make_track(), tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}.json").unlink()
    with pytest.raises(FeatureFileError, match="read_foreign_features"):
        read_track(tmp_path / f"a{suffix}")
    assert list(read_tracks(tmp_path)) == []  # what an interrupted write leaves is not a track yet


@pytest.mark.parametrize("field", ["fps", "encoder", "sha256", "shape", "centers_s", "video_id"])
def test_sidecar_without_a_field_names_file_and_field(tmp_path, field):
    write_track(make_track(), tmp_path / "a.npy")
    sidecar = tmp_path / "a.npy.json"
    content = json.loads(sidecar.read_text())
    del content[field]
    sidecar.write_text(json.dumps(content))
    with pytest.raises(FeatureFileError, match=rf"a\.npy\.json: .*{field}"):
        read_track(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fps", -25),
        ("stride_frames", "8"),
        ("format_version", 2),
        ("video_id", "../../x"),
        ("complete", None),
        ("centers_s", [0.1]),
        ("centers_s", "often"),
        ("encoder", []),
    ],
)
def test_sidecar_with_a_wrong_value_names_file_and_field(tmp_path, field, value):
    write_track(make_track(), tmp_path / "a.npy")
    sidecar = tmp_path / "a.npy.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), field: value}))
    word = "video id" if field == "video_id" else field
    with pytest.raises(FeatureFileError, match=rf"a\.npy.*{word}"):
        read_track(tmp_path / "a.npy")


def test_npz_without_a_record_or_features_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", feats=np.zeros((2, 3)), centers_s=np.zeros(2))
    with pytest.raises(FeatureFileError, match=r"a\.npz: record.*read_foreign_features"):
        read_track(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", centers_s=np.zeros(2))
    with pytest.raises(FeatureFileError, match=r"a\.npz: feats"):
        read_track(tmp_path / "a.npz")


def test_hdf5_without_a_record_or_times_names_them(tmp_path):
    write_track(make_track(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["_bsp_hf"]
    with pytest.raises(FeatureFileError, match=r"a\.h5: centers_s of v_one"):
        read_track(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["v_one"].attrs["bsp_hf_record"]
    with pytest.raises(FeatureFileError, match=r"a\.h5: record of v_one.*read_foreign_features"):
        read_track(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["empty", "half", "noise", "text"])
def test_damaged_file_is_named(tmp_path, suffix, damage):
    path = write_track(make_track(num_snippets=40, dim=30), tmp_path / f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "half": content[: len(content) // 2],
            "noise": np.random.default_rng(0).bytes(len(content)),
            "text": b"this is not a feature file\n" * 10,
        }[damage]
    )
    with pytest.raises(FeatureFileError, match=rf"a\{suffix}") as caught:
        read_track(path)
    assert caught.value.field


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_byte_gives_anything_but_a_track_or_a_named_error(tmp_path, suffix):
    path = write_track(make_track(), tmp_path / f"a{suffix}")
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(7)
    places = generator.choice(min(len(content), 2000), 60)
    for place in places:
        broken = bytearray(content)
        broken[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(broken)
        try:
            assert read_track(path, "v_one").features.ndim == 2
        except (FeatureFileError, MissingFeaturesError, ValueError) as error:
            assert "a" + suffix in str(error)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", feats=np.array([Trap()], dtype=object))
    torch.save(Trap(), tmp_path / "a.pt")
    for name in ("a.npy", "a.npz", "a.pt"):
        with pytest.raises(FeatureFileError, match=name):
            read_track(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_pt_with_anything_but_a_tensor_is_refused(tmp_path):
    torch.save({"features": torch.zeros(2, 3)}, tmp_path / "a.pt")
    with pytest.raises(FeatureFileError, match="bare tensor, found dict"):
        read_track(tmp_path / "a.pt")


def test_header_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4), }"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(FeatureFileError, match=r"a\.npy"):
        read_track(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "kind", ["external link", "soft link", "link in a group", "external data", "virtual"]
)
def test_hdf5_file_that_points_elsewhere_is_not_followed(tmp_path, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((2, 2), dtype=np.float32)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        if kind == "external link":
            file["v"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "soft link":
            file["v"] = h5py.SoftLink("/w")
        elif kind == "link in a group":
            file.create_group("v")["c3d_features"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "external data":
            file.create_dataset("v", shape=(2, 2), dtype="f4", external=[(str(secret), 0, 16)])
        else:
            layout = h5py.VirtualLayout(shape=(2, 2), dtype="f4")
            layout[:] = h5py.VirtualSource(str(secret), "x", shape=(2, 2))
            file.create_virtual_dataset("v", layout)
    with pytest.raises(FeatureFileError, match="not followed"):
        read_track(path, "v")


def test_arrow_data_set_without_a_column_or_half_written_is_named(tmp_path):
    write_tracks([make_track()], tmp_path / "set", "arrow")
    load_from_disk(str(tmp_path / "set")).remove_columns("record").save_to_disk(str(tmp_path / "less"))
    with pytest.raises(FeatureFileError, match="less: columns: record missing"):
        read_track(tmp_path / "less", "v_one")
    data = tmp_path / "set" / "data-00000-of-00001.arrow"
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(FeatureFileError, match="set"):
        read_track(tmp_path / "set", "v_one")


# Folders.


def test_missing_features_are_named(tmp_path):
    for name in ("none.npz", "none.h5", "none.npy"):
        with pytest.raises(MissingFeaturesError, match=name):
            read_track(tmp_path / name)
    with pytest.raises(MissingFeaturesError, match="nowhere"):
        list(read_tracks(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        read_track(tmp_path, "v_none")


def test_file_of_another_video_is_not_taken_for_the_one_asked(tmp_path):
    write_track(make_track("v_two"), tmp_path / "v_one.npz")
    with pytest.raises(ValueError, match="'v_two', not of 'v_one'"):
        read_track(tmp_path, "v_one")


def test_other_files_in_a_folder_are_passed_over(tmp_path):
    write_tracks([make_track()], tmp_path, "npy")
    (tmp_path / "failures.csv").write_text("video,reason\nx,broken\n")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / ".left.npz").write_bytes(b"half")
    assert list(read_tracks(tmp_path)) == [make_track()]


def test_folder_of_several_formats_needs_one_named(tmp_path):
    write_tracks([make_track()], tmp_path, "npy")
    write_tracks([make_track()], tmp_path, "npz")
    with pytest.raises(ValueError, match=r"\.npy, \.npz.*file_format="):
        list(read_tracks(tmp_path))
    assert list(read_tracks(tmp_path, "npz")) == [make_track()]
    with pytest.raises(ValueError, match="pass the file"):
        read_track(tmp_path, "v_one")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, suffix, monkeypatch):
    path = write_track(make_track(), tmp_path / f"a{suffix}")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_track(make_track(seed=5), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_hdf5_file_appears_only_when_every_track_is_in(tmp_path):
    def tracks():
        yield make_track("v_1")
        assert not (tmp_path / "all.h5").exists()
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        write_tracks(tracks(), tmp_path / "all.h5")
    assert list(tmp_path.iterdir()) == []


def test_longest_file_name_can_be_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".npz")
    assert read_track(write_track(make_track(), path)) == make_track()


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'pip install .*\[h5\]"'):
        write_track(make_track(), tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install .*\[h5\]"):
        read_track(tmp_path / "b.h5")
    for suffix in (".npz", ".npy", ".safetensors"):
        assert read_track(write_track(make_track(), tmp_path / f"a{suffix}")) == make_track()


def npz_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("feats.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (100_000, 1000)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(100):
            file.write(bytes(4_000_000))


def npz_of_many_arrays(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(12):
            archive.writestr(f"{number}.npy", bytes(40_000_000))


def npz_with_a_giant_header(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("feats.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 10)}
        np.lib.format.write_array_header_1_0(file, header)


def npz_of_rows_without_numbers(path):
    with path.open("wb") as file:
        np.savez(file, feats=np.empty((10**12, 0), np.float32), centers_s=np.zeros(1), record="{}")


def npy_of_rows_without_numbers(path):
    np.save(path, np.empty((10**12, 0), np.float32))


def pt_of_stride_0(path):
    torch.save(torch.zeros(1).expand(10**9, 2048), path)


def pt_bomb(path):
    torch.save(torch.zeros(80_000_000), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def pt_of_no_values(path):
    torch.save(torch.empty(10**9, 2048, device="meta"), path)


def pt_sparse(path):
    values = torch.sparse_coo_tensor([[0], [0]], [1.0], (10**9, 2048), check_invariants=True)
    torch.save(values, path)


def h5_without_content(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("v", (10**9, 2048), "f4", chunks=(100, 2048))


def h5_bomb(path):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("v", (50_000, 2000), "f4", chunks=(5000, 2000), compression=9)
        for start in range(0, 50_000, 5000):
            data[start : start + 5000] = 0


def safetensors_empty(path):
    path.write_bytes(b"")


def safetensors_with_a_giant_header(path):
    path.write_bytes((10**15).to_bytes(8, "little") + b"{}")


def safetensors_of_rows_without_numbers(path):
    save_file(
        {"features": np.empty((10**12, 0), np.float32), "centers_s": np.zeros(1)}, path, {"record": "{}"}
    )


def safetensors_of_deep_json(path):
    header = b"[" * 10**5
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def csv_of_deep_json(path):
    path.write_text("f0\n1\n")
    sidecar_path(path).write_text("[" * 10**6)


def csv_with_a_giant_number(path):
    path.write_text("f0\n1\n")
    sidecar_path(path).write_text('{"format_version": 1, "shape": [1, 1], "fps": %s}' % ("9" * 10**6))


def csv_with_times_that_are_too_large(path):
    write_track(make_track("v", 1, 1), path)
    content = json.loads(sidecar_path(path).read_text())
    sidecar_path(path).write_text(json.dumps({**content, "centers_s": [10**400]}))


def csv_of_nothing_but_commas(path):
    path.write_bytes(b"f0" + b"," * 10**7)


ATTACKS = {
    npz_bomb: ".npz",
    npz_of_many_arrays: ".npz",
    npz_with_a_giant_header: ".npz",
    npz_of_rows_without_numbers: ".npz",
    npy_of_rows_without_numbers: ".npy",
    pt_of_stride_0: ".pt",
    pt_bomb: ".pt",
    pt_of_no_values: ".pt",
    pt_sparse: ".pt",
    h5_without_content: ".h5",
    h5_bomb: ".h5",
    safetensors_empty: ".safetensors",
    safetensors_with_a_giant_header: ".safetensors",
    safetensors_of_rows_without_numbers: ".safetensors",
    safetensors_of_deep_json: ".safetensors",
    csv_of_deep_json: ".csv",
    csv_with_a_giant_number: ".csv",
    csv_with_times_that_are_too_large: ".csv",
    csv_of_nothing_but_commas: ".csv",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_files_made_to_fill_memory_are_one_error_that_names_them(tmp_path, attack):
    path = tmp_path / f"v{ATTACKS[attack]}"
    attack(path)
    read = [lambda: read_track(path)]
    if path.suffix in (".npy", ".npz", ".pt", ".csv"):
        file_format = path.suffix[1:]
        read.append(lambda: read_foreign_features(tmp_path, "opentad", "v", file_format=file_format))
    elif path.suffix == ".h5":
        read.append(lambda: read_foreign_features(tmp_path, "gtad", "v"))
    for one in read[:1] if attack is csv_of_nothing_but_commas else read:
        tracemalloc.start()
        started_s = time.process_time()
        try:
            with pytest.raises(FeatureFileError) as error:
                one()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)
        assert len(str(error.value)) < 500
        assert peak < 4e8 and time.process_time() - started_s < 10


def test_groups_in_groups_are_listed_in_linear_time_or_refused(tmp_path):
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
    with pytest.raises(FeatureFileError, match=r"deep\.h5: groups: lie more than 32 deep"):
        list_h5_keys(tmp_path / "deep.h5")
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        group = file
        for number in range(30):  # 2 ** 30 ways to the end
            child = group.create_group("a")
            group["b"] = child
            child[f"x{number}"] = np.zeros((1, 2))
            group = child
        group["back"] = file["/"]
        file["soft"] = h5py.SoftLink("/a")
    keys = list_h5_keys(tmp_path / "circle.h5")
    assert len(keys) == 30 and "a/x0" in keys


def test_npz_of_other_tools_with_compression_reads_like_ours(tmp_path):
    write_track(make_track(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        np.savez_compressed(tmp_path / "b.npz", **arrays)
    assert read_track(tmp_path / "b.npz") == make_track()
    assert zipfile.ZipFile(tmp_path / "b.npz").testzip() is None
