"""HDF5 files of features: one dataset for each video, under its id, as the localizers' loaders expect."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bsp_hf.features.track import FeatureTrack, TrackRecord
from bsp_hf.files import (
    FeatureFileError,
    MissingFeaturesError,
    atomic_file,
    blame_file,
    check_expansion,
    check_video_id,
)
from bsp_hf.version import install_command

# Loaders ask for a dataset by its id, so one more group disturbs none of them.
OWN_GROUP = "_bsp_hf"
_RECORD = "bsp_hf_record"
_MOST_LEVELS = 32  # of groups in each other, when all datasets are listed


def import_h5py() -> ModuleType:
    """Return h5py, or raise an `ImportError` that names the extra."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"HDF5 files need h5py: {install_command('h5')}") from error
    return h5py


class H5TrackWriter:
    """Adds tracks to an open HDF5 file: rows at `/key`, record in its attributes, times in a group aside."""

    def __init__(self, file: Any) -> None:  # Any: an h5py.File, which is imported only where needed
        self._file = file

    def add(self, track: FeatureTrack, key: str | None = None, rows: np.ndarray | None = None) -> None:
        """Write one track under a key, by default its video id; `rows`, if given, replace its features."""
        key = track.record.video_id if key is None else key
        check_video_id(key)
        if key.split("/")[0] == OWN_GROUP:
            raise ValueError(
                f"{key!r} cannot be a key: {OWN_GROUP!r} is where the times of the rows are kept."
            )
        if key in self._file:
            raise ValueError(f"two tracks would have the key {key!r} in one file; pass each video once.")
        try:
            dataset = self._file.create_dataset(key, data=track.features if rows is None else rows)
            self._file.create_dataset(f"{OWN_GROUP}/centers_s/{key}", data=track.centers_s)
        except (ValueError, TypeError) as error:  # an id that is another one's folder, like "a" and "a/b"
            raise ValueError(f"{key!r} cannot be in one file with the other ids: {error}") from error
        dataset.attrs[_RECORD] = track.record.to_json()


@contextmanager
def write_h5(path: Path, scratch: Path | None = None) -> Iterator[H5TrackWriter]:
    """Yield a writer of an HDF5 file that appears when it is whole, as [`~bsp_hf.files.atomic_file`] does."""
    h5py = import_h5py()
    with atomic_file(path, scratch) as temporary, h5py.File(temporary, "w") as file:
        yield H5TrackWriter(file)


@dataclass(frozen=True)
class H5Rows:
    """A dataset of an HDF5 file in its own shape and type, with times and record if this package wrote it."""

    features: np.ndarray
    centers_s: np.ndarray | None
    record: TrackRecord | None


def read_h5(path: Path, key: str, row_step: int = 1) -> H5Rows:
    """Read every `row_step`th row of a dataset, or of the single one in a group, of an HDF5 file.

    A file with its data in another file is refused like one that is damaged.
    """
    h5py = import_h5py()
    check_video_id(key)
    with _open(h5py, path) as file:
        dataset = _find_dataset(h5py, file, path, key)
        if dataset is None:
            raise MissingFeaturesError(f"{path} holds no features under {key!r}.")
        with blame_file(path, key):
            features = np.asarray(dataset[::row_step] if dataset.ndim else dataset[()])
            stored_record = dataset.attrs.get(_RECORD)
        if stored_record is None:
            return H5Rows(features, None, None)
        with blame_file(path, f"record of {key}"):
            record = TrackRecord.from_json(stored_record)
        times = _find_dataset(h5py, file, path, f"{OWN_GROUP}/centers_s/{key}")
        if times is None:
            raise FeatureFileError(path, f"centers_s of {key}", "missing; write the file again.")
        with blame_file(path, f"centers_s of {key}"):
            return H5Rows(features, np.asarray(times[::row_step]), record)


def list_h5_keys(path: Path) -> tuple[str, ...]:
    """Return the sorted names of all datasets of features in an HDF5 file; links are passed over."""
    h5py = import_h5py()
    keys: list[str] = []
    with _open(h5py, path) as file, blame_file(path, "names of the datasets"):
        seen, groups = set(), [("", file)]
        while groups:
            prefix, group = groups.pop()
            if prefix.count("/") > _MOST_LEVELS:
                raise FeatureFileError(path, "groups", f"lie more than {_MOST_LEVELS} deep in each other.")
            for name in group:
                if prefix + name == OWN_GROUP or not _is_hard(h5py, group, name):
                    continue
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:  # under another name too, or in a circle
                    continue
                seen.add(place)
                if isinstance(item, h5py.Dataset):
                    keys.append(prefix + name)
                elif isinstance(item, h5py.Group):
                    groups.append((f"{prefix}{name}/", item))
    return tuple(sorted(keys))


@contextmanager
def _open(h5py: ModuleType, path: Path) -> Iterator[Any]:  # Any: an h5py.File
    with blame_file(path, "HDF5 file"):
        file = h5py.File(path, "r")
    with file:
        yield file


def _find_dataset(h5py: ModuleType, file: Any, path: Path, key: str) -> Any | None:  # Any: of h5py
    with blame_file(path, key):
        item = file
        for name in key.split("/"):
            if not isinstance(item, h5py.Group) or name not in item.keys():  # noqa: SIM118 (no link followed)
                return None
            item = _follow(h5py, item, name, path)
        if isinstance(item, h5py.Group):
            members = list(item.keys())
            if len(members) != 1:
                return None
            item = _follow(h5py, item, members[0], path)
        if not isinstance(item, h5py.Dataset):
            return None
        if item.external or item.is_virtual:
            raise FeatureFileError(path, key, "keeps its data in another file, which is not followed.")
        check_expansion(path, key, item.nbytes, item.id.get_storage_size())
        return item


def _is_hard(h5py: ModuleType, group: Any, name: str) -> bool:  # Any: of h5py
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _follow(h5py: ModuleType, group: Any, name: str, path: Path) -> Any:  # Any: of h5py
    """Return a member by a hard link only; others lead wherever the author of the file chose."""
    if not _is_hard(h5py, group, name):
        raise FeatureFileError(path, name, "is a link to another place, which is not followed.")
    return group[name]
