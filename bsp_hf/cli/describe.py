"""What `bsp-hf info` says of videos and of features, as plain facts by name."""

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

Facts = dict[str, Any]  # Any: whatever JSON holds
_CHECKPOINT_SUFFIXES = (".pth", ".tar", ".ckpt", ".bin")
# Those of `bsp_hf.features.storage.formats`, whose import takes seconds; a video or a checkpoint need not
# wait for it.
_TRACK_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".pt", ".csv", ".safetensors")


def describe(path: Path, read_all: bool = False, most: int = 10) -> Facts:
    """Tell what a path holds.

    Args:
        path (`Path`): A video, features, or a checkpoint; file or folder.
        read_all (`bool`, *optional*, defaults to `False`): Whether to decode a video to its end.
        most (`int`, *optional*, defaults to 10): Most videos of a feature folder to list.

    Returns:
        `dict`: Facts by name; names that end in `_s` hold seconds. `kind` says what it is.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If it is nothing that this package reads, or damaged.
    """
    from .describe_checkpoint import describe_checkpoint

    if not path.exists():
        raise FileNotFoundError(f"there is nothing at {path}.")
    if path.is_dir():
        if (path / "config.json").is_file():
            return describe_checkpoint(path)
        return describe_track_folder(path, most)
    if path.suffix in _CHECKPOINT_SUFFIXES:
        return describe_checkpoint(path)
    if path.suffix in _TRACK_SUFFIXES:
        return _describe_feature_file(path, most)
    return describe_video(path, read_all)


def describe_video(path: Path, read_all: bool) -> Facts:
    """Tell what the header and the first picture say, or what reading the whole video gives."""
    from bsp_hf.encoder.video import decoder_version, open_video

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is among the facts
        with open_video(path) as video:
            about = video.metadata
            facts: Facts = {
                "kind": "video",
                "size": f"{about.width}x{about.height}",
                "fps": about.fps,
                "codec": about.codec,
                "container": about.container,
                "pixel_format": about.pixel_format,
                "rotation_degrees": about.rotation,
                "mirrored": about.mirrored,
                "pixel_aspect": about.pixel_aspect,
                "duration_declared_s": about.duration_declared_s,
                "num_frames_declared": about.num_frames_declared,
                "bytes": path.stat().st_size,
                "decoder": decoder_version(),
            }
            if read_all:
                times_s = np.array([frame.time_s for frame in video])
                report = video.report
                steps_s = np.diff(times_s)
                facts |= {
                    "num_frames": report.num_frames,
                    "duration_s": report.duration_s,
                    "first_frame_s": float(times_s[0]),
                    "last_frame_s": float(times_s[-1]),
                    "frame_step_s": {"shortest": float(steps_s.min()), "longest": float(steps_s.max())}
                    if len(steps_s)
                    else None,
                    "complete": report.complete,
                    "missing": report.reason or "nothing",
                    "num_corrupt_frames": report.num_corrupt_frames,
                    "num_repaired_times": report.num_repaired_times,
                }
    return facts


def describe_track(track: Any) -> Facts:  # Any: a FeatureTrack, whose import is slow
    """Tell what the rows of a track are, when, and who made them."""
    record, values = track.record, track.features
    finite = values[np.isfinite(values)]
    return {
        "kind": "features of a video",
        "video_id": record.video_id,
        "rows": f"{track.num_snippets} snippets x {track.dim} features",
        "first_center_s": float(track.centers_s[0]) if track.num_snippets else None,
        "last_center_s": float(track.centers_s[-1]) if track.num_snippets else None,
        "snippet_s": record.snippet_frames / record.fps,
        "stride_s": record.stride_frames / record.fps,
        "snippet_frames": record.snippet_frames,
        "stride_frames": record.stride_frames,
        "fps": record.fps,
        "num_frames": record.num_frames,
        "duration_s": record.duration_s,
        "complete": record.complete,
        "error": record.error or "none",
        "rescaled_from": record.rescaled_from or "not rescaled",
        "encoder": record.encoder.to_dict(),
        "decoder": record.decoder_version,
        "values": {
            "least": float(finite.min()) if finite.size else None,
            "mean": float(finite.mean()) if finite.size else None,
            "largest": float(finite.max()) if finite.size else None,
            "not finite": int(values.size - finite.size),
        },
    }


def describe_track_folder(folder: Path, most: int) -> Facts:
    """Tell what the tracks of a folder, data set or HDF5 file have in common, and list some of them."""
    from bsp_hf.features.storage.folders import read_tracks

    tracks: Iterator[Any] = iter(read_tracks(folder))
    listed: list[str] = []
    incomplete: list[str] = []
    encoders: dict[str, Facts] = {}
    total_s, num_tracks, num_rows = 0.0, 0, 0
    for track in tracks:
        num_tracks += 1
        num_rows += track.num_snippets
        total_s += track.record.duration_s
        encoders.setdefault(str(track.record.encoder.to_dict()), track.record.encoder.to_dict())
        if not track.record.complete:
            incomplete.append(track.record.video_id)
        if len(listed) < most:
            shape = f"{track.num_snippets} x {track.dim}"
            listed.append(f"{track.record.video_id} ({shape}, {track.record.duration_s:.2f} s)")
    if not num_tracks:
        raise ValueError(
            f"{folder} holds neither a checkpoint (config.json) nor features; of videos, name the files: "
            f"bsp-hf info {folder / '*'}"
        )
    return {
        "kind": "features of several videos",
        "num_videos": num_tracks,
        "num_snippets": num_rows,
        "duration_s": total_s,
        "videos": [*listed, *([f"and {num_tracks - len(listed)} more"] if num_tracks > len(listed) else [])],
        "incomplete": incomplete or "none",
        "encoder": next(iter(encoders.values())) if len(encoders) == 1 else list(encoders.values()),
    }


def _describe_feature_file(path: Path, most: int) -> Facts:
    from bsp_hf.features.storage.formats import H5_SUFFIXES, read_track
    from bsp_hf.features.storage.h5 import list_h5_keys
    from bsp_hf.files import FeatureFileError

    from .describe_checkpoint import describe_checkpoint

    try:
        if path.suffix in H5_SUFFIXES and len(list_h5_keys(path)) != 1:
            return describe_track_folder(path, most)
        return describe_track(read_track(path))
    except FeatureFileError as error:
        if path.suffix in (".pt", ".safetensors"):
            try:
                return describe_checkpoint(path)
            except ValueError:
                pass
        bare = _describe_bare(path)
        if bare is None:
            raise
        return {**bare, "record": str(error)}


def _describe_bare(path: Path) -> Facts | None:
    """Tell what an array without a record holds; None if it is no such file."""
    from bsp_hf.features.storage import formats as array_files
    from bsp_hf.features.storage import h5 as h5_files

    readers: dict[str, Any] = {
        ".npy": lambda: {path.stem: array_files.load_npy(path)},
        ".npz": lambda: array_files.load_npz(path),
        ".csv": lambda: {path.stem: array_files.load_csv(path)},
        ".pt": lambda: {path.stem: array_files.load_pt(path)},
        ".h5": lambda: {k: h5_files.read_h5(path, k).features for k in h5_files.list_h5_keys(path)[:10]},
    }
    read = readers.get(".h5" if path.suffix == ".hdf5" else path.suffix)
    if read is None:
        return None
    try:
        arrays = read()
    except (OSError, ValueError):
        return None
    shapes = {name: " x ".join(map(str, array.shape)) for name, array in islice(arrays.items(), 10)}
    return {"kind": "arrays without a record (times unknown)", "shapes": shapes}
