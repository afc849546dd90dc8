"""Reads features that other tools published, in the layouts that their loaders read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bsp_hf.encoder.video_records import join_completeness
from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.resampling import rescale_rows
from bsp_hf.features.storage.formats import load_csv, load_npy, load_npz, load_pt
from bsp_hf.features.storage.h5 import list_h5_keys, read_h5
from bsp_hf.features.storage.sidecar import read_sidecar
from bsp_hf.features.storage.suffixes import H5_SUFFIXES
from bsp_hf.features.track import TrackRecord, check_finite
from bsp_hf.files import FeatureFileError, MissingFeaturesError, blame_file, path_in_folder

from .layouts import BMN_FOLDER, LAYOUTS, TAN_FILES, THUMOS_FRAME_STEP, check_layout, thumos_subset

_LOADERS = {".npy": load_npy, ".pt": load_pt, ".csv": load_csv}


class ForeignFeatures(NamedTuple):
    """Features read from a file that need not be ours.

    Args:
        features (`np.ndarray`): float32 `(num_rows, dim)`, time first, C-contiguous, in memory of its own.
        record (`TrackRecord`, *optional*): How they were made, if this package wrote them.
    """

    features: np.ndarray
    record: TrackRecord | None


def read_foreign_features(
    path: str | Path | Sequence[str | Path],
    layout: str,
    video_id: str,
    *,
    prefix: str = "",
    file_format: str | None = None,
    dim: int | None = None,
    frame_step: int = THUMOS_FRAME_STEP,
) -> ForeignFeatures:
    """Read the features of one video in a layout of `LAYOUTS`, as that tool's own loader would.

    Args:
        path (`str`, `Path` or a sequence of them): The folder or file that the tool's configuration names. Of
            several, the rows are joined along the channels: interpolated to the longest for `opentad`, as its
            loader does, and of equal number elsewhere.
        layout (`str`): Name of the layout.
        video_id (`str`): The video.
        prefix (`str`, *optional*, defaults to `""`): What stands in front of an id in names, like `"v_"`.
        file_format (`str`, *optional*): `"npy"`, `"npz"`, `"pt"` or `"csv"` for `opentad`; `"npy"` by
            default.
        dim (`int`, *optional*): Length that a row must have; distinguishes rows from columns.
        frame_step (`int`, *optional*, defaults to 5): Frames from one row to the next in `gtad-thumos`
            (`skip_videoframes`).

    Returns:
        `ForeignFeatures`: The rows, not normalised, and their record where there is one.

    Raises:
        FeatureFileError: If a file is damaged, or holds something else than rows of finite features.
        ImportError: If the layout needs h5py and it is not installed.
        MissingFeaturesError: If there are no features of the video.
        ValueError: If the layout or format is unknown, or several paths do not fit together.
    """
    check_layout(layout)
    if not isinstance(path, str | Path):
        parts = [
            read_foreign_features(
                part, layout, video_id, prefix=prefix, file_format=file_format, frame_step=frame_step
            )
            for part in path
        ]
        return _check_dim(_join(parts, layout, video_id), dim, " and ".join(map(str, path)), video_id)
    root = Path(path)
    if layout == "gtad-thumos":
        place, found = root, _read_thumos(root, prefix + video_id, video_id, frame_step)
    else:
        place = _locate(root, layout, prefix + video_id, file_format)
        if not place.is_file():
            raise MissingFeaturesError(
                f"no features of video {video_id!r}: layout {layout!r} keeps them in {place}, which is "
                "not there."
            )
        found = _read_file(place, prefix + video_id)
    if not found.features.shape[1]:
        raise FeatureFileError(place, "features", f"hold no number in {len(found.features):,} rows.")
    with blame_file(place, "features"):
        check_finite(found.features, video_id)
    return _check_dim(found, dim, root, video_id)


def find_missing_videos(
    path: str | Path,
    layout: str,
    video_ids: Iterable[str],
    *,
    prefix: str = "",
    file_format: str | None = None,
) -> tuple[str, ...]:
    """Return the videos that have no features, in the order given; files are looked for, not read.

    Args:
        path (`str` or `Path`): As for [`read_foreign_features`], like the other arguments.
        layout (`str`): Name of the layout.
        video_ids (`Iterable[str]`): Videos that are needed.
        prefix (`str`, *optional*, defaults to `""`): What stands in front of an id in names.
        file_format (`str`, *optional*): Format of the files of `opentad`.

    Returns:
        `tuple`: Ids.

    Raises:
        FeatureFileError: If an HDF5 file of many videos is damaged.
        ValueError: If the layout or format is unknown.
    """
    check_layout(layout)
    root = Path(path)
    keys: dict[Path, frozenset[str]] = {}
    missing = []
    for video_id in video_ids:
        name = prefix + video_id
        if layout == "gtad-thumos":
            place = root / f"rgb_{thumos_subset(video_id)}.h5"
        else:
            place = _locate(root, layout, name, file_format)
        found = place.is_file()
        if found and place.suffix in H5_SUFFIXES:
            if place not in keys:
                keys[place] = frozenset(_with_parents(list_h5_keys(place)))
            found = name in keys[place]
        if not found:
            missing.append(video_id)
    return tuple(missing)


def _with_parents(keys: Iterable[str]) -> Iterable[str]:
    """Yield keys and their groups, as some files keep the rows of a video inside a group of its name."""
    for key in keys:
        yield key
        yield key.rpartition("/")[0]


def _locate(root: Path, layout: str, name: str, file_format: str | None) -> Path:
    if layout == "opentad":
        file_format = file_format or "npy"
        formats = LAYOUTS[layout].export_formats
        if file_format not in formats:
            raise ValueError(
                f"file_format={file_format!r} is not read; choose one of {', '.join(formats)}. A "
                "pickle could run code, so convert it where you trust its source."
            )
        return path_in_folder(root, name, f".{file_format}")
    if layout in ("2dtan", *TAN_FILES, "tsp") or (
        root.suffix in H5_SUFFIXES and layout in ("actionformer", "gtad")
    ):
        if root.is_dir():
            raise ValueError(f"layout {layout!r} keeps all videos in one file: pass the file in {root}.")
        return root
    if layout == "bmn" and (root / BMN_FOLDER).is_dir():
        root = root / BMN_FOLDER
    suffix = {"gtad": ".h5", "bmn": ".csv"}.get(layout, ".npy")
    return path_in_folder(root, name, suffix)


def _read_file(place: Path, key: str) -> ForeignFeatures:
    if place.suffix in H5_SUFFIXES:
        rows = read_h5(place, key)
        return ForeignFeatures(_to_rows(rows.features, place, key), rows.record)
    if place.suffix == ".npz":
        arrays = load_npz(place)
        if "feats" not in arrays:
            raise FeatureFileError(place, "feats", f"missing; it holds {', '.join(arrays) or 'nothing'}.")
        return ForeignFeatures(_to_rows(arrays["feats"], place, "feats"), _npz_record(arrays, place))
    load: Callable[[Path], np.ndarray] = _LOADERS[place.suffix]
    features = load(place)
    beside = read_sidecar(place, features)
    return ForeignFeatures(_to_rows(features, place, "array"), beside[1] if beside else None)


def _npz_record(arrays: dict[str, np.ndarray], place: Path) -> TrackRecord | None:
    if "record" not in arrays:
        return None
    with blame_file(place, "record"):
        return TrackRecord.from_json(str(arrays["record"]))


def _read_thumos(root: Path, key: str, video_id: str, frame_step: int) -> ForeignFeatures:
    subset = thumos_subset(video_id)
    if subset is None:
        raise ValueError(f"{video_id!r} holds neither 'val' nor 'test', which is how its file is chosen.")
    rgb = read_h5(root / f"rgb_{subset}.h5", key, frame_step)
    streams = [_to_rows(rgb.features, root / f"rgb_{subset}.h5", key)]
    flow = root / f"flow_{subset}.h5"
    if flow.is_file():
        streams.insert(0, _to_rows(read_h5(flow, key, frame_step).features, flow, key))
    shortest = min(len(rows) for rows in streams)
    features = np.concatenate([rows[:shortest] for rows in streams], axis=1)
    return ForeignFeatures(np.ascontiguousarray(features), rgb.record)


def _to_rows(array: np.ndarray, place: Path, field: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise FeatureFileError(place, field, f"expected numbers, found {array.dtype}.")
    if array.ndim > 2:  # axes of one entry, as I3D features have them: (num_rows, 1, 1, dim)
        array = array.squeeze()
        array = array[None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise FeatureFileError(
            place, field, f"expected shape (num_rows, dim), found {array.shape}; one row is (1, dim)."
        )
    with np.errstate(over="ignore"):  # infinite then, which is refused
        return np.ascontiguousarray(array, dtype=np.float32)


def _join(parts: list[ForeignFeatures], layout: str, video_id: str) -> ForeignFeatures:
    if not parts:
        raise ValueError("path is empty: pass at least one folder or file.")
    counts = [len(part.features) for part in parts]
    if len(set(counts)) > 1 and layout != "opentad":
        raise ValueError(
            f"{video_id} has {' and '.join(map(str, counts))} rows in the places given; to be joined they "
            "must be as many. Rescale them first."
        )
    longest = max(counts)
    features = [
        part.features if len(part.features) == longest else rescale_rows(part.features, longest)
        for part in parts
    ]
    records = [part.record for part in parts if part.record is not None]
    record = None
    if len(records) == len(parts):
        encoder = EncoderRecord.join([found.encoder for found in records])
        complete = join_completeness(found.complete for found in records)
        record = replace(records[counts.index(longest)], encoder=encoder, complete=complete)
    return ForeignFeatures(np.concatenate(features, axis=1), record)


def _check_dim(found: ForeignFeatures, dim: int | None, place: str | Path, video_id: str) -> ForeignFeatures:
    shape = found.features.shape
    if dim is not None and shape[1] != dim:
        turned = ", which is the number of rows: the array is channels first" if shape[0] == dim else ""
        raise FeatureFileError(
            Path(place), f"features of {video_id}", f"rows hold {shape[1]} numbers, expected {dim}{turned}."
        )
    return found
