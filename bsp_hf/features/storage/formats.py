"""One feature track in a file of our own: npy, npz, h5, pt, csv or safetensors, with its record."""

import zipfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from bsp_hf.features.track import FeatureTrack, TrackRecord
from bsp_hf.files import (
    FeatureFileError,
    MissingFeaturesError,
    atomic_file,
    blame_file,
    check_expansion,
    path_in_folder,
)

from .arrow import ArrowTracks, is_arrow
from .h5 import list_h5_keys, read_h5, write_h5
from .sidecar import read_sidecar, sidecar_path, write_sidecar
from .suffixes import BARE_SUFFIXES, H5_SUFFIXES, TRACK_SUFFIXES

_NO_RECORD = "missing; features that another tool wrote are read with read_foreign_features."


def load_npy(path: Path) -> np.ndarray:
    """Read an array from an npy file; nothing is unpickled."""
    with blame_file(path, "array"):
        try:  # Mapped first: a header that promises more than the file holds then asks for no memory.
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
        except ValueError:
            return np.load(path, allow_pickle=False)


def load_npz(path: Path, field: str = "arrays") -> dict[str, np.ndarray]:
    """Read all arrays of an npz file by name; nothing is unpickled."""
    with blame_file(path, field), np.load(path, allow_pickle=False) as arrays:
        members = arrays.zip.infolist()
        check_expansion(path, field, sum(member.file_size for member in members))
        for member in members:
            with arrays.zip.open(member) as file:
                _check_header(path, member.filename, file, member.file_size)
        return {name: arrays[name] for name in arrays.files}


