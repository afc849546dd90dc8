"""The record of a bare array, in a JSON file beside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bsp_hf.features.track import FeatureTrack, TrackRecord
from bsp_hf.files import FeatureFileError, atomic_file, blame_file


def sidecar_path(path: Path) -> Path:
    """Return the place of the record of a bare array.

    Args:
        path (`Path`): File of the array.

    Returns:
        `Path`: The same name with `.json` added.
    """
    return path.with_name(path.name + ".json")


def write_sidecar(track: FeatureTrack, path: Path) -> None:
    """Write the times and the record of a track, with a digest that ties them to the array.

    Args:
        track (`FeatureTrack`): The track.
        path (`Path`): File of the array, already written.
    """
    content = {
        **track.record.to_dict(),
        "shape": list(track.features.shape),
        "sha256": _digest(track.features),
        "centers_s": track.centers_s.tolist(),
    }
    with atomic_file(sidecar_path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_sidecar(path: Path, features: np.ndarray) -> tuple[np.ndarray, TrackRecord] | None:
    """Read the times and the record that belong to a bare array.

    Args:
        path (`Path`): File of the array.
        features (`np.ndarray`): The array, as it was read.

    Returns:
        `tuple[np.ndarray, TrackRecord]` or `None`: `centers_s` and the record; none if there is no sidecar of
        ours.

    Raises:
        FeatureFileError: If the sidecar is damaged or belongs to another array.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return None
    with blame_file(sidecar, "JSON"):
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    if not isinstance(content, Mapping) or "format_version" not in content:
        return None  # someone else's file of that name
    missing = [name for name in ("shape", "sha256", "centers_s") if name not in content]
    if missing:
        raise FeatureFileError(sidecar, missing[0], "missing.")
    if content["shape"] != list(features.shape):
        raise FeatureFileError(
            sidecar,
            "shape",
            f"is {content['shape']}, but the array in {path.name} has {list(features.shape)}. One of the two "
            "was replaced: extract the features again.",
        )
    if content["sha256"] != _digest(features):
        raise FeatureFileError(
            sidecar,
            "sha256",
            f"does not fit the array in {path.name}. One of the two was replaced or damaged: extract the "
            "features again.",
        )
    with blame_file(sidecar, "record"):
        record = TrackRecord.from_dict(content)
    with blame_file(sidecar, "centers_s"):
        return np.array(content["centers_s"], dtype=np.float64), record


def _digest(features: np.ndarray) -> str:
    unknown = np.isnan(features)
    if unknown.any():  # a csv file has one NaN, memory has many
        features = np.where(unknown, np.float32("nan"), features)
    return hashlib.sha256(np.ascontiguousarray(features, dtype="<f4").tobytes()).hexdigest()
