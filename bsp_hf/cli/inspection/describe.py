"""What `bsp-hf info` prints of videos and of features, as plain facts by name."""

import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bsp_hf.features.storage import formats, h5
from bsp_hf.features.storage.folders import read_tracks
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import FeatureFileError

from .describe_checkpoint import describe_checkpoint

Facts = dict[str, Any]  # Any: whatever JSON holds
_CHECKPOINT_SUFFIXES = (".pth", ".tar", ".ckpt", ".bin")
# Readers of arrays that have no record.
_ARRAY_READERS: dict[str, Any] = {
    ".npy": lambda path: {path.stem: formats.load_npy(path)},
    ".npz": formats.load_npz,
    ".csv": lambda path: {path.stem: formats.load_csv(path)},
    ".pt": lambda path: {path.stem: formats.load_pt(path)},
    **dict.fromkeys(
        formats.H5_SUFFIXES,
        lambda path: {key: h5.read_h5(path, key).features for key in h5.list_h5_keys(path)[:10]},
    ),
}


def describe(path: Path, read_all: bool = False, most: int = 10) -> Facts:
    """Return facts about a video, features or a checkpoint, file or folder; names in `_s` hold seconds."""
    if not path.exists():
        raise FileNotFoundError(f"there is nothing at {path}.")
    if path.suffix in _CHECKPOINT_SUFFIXES or (path / "config.json").is_file():
        return describe_checkpoint(path)
    if path.is_dir():
        return _describe_tracks(path, most)
    if path.suffix in formats.TRACK_SUFFIXES:
        return _describe_feature_file(path, most)
    return _describe_video(path, read_all)


def _describe_video(path: Path, read_all: bool) -> Facts:
    """Return what the header and the first picture say, or what reading the whole video gives."""
    from bsp_hf.encoder.video import VideoReader, decoder_version

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is among the facts
        with VideoReader(path) as video:
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
            if not read_all:
                return facts
            times_s = np.array([frame.time_s for frame in video])
            report, steps_s = video.report, np.diff(times_s)
            step_s = (
                {"shortest": float(steps_s.min()), "longest": float(steps_s.max())} if len(steps_s) else None
            )
            return facts | {
                "num_frames": report.num_frames,
                "duration_s": report.duration_s,
                "first_frame_s": float(times_s[0]),
                "last_frame_s": float(times_s[-1]),
                "frame_step_s": step_s,
                "complete": report.complete,
                "missing": report.reason or "nothing",
                "num_corrupt_frames": report.num_corrupt_frames,
                "num_repaired_times": report.num_repaired_times,
            }


def _describe_track(track: FeatureTrack) -> Facts:
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


def _describe_tracks(path: Path, most: int) -> Facts:
    """Return what the tracks of a folder, data set or HDF5 file have in common, and a list of some."""
    listed: list[str] = []
    incomplete: list[str] = []
    unknown: list[str] = []
    encoders: dict[str, Facts] = {}
    total_s, num_tracks, num_rows = 0.0, 0, 0
    for track in read_tracks(path):
        num_tracks += 1
        num_rows += track.num_snippets
        total_s += track.record.duration_s
        encoders.setdefault(str(track.record.encoder.to_dict()), track.record.encoder.to_dict())
        if not track.record.complete:
            incomplete.append(track.record.video_id)
        elif track.record.complete == "unknown":
            unknown.append(track.record.video_id)
        if len(listed) < most:
            shape = f"{track.num_snippets} x {track.dim}"
            listed.append(f"{track.record.video_id} ({shape}, {track.record.duration_s:.2f} s)")
    if not num_tracks:
        raise ValueError(
            f"{path} holds neither a checkpoint (config.json) nor features; of videos, name the files: "
            f"bsp-hf info {path / '*'}"
        )
    return {
        "kind": "features of several videos",
        "num_videos": num_tracks,
        "num_snippets": num_rows,
        "duration_s": total_s,
        "videos": [*listed, *([f"and {num_tracks - len(listed)} more"] if num_tracks > len(listed) else [])],
        "incomplete": incomplete or "none",
        "perhaps_cut": unknown or "none",
        "encoder": next(iter(encoders.values())) if len(encoders) == 1 else list(encoders.values()),
    }


def _describe_feature_file(path: Path, most: int) -> Facts:
    try:
        if path.suffix in formats.H5_SUFFIXES and len(h5.list_h5_keys(path)) != 1:
            return _describe_tracks(path, most)
        return _describe_track(formats.read_track(path))
    except FeatureFileError as error:
        if path.suffix in (".pt", ".safetensors"):
            try:
                return describe_checkpoint(path)
            except ValueError:
                pass
        if path.suffix not in _ARRAY_READERS:
            raise
        try:
            arrays = _ARRAY_READERS[path.suffix](path)
        except (OSError, ValueError):
            raise error from None
        shapes = {name: " x ".join(map(str, array.shape)) for name, array in islice(arrays.items(), 10)}
        return {
            "kind": "arrays without a record (times unknown)",
            "shapes": shapes,
            "record": str(error),
        }