def _check_header(path: Path, name: str, file: IO[bytes], num_bytes: int) -> None:
    """Check that an array in an npz claims no more memory than is stored, which numpy takes first."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is not None:
        shape, _, dtype = read_header(file)
        if prod(shape) * dtype.itemsize > num_bytes:
            raise FeatureFileError(path, name, f"claims the shape {shape}, more than the file holds.")


def load_pt(path: Path) -> np.ndarray:
    """Read the one tensor of a file of `torch.save`, with `weights_only=True`; bfloat16 becomes float32."""
    import torch  # slow, and most tracks are read without it

    with blame_file(path, "tensor"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_expansion(path, "tensor", sum(member.file_size for member in archive.infolist()))
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensor, torch.Tensor):
            raise FeatureFileError(path, "tensor", f"expected a bare tensor, found {type(tensor).__name__}.")
        tensor = tensor.detach()
        if tensor.layout == torch.strided and tensor.untyped_storage().nbytes() < tensor.nbytes:
            problem = f"claims {tensor.numel():,} numbers, more than the file holds."  # by a stride of 0
            raise FeatureFileError(path, "tensor", problem)
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def load_csv(path: Path) -> np.ndarray:
    """Read the rows of a csv file behind its one header line, float32 `(num_rows, dim)`."""
    with blame_file(path, "rows"), path.open(encoding="utf-8") as lines:
        header = lines.readline()
        if not header.strip():
            raise FeatureFileError(path, "header", "missing: the first line must name the columns.")
        start = lines.tell()
        if not lines.readline().strip():
            return np.empty((0, header.count(",") + 1), dtype=np.float32)
        lines.seek(start)
        return np.loadtxt(lines, dtype=np.float32, delimiter=",", ndmin=2, comments=None)


def write_track(track: FeatureTrack, path: str | Path, *, scratch: Path | None = None) -> Path:
    """Write one track to a file of its own, in the format of its suffix.

    `.npy`, `.pt` and `.csv` hold the bare array, as other tools read it; their record goes into a JSON file
    beside them, `path + ".json"`. `.npz` holds `feats`, `centers_s` and `record`; `.safetensors` and `.h5`
    carry the record inside.

    Args:
        track (`FeatureTrack`): The track.
        path (`str` or `Path`): The file; replaced in one step if it is there.
        scratch (`Path`, *optional*): Existing folder on the same disk for temporary files; by default that of
            the file.

    Returns:
        `Path`: The file.

    Raises:
        ImportError: If an HDF5 file is asked for and h5py is not installed.
        ValueError: If the name ends in no format of a single track.
    """
    path = Path(path)
    _check_suffix(path)
    if path.suffix in H5_SUFFIXES:
        with write_h5(path, scratch) as file:
            file.add(track)
        return path
    with atomic_file(path, scratch) as temporary:
        _WRITERS[path.suffix](track, temporary)
    if path.suffix in BARE_SUFFIXES:
        # Last: a sidecar that fits its array means that both are whole.
        write_sidecar(track, path, scratch)
    return path


def read_track(path: str | Path, video_id: str | None = None) -> FeatureTrack:
    """Read one track that this package wrote, in whatever format.

    Args:
        path (`str` or `Path`): A file of one track, a file of several, a folder of files, or an Arrow data
            set.
        video_id (`str`, *optional*): Which video; may be left out where there is only one.

    Returns:
        `FeatureTrack`: The track, equal to the one written.

    Raises:
        FeatureFileError: If a file is damaged, has no record, or the record belongs to another array.
        MissingFeaturesError: If there is no such file, or the file holds no such video.
        ValueError: If `video_id` is needed, the file holds another video, or its name ends in no format.
    """
    path = Path(path)
    if path.is_dir():
        if video_id is None:
            raise ValueError(f"{path} is a folder of tracks: pass video_id=, or use read_tracks.")
        if is_arrow(path):
            return ArrowTracks(path).read(video_id)
        return read_track(_find_in_folder(path, video_id), video_id)
    _check_suffix(path)
    if not path.exists():
        raise MissingFeaturesError(f"there are no features at {path}.")
    if path.suffix in H5_SUFFIXES:
        return _read_h5_track(path, video_id)
    track = _READERS[path.suffix](path)
    if video_id not in (None, track.record.video_id):
        raise ValueError(f"{path} holds features of {track.record.video_id!r}, not of {video_id!r}.")
    return track


def _find_in_folder(folder: Path, video_id: str) -> Path:
    candidates = [path_in_folder(folder, video_id, suffix) for suffix in TRACK_SUFFIXES]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise MissingFeaturesError(f"there are no features of {video_id!r} in {folder}.")
    if len(found) > 1:
        raise ValueError(f"{', '.join(map(str, found))} all hold features of {video_id!r}; pass the file.")
    return found[0]


def _read_h5_track(path: Path, video_id: str | None) -> FeatureTrack:
    if video_id is None:
        keys = list_h5_keys(path)
        if len(keys) != 1:
            raise ValueError(f"{path} holds {len(keys)} videos: pass video_id=, or use read_tracks.")
        video_id = keys[0]
    rows = read_h5(path, video_id)
    if rows.record is None or rows.centers_s is None:
        raise FeatureFileError(path, f"record of {video_id}", _NO_RECORD)
    if not video_id.endswith(rows.record.video_id):  # a key may have a prefix
        raise ValueError(f"{path} holds features of {rows.record.video_id!r}, not of {video_id!r}.")
    return _make_track(path, rows.features, rows.centers_s, rows.record)


def _make_track(path: Path, features: np.ndarray, centers_s: np.ndarray, record: TrackRecord) -> FeatureTrack:
    with blame_file(path, "features and centers_s"):
        return FeatureTrack(features, centers_s, record)


def _read_bare(load: Callable[[Path], np.ndarray]) -> Callable[[Path], FeatureTrack]:
    def read(path: Path) -> FeatureTrack:
        features = load(path)
        beside = read_sidecar(path, features)
        if beside is None:
            raise FeatureFileError(path, f"record ({sidecar_path(path).name})", _NO_RECORD)
        return _make_track(path, features, *beside)

    return read


def _write_pt(track: FeatureTrack, path: Path) -> None:
    import torch

    with path.open("wb") as file:
        torch.save(torch.tensor(track.features), file)


def _write_csv(track: FeatureTrack, path: Path) -> None:
    header = ",".join(f"f{index}" for index in range(track.dim))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        # Nine digits bring every float32 back.
        np.savetxt(file, track.features, fmt="%.9g", delimiter=",", header=header, comments="")


def _write_npy(track: FeatureTrack, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, track.features, allow_pickle=False)


def _write_npz(track: FeatureTrack, path: Path) -> None:
    record = np.array(track.record.to_json())
    with path.open("wb") as file:
        # OpenTAD asks an npz for "feats".
        np.savez(file, feats=track.features, centers_s=track.centers_s, record=record)


def _read_npz(path: Path) -> FeatureTrack:
    arrays = load_npz(path)
    missing = [name for name in ("feats", "centers_s", "record") if name not in arrays]
    if missing:
        raise FeatureFileError(path, missing[0], _NO_RECORD if missing[0] == "record" else "missing.")
    with blame_file(path, "record"):
        record = TrackRecord.from_json(str(arrays["record"]))
    return _make_track(path, arrays["feats"], arrays["centers_s"], record)


def _write_safetensors(track: FeatureTrack, path: Path) -> None:
    tensors = {"features": track.features, "centers_s": track.centers_s}
    save_file(tensors, str(path), metadata={"record": track.record.to_json()})


def _read_safetensors(path: Path) -> FeatureTrack:
    with blame_file(path, "tensors"), safe_open(str(path), framework="np") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    missing = [name for name in ("features", "centers_s") if name not in tensors]
    if missing:
        raise FeatureFileError(path, missing[0], "missing.")
    if "record" not in metadata:
        raise FeatureFileError(path, "record", _NO_RECORD)
    with blame_file(path, "record"):
        record = TrackRecord.from_json(metadata["record"])
    return _make_track(path, tensors["features"], tensors["centers_s"], record)


_WRITERS: dict[str, Callable[[FeatureTrack, Path], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".pt": _write_pt,
    ".csv": _write_csv,
    ".safetensors": _write_safetensors,
}
_READERS: dict[str, Callable[[Path], FeatureTrack]] = {
    ".npy": _read_bare(load_npy),
    ".npz": _read_npz,
    ".pt": _read_bare(load_pt),
    ".csv": _read_bare(load_csv),
    ".safetensors": _read_safetensors,
}


def _check_suffix(path: Path) -> None:
    if path.suffix not in TRACK_SUFFIXES:
        raise ValueError(
            f"{path}: the name must end in one of {', '.join(TRACK_SUFFIXES)}, the formats of tracks."
        )
