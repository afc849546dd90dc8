"""Render labelled action clips and an untrimmed video with known boundaries: data without a download."""

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bsp_hf.files import atomic_folder, atomic_write_text

from .files import write_h264_video
from .motions import JOINABLE_MOTION_NAMES, MOTION_NAMES, Stretch
from .scenes import render_shot

logger = logging.getLogger(__name__)

# Raise it whenever the pixels of a seed or the layout of the files change: it is part of the cache key.
FORMAT_VERSION = 1
MANIFEST_NAME = "rendered_clips.json"
# A shot's seed holds its split's number, so that nothing is drawn twice; the long video counts as a third.
_SPLITS = ("train", "test")
_LONG_VIDEO = 2
_PLAN = 3  # follows a shot's seed where lengths and kinds are drawn; the shot itself puts 0, 1 or 2 there

BoundaryKind = Literal["new_action_cut", "same_action_cut", "speed_change", "action_change"]
_KINDS: tuple[BoundaryKind, ...] = ("new_action_cut", "same_action_cut", "speed_change", "action_change")


@dataclass(frozen=True)
class RenderedBoundary:
    """A moment at which a rendered video changes.

    `frame` is shown at `time_s`: after a cut it is the first of the new shot, without a cut the last that
    would look the same without the change. A `"new_action_cut"` goes to another place and motion, a
    `"same_action_cut"` to another place and object with the same motion; in a `"speed_change"` and an
    `"action_change"` the place stays. Speeds are factors on the motion's own pace.
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

    def __post_init__(self) -> None:
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

    def to_dict(self, **counts: int) -> dict[str, Any]:  # Any: JSON values
        motions = list(MOTION_NAMES)
        return {"format_version": FORMAT_VERSION, "motions": motions, **counts, **asdict(self)}

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

    def render_clip(self, folder: Path, name: str, seed: tuple[int, ...]) -> None:
        """Render one clip; `seed` is `(seed, split, label, index)`."""
        num_frames = self.draw_num_frames(np.random.default_rng([*seed, _PLAN]))
        self.render(folder / name, [[Stretch(MOTION_NAMES[seed[2]], num_frames)]], [seed])


def rendered_cache_folder() -> Path:
    """Return `bsp_hf/rendered_clips` in `$HF_HOME`, or else in `$XDG_CACHE_HOME`, or else in `~/.cache`."""
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
    """Render short labelled clips into `train/CLASS/*.mp4` and `test/CLASS/*.mp4`; return the folder.

    The class is the motion (one of `MOTION_NAMES`): colours, textures, shapes, sizes and camera are drawn
    from the same distributions in every class; pace, direction, phase and path vary inside it. No drawing is
    in both splits. The pixels depend on the arguments alone, not on the number of processes. The folder
    appears whole or not at all; a complete one is returned at once, one that lost files is rendered anew.
    Without `folder` it lies in `rendered_cache_folder()`, named by a hash of the other arguments.
    """
    form = _Format(seed, width, height, fps, float(min_duration_s), float(max_duration_s))
    counts = {"num_clips_per_class": num_clips_per_class, "num_held_out_per_class": num_held_out_per_class}
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must not be negative, got {count}.")
    settings = form.to_dict(**counts)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = rendered_cache_folder() / key if folder is None else Path(folder)
    if _is_whole(folder, settings):
        return folder

    clips = [
        (f"{split_name}/{motion}/{motion}_{index:04d}.mp4", (seed, split, label, index))
        for split, (split_name, count) in enumerate(zip(_SPLITS, counts.values(), strict=True))
        for label, motion in enumerate(MOTION_NAMES)
        for index in range(count)
    ]
    logger.info("rendering %d action clips into %s", len(clips), folder)
    with atomic_folder(folder) as temporary:
        work = [[temporary] * len(clips), *zip(*clips, strict=True)]
        if num_processes > 1:
            with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as executor:
                list(executor.map(form.render_clip, *work))
        else:
            list(map(form.render_clip, *work))
        num_bytes = {name: (temporary / name).stat().st_size for name, _ in clips}
        manifest = {"settings": settings, "num_bytes": num_bytes}
        atomic_write_text(temporary / MANIFEST_NAME, json.dumps(manifest, indent=1) + "\n")
    return folder


def _is_whole(folder: Path, settings: dict[str, Any]) -> bool:  # Any: JSON values
    """Return whether the clips are there; refuse a folder of anything else."""
    if not (folder / MANIFEST_NAME).is_file():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} holds other files; pass a new or empty folder.")
        return False
    manifest = _read_json(folder / MANIFEST_NAME)
    if manifest.get("settings") != settings:
        raise FileExistsError(
            f"{folder} holds clips rendered with other settings (see {MANIFEST_NAME}); pass another folder, "
            "or delete this one."
        )
    files = {name: folder / name for name in manifest["num_bytes"]}
    return all(
        file.is_file() and file.stat().st_size == manifest["num_bytes"][name] for name, file in files.items()
    )


def _read_json(path: Path) -> dict[str, Any]:  # Any: JSON values
    """Return the object in a JSON file; empty if it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


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
    """Render one untrimmed video of several actions; return its boundaries, in order of time.

    The four kinds of boundary take turns in random order: cuts to another or to the same action, and changes
    of speed or action without a cut. `NAME.boundaries.json` beside `NAME.mp4` holds the boundaries, the
    segments between them (seconds, half-open) and the arguments. An existing video of the same arguments is
    kept. A segment lasts from `min_action_s` to `max_action_s`.
    """
    path = Path(path)
    form = _Format(seed, width, height, fps, float(min_action_s), float(max_action_s))
    if num_actions < 1:
        raise ValueError(f"num_actions must be at least 1, got {num_actions}.")
    settings = form.to_dict(num_actions=num_actions)
    shots, boundaries = _plan_long_video(form, num_actions)
    truth_path = path.with_name(f"{path.stem}.boundaries.json")
    if path.exists():
        if not truth_path.is_file() or _read_json(truth_path).get("settings") != settings:
            raise FileExistsError(f"{path} exists and holds another video; pass another path or delete it.")
        return boundaries

    # The truth goes first: a video that stands under its name then always has its truth beside it.
    truth = _describe_long_video(fps, shots, boundaries)
    record = {"video": path.name, **truth, "settings": settings}
    atomic_write_text(truth_path, json.dumps(record, indent=1) + "\n")
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
