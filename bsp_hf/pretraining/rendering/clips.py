"""Render labelled action clips and an untrimmed video with known boundaries: data without a download."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .files import read_json, write_h264_video, write_json
from .motions import JOINABLE_MOTION_NAMES, MOTION_NAMES, Stretch
from .scenes import render_shot

logger = logging.getLogger(__name__)

# Raise it whenever the pixels of a seed or the layout of the files change: it is part of the cache key.
FORMAT_VERSION = 1
MANIFEST_NAME = "rendered_clips.json"
_SPLITS = ("train", "test")
# A shot's seed holds its split's number, so that nothing is drawn twice; the long video counts as a third.
_LONG_VIDEO = 2
_PLAN = 3  # follows a shot's seed where lengths and kinds are drawn; the shot itself puts 0, 1 or 2 there

BoundaryKind = Literal["new_action_cut", "same_action_cut", "speed_change", "action_change"]
_KINDS: tuple[BoundaryKind, ...] = ("new_action_cut", "same_action_cut", "speed_change", "action_change")


@dataclass(frozen=True)
class RenderedBoundary:
    """A moment at which a rendered video changes.

    Args:
        time_s (`float`): The change, in seconds from the start of the video.
        frame (`int`): Index of the frame shown at `time_s`: after a cut the first of the new shot, without a
            cut the last that would look the same without the change.
        kind (`str`): `"new_action_cut"` (another place, another motion), `"same_action_cut"` (another place
            and object, the same motion), `"speed_change"` or `"action_change"` (same place, no cut).
        motion_before (`str`): Motion up to the boundary.
        motion_after (`str`): Motion from it on.
        speed_before (`float`): Factor on the motion's own pace up to the boundary.
        speed_after (`float`): The factor from it on.
    """

    time_s: float
    frame: int
    kind: BoundaryKind
    motion_before: str
    motion_after: str
    speed_before: float
    speed_after: float


@dataclass(frozen=True)
class _Format:
    """What all shots of one call have in common."""

    seed: int
    width: int
    height: int
    fps: int
    min_duration_s: float
    max_duration_s: float

    def check(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}.")
        if self.fps < 1:
            raise ValueError(f"fps must be at least 1, got {self.fps}.")
        for name, size in (("width", self.width), ("height", self.height)):
            if size < 32 or size % 2:
                raise ValueError(f"{name} must be even and at least 32 pixels, got {size}.")
        if not 1 / self.fps <= self.min_duration_s <= self.max_duration_s:
            raise ValueError(
                f"Durations of {self.min_duration_s} to {self.max_duration_s} s are impossible: the shortest "
                f"must hold a frame ({1 / self.fps:.3f} s) and not exceed the longest."
            )

    def settings(self, **counts: int) -> dict[str, Any]:  # Any: whatever JSON holds
        return {
            "format_version": FORMAT_VERSION,
            "motions": list(MOTION_NAMES),
            **counts,
            **asdict(self),
        }

    def draw_num_frames(self, rng: np.random.Generator) -> int:
        shortest, longest = round(self.min_duration_s * self.fps), round(self.max_duration_s * self.fps)
        return int(rng.integers(shortest, longest + 1))

    def render(self, path: Path, shots: Sequence[Sequence[Stretch]], seeds: Sequence[Sequence[int]]) -> None:
        frames = (
            frame
            for stretches, seed in zip(shots, seeds, strict=True)
            for frame in render_shot(stretches, seed, width=self.width, height=self.height, fps=self.fps)
        )
        write_h264_video(path, frames, fps=self.fps)


@dataclass(frozen=True)
class _Clip:
    """All that one clip file depends on."""

    name: str  # inside the folder, with forward slashes
    stretch: Stretch
    seed: tuple[int, ...]

    def render(self, folder: Path, form: _Format) -> None:
        form.render(folder / self.name, [[self.stretch]], [self.seed])

    def is_whole(self, folder: Path, recorded_bytes: int | None) -> bool:
        path = folder / self.name
        return path.is_file() and recorded_bytes in (None, path.stat().st_size)


def rendered_cache_folder() -> Path:
    """Return the folder under which rendered clips are kept: `$HF_HOME/bsp_hf/rendered_clips`.

    Without `HF_HOME` it is `bsp_hf/rendered_clips` in `$XDG_CACHE_HOME`, or else in `~/.cache`.

    Returns:
        `Path`: The folder; it may not exist yet.
    """
    cache = os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "bsp_hf" / "rendered_clips"


def render_action_clips(
    folder: Path | None = None,
    *,
    num_clips_per_class: int = 16,
    num_held_out_per_class: int = 5,
    seed: int = 0,
    width: int = 128,
    height: int = 96,
    fps: int = 25,
    min_duration_s: float = 3.0,
    max_duration_s: float = 5.0,
    num_processes: int = 1,
) -> Path:
    """Render short labelled clips into `train/CLASS/*.mp4` and `test/CLASS/*.mp4`.

    The class is the motion (one of `MOTION_NAMES`): colours, textures, shapes, sizes and camera are drawn
    from the same distributions in every class; pace, direction, phase and path vary inside it. No drawing is
    in both splits. The pixels depend on the arguments alone, not on the number of processes. A folder that is
    already complete is returned at once; one that was interrupted, or lost files, is completed.

    Args:
        folder (`Path`, *optional*): Where to write. By default a folder of `rendered_cache_folder()` that is
            named by a hash of the other arguments.
        num_clips_per_class (`int`, *optional*, defaults to 16): Training clips of each class.
        num_held_out_per_class (`int`, *optional*, defaults to 5): Test clips of each class.
        seed (`int`, *optional*, defaults to 0): Non-negative; another seed gives entirely other clips.
        width (`int`, *optional*, defaults to 128): Width in pixels, even, at least 32.
        height (`int`, *optional*, defaults to 96): Height in pixels, even, at least 32.
        fps (`int`, *optional*, defaults to 25): Frames per second.
        min_duration_s (`float`, *optional*, defaults to 3.0): Shortest clip, in seconds.
        max_duration_s (`float`, *optional*, defaults to 5.0): Longest clip, in seconds.
        num_processes (`int`, *optional*, defaults to 1): Processes that render. More than one needs the
            caller's script to be guarded by `if __name__ == "__main__"`, as `multiprocessing` asks.

    Returns:
        `Path`: The folder that holds `train` and `test`.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If `folder` holds other things, or clips rendered with other arguments.
    """
    form = _Format(seed, width, height, fps, float(min_duration_s), float(max_duration_s))
    form.check()
    counts = {"num_clips_per_class": num_clips_per_class, "num_held_out_per_class": num_held_out_per_class}
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must not be negative, got {count}.")
    settings = form.settings(**counts)
    folder = rendered_cache_folder() / _hash_settings(settings) if folder is None else Path(folder)
    manifest = _read_manifest(folder, settings)
    recorded_bytes = manifest.get("num_bytes", {})
    clips = _list_clips(form, (num_clips_per_class, num_held_out_per_class))
    missing = [clip for clip in clips if not clip.is_whole(folder, recorded_bytes.get(clip.name))]
    if manifest.get("is_complete") and not missing:
        return folder

    logger.info("Rendering %d of %d action clips into %s", len(missing), len(clips), folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever finds a clip beside this file knows its settings; that it is whole it knows from the rename.
    manifest = {"settings": settings, "is_complete": False, "num_bytes": recorded_bytes}
    write_json(folder / MANIFEST_NAME, manifest)
    for clip_folder in {(folder / clip.name).parent for clip in clips}:
        clip_folder.mkdir(parents=True, exist_ok=True)
    render = partial(_Clip.render, folder=folder, form=form)
    if num_processes > 1:
        with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as executor:
            list(executor.map(render, missing))
    else:
        for clip in missing:
            render(clip)
    num_bytes = {clip.name: (folder / clip.name).stat().st_size for clip in clips}
    write_json(folder / MANIFEST_NAME, {**manifest, "is_complete": True, "num_bytes": num_bytes})
    return folder


def render_long_video(
    path: Path,
    seed: int = 0,
    num_actions: int = 8,
    *,
    width: int = 128,
    height: int = 96,
    fps: int = 25,
    min_action_s: float = 2.0,
    max_action_s: float = 4.5,
) -> tuple[RenderedBoundary, ...]:
    """Render one untrimmed video of several actions, and the truth about its boundaries beside it.

    The four kinds of boundary take turns in random order: cuts to another or to the same action, and changes
    of speed or action without a cut. `NAME.boundaries.json` beside `NAME.mp4` holds the boundaries, the
    segments between them (seconds, half-open) and the arguments. An existing video of the same arguments is
    kept.

    Args:
        path (`Path`): The mp4 file to write; missing folders are made.
        seed (`int`, *optional*, defaults to 0): Non-negative; fixes everything that is drawn.
        num_actions (`int`, *optional*, defaults to 8): Segments between which the boundaries lie, at least 1.
        width (`int`, *optional*, defaults to 128): Width in pixels, even, at least 32.
        height (`int`, *optional*, defaults to 96): Height in pixels, even, at least 32.
        fps (`int`, *optional*, defaults to 25): Frames per second.
        min_action_s (`float`, *optional*, defaults to 2.0): Shortest segment, in seconds.
        max_action_s (`float`, *optional*, defaults to 4.5): Longest segment, in seconds.

    Returns:
        `tuple`: The `num_actions - 1` boundaries (`RenderedBoundary`), in order of time.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If `path` is a video that was not rendered by this function with these arguments.
    """
    path = Path(path)
    form = _Format(seed, width, height, fps, float(min_action_s), float(max_action_s))
    form.check()
    if num_actions < 1:
        raise ValueError(f"num_actions must be at least 1, got {num_actions}.")
    settings = form.settings(num_actions=num_actions)
    shots, boundaries = _plan_long_video(form, num_actions)
    truth_path = path.with_name(f"{path.stem}.boundaries.json")
    if path.exists():
        if not truth_path.is_file() or read_json(truth_path).get("settings") != settings:
            raise FileExistsError(f"{path} exists and holds another video; pass another path or delete it.")
        return boundaries

    path.parent.mkdir(parents=True, exist_ok=True)
    # The truth goes first: a video that stands under its name then always has its truth beside it.
    truth = _describe_long_video(fps, shots, boundaries)
    write_json(truth_path, {"video": path.name, **truth, "settings": settings})
    form.render(path, shots, [(seed, _LONG_VIDEO, index) for index in range(len(shots))])
    return boundaries


def _plan_long_video(
    form: _Format, num_actions: int
) -> tuple[list[list[Stretch]], tuple[RenderedBoundary, ...]]:
    """Return the stretches of every shot, and the boundaries between stretches."""
    rng = np.random.default_rng([form.seed, _LONG_VIDEO, 0, _PLAN])
    kinds: list[BoundaryKind] = []
    while len(kinds) < num_actions - 1:
        kinds += [_KINDS[index] for index in rng.permutation(len(_KINDS))]
    kinds = kinds[: num_actions - 1]
    motion = _choose_motion(rng, "new_action_cut", kinds, avoid=None)
    shots = [[Stretch(motion, form.draw_num_frames(rng))]]
    boundaries: list[RenderedBoundary] = []
    frame = 0
    for index, kind in enumerate(kinds):
        before = shots[-1][-1]
        frame += before.num_frames
        motion, speed = before.motion, 1.0
        if kind in ("new_action_cut", "action_change"):
            motion = _choose_motion(rng, kind, kinds[index + 1 :], avoid=before.motion)
        elif kind == "speed_change" and before.speed == 1.0:
            speed = float(rng.uniform(1.8, 2.6) ** rng.choice([-1, 1]))
        after = Stretch(motion, form.draw_num_frames(rng), speed)
        if kind.endswith("_cut"):
            shots.append([after])
        else:
            shots[-1].append(after)
        boundary = RenderedBoundary(frame / form.fps, frame, kind, before.motion, motion, before.speed, speed)
        boundaries.append(boundary)
    return shots, tuple(boundaries)


def _choose_motion(
    rng: np.random.Generator, kind: BoundaryKind, later_kinds: list[BoundaryKind], avoid: str | None
) -> str:
    """Draw another motion than `avoid`, one that can be joined on where no cut separates it from the next."""
    next_change = next((later for later in later_kinds if later in ("new_action_cut", "action_change")), None)
    is_joined = "action_change" in (kind, next_change)
    names = [name for name in (JOINABLE_MOTION_NAMES if is_joined else MOTION_NAMES) if name != avoid]
    return names[rng.integers(len(names))]


def _describe_long_video(
    fps: int, shots: list[list[Stretch]], boundaries: tuple[RenderedBoundary, ...]
) -> dict[str, Any]:  # Any: whatever JSON holds
    stretches = [stretch for shot in shots for stretch in shot]
    num_frames = sum(stretch.num_frames for stretch in stretches)
    edges_s = [0.0, *[boundary.time_s for boundary in boundaries], num_frames / fps]
    segments = [
        {"start_s": start_s, "end_s": end_s, "label": stretch.motion, "speed": stretch.speed}
        for (start_s, end_s), stretch in zip(pairwise(edges_s), stretches, strict=True)
    ]
    return {
        "fps": fps,
        "num_frames": num_frames,
        "duration_s": num_frames / fps,
        "boundaries": [asdict(boundary) for boundary in boundaries],
        "segments": segments,
    }


def _list_clips(form: _Format, counts: tuple[int, int]) -> list[_Clip]:
    clips = []
    for split, (split_name, count) in enumerate(zip(_SPLITS, counts, strict=True)):
        for label, motion in enumerate(MOTION_NAMES):
            for index in range(count):
                seed = (form.seed, split, label, index)
                num_frames = form.draw_num_frames(np.random.default_rng([*seed, _PLAN]))
                name = f"{split_name}/{motion}/{motion}_{index:04d}.mp4"
                clips.append(_Clip(name, Stretch(motion, num_frames), seed))
    return clips


def _read_manifest(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the folder's manifest, empty for a new folder; refuse a folder of anything else."""
    if not (folder / MANIFEST_NAME).is_file():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} holds other files; pass a new or empty folder.")
        return {}
    manifest = read_json(folder / MANIFEST_NAME)
    if manifest.get("settings") != settings:
        raise FileExistsError(
            f"{folder} holds clips rendered with other settings (see {MANIFEST_NAME}); pass another folder, "
            "or delete this one."
        )
    return manifest


def _hash_settings(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
