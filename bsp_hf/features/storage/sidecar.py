"""The record of a bare array, in a JSON file beside it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bsp_hf.features.track import FeatureTrack, TrackRecord, digest_rows
from bsp_hf.files import FeatureFileError, atomic_write_text, blame_file


def sidecar_path(path: Path) -> Path:
    """Return the file of the record of a bare array: the same name with `.json` added."""
    return path.with_name(path.name + ".json")


def write_sidecar(track: FeatureTrack, path: Path, scratch: Path | None = None) -> None:
    """Write the times and the record of a track beside its array, with a digest that ties them to it."""
    content = {
        **track.record.to_dict(),
        "shape": list(track.features.shape),
        "sha256": digest_rows(track.features),
        "centers_s": track.centers_s.tolist(),
    }
    atomic_write_text(sidecar_path(path), json.dumps(content, indent=1) + "\n", scratch)


def read_sidecar(path: Path, features: np.ndarray) -> tuple[np.ndarray, TrackRecord] | None:
    """Read `centers_s` and the record of the array in a file; `None` if there is no sidecar of ours."""
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
    if content["sha256"] != digest_rows(features):
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
