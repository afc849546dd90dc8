"""Long videos of clips one after the other: what is shown when is known exactly."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from bsp_hf.encoder.video import VideoReader
from bsp_hf.files import atomic_write_text
from bsp_hf.pretraining.rendering.files import write_h264_video
from bsp_hf.pretraining.sources import TrimmedVideo

FPS, SIDE, LONGEST_S = 25, 72, 4.0
ACTIONS = ("Fight", "PushUp", "Punch", "YoYo")
PHRASES = {
    "Bend": "bends down", "Fight": "fights somebody", "GallopSideways": "gallops sideways",
    "JumpForward": "jumps forward", "JumpInPlace": "jumps up and down in place",
    "JumpingJack": "does jumping jacks", "NoFight": "walks around without a fight", "Punch": "punches a bag",
    "PushUp": "does push ups", "Run": "runs", "Skip": "skips", "Walk": "walks",
    "WaveOneHand": "waves one hand", "WaveTwoHands": "waves both hands", "YoYo": "plays with a yoyo",
}  # fmt: skip


@lru_cache(maxsize=256)
def read_clip(path: Path, longest_s: float) -> np.ndarray:
    """Return the frames of a clip's middle, `(num_frames, SIDE, SIDE, 3)`, at FPS."""
    images = []
    with VideoReader(path, fps=FPS) as reader:
        for frame in reader:
            image = Image.fromarray(np.asarray(frame.image))
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            images.append(np.asarray(image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))))
    excess = max(0, len(images) - round(longest_s * FPS))
    return np.stack(images[excess // 2 : len(images) - excess + excess // 2])


def plan_video(
    sources: Sequence[TrimmedVideo], actions: Sequence[str], rng: np.random.Generator
) -> list[TrimmedVideo]:
    """Draw the clips of one video: one action class, once or twice, among other classes."""
    by_label: dict[str, list[TrimmedVideo]] = {}
    for source in sources:
        by_label.setdefault(source.label, []).append(source)
    background = [label for label in sorted(by_label) if label not in actions]
    labels = [str(rng.choice([label for label in actions if label in by_label]))] * int(rng.integers(1, 3))
    labels += rng.choice(background, min(int(rng.integers(4, 6)), len(background)), replace=False).tolist()
    order = rng.permutation(len(labels))
    picked = {label: rng.permutation(len(by_label[label])).tolist() for label in sorted(set(labels))}
    labels = [labels[place] for place in order]
    # Of an action with one clip, a second showing is left out.
    return [by_label[label][picked[label].pop()] for label in labels if picked[label]]


def describe_video(
    labels: Sequence[str], ends_s: Sequence[float], subset: str, targets: Sequence[str]
) -> dict:
    """Return the annotations of a video of clips: those of target classes, a sentence for what comes once."""
    starts_s = [0.0, *ends_s[:-1]]
    record: dict = {"duration": float(ends_s[-1]), "subset": subset, "segments": [], "queries": []}
    for label, start_s, end_s in zip(labels, starts_s, ends_s, strict=True):
        window = {"start": float(start_s), "end": float(end_s)}
        if label in targets:
            record["segments"].append({**window, "label": label})
        if labels.count(label) == 1:
            record["queries"].append({**window, "sentence": f"a person {PHRASES.get(label, label)}"})
    return record


def join_clips(
    clips: Sequence[np.ndarray], half_widths: Sequence[int]
) -> tuple[list[np.ndarray], list[float]]:
    """Return the frames of a video of clips, and at which second each ends.

    `half_widths` has half the frames of the cross-fade at each join, 0 for a cut. A fade is over the last
    frames of one clip and the first of the next, held.
    """
    frames: list[np.ndarray] = []
    ends_s = []
    for place, clip in enumerate(clips):
        first = len(frames)
        frames.extend(clip)
        ends_s.append(len(frames) / FPS)
        if place and half_widths[place - 1]:
            half = half_widths[place - 1]
            before, after = frames[first - 1].astype(np.float32), frames[first].astype(np.float32)
            for offset in range(-half, half):
                if 0 <= first + offset < len(frames):
                    share = (offset + half + 0.5) / (2 * half)
                    shown = frames[first + offset].astype(np.float32)
                    other = after if offset < 0 else before
                    weight = share if offset < 0 else 1 - share
                    mixed = (1 - weight) * shown + weight * other
                    frames[first + offset] = mixed.round().astype(np.uint8)
    return frames, ends_s


def choose_actions(labels: Sequence[str]) -> list[str]:
    """Return the classes of which every video shows one: those of `actions_mini`, else every second one."""
    known = [label for label in sorted(set(labels)) if label in ACTIONS]
    return known if known else choose_targets(labels)


def choose_targets(labels: Sequence[str]) -> list[str]:
    """Return the classes that localizers look for: every second one.

    Choice: with classes of one source only, such as `ACTIONS`, the look of the source tells target from
    background, and random features find them as well as any. Each source of several classes has both.
    """
    return sorted(set(labels))[::2]


def make_concatenations(
    sources: Sequence[TrimmedVideo], folder: Path, num_videos: int, longest_s: float = LONGEST_S
) -> dict:
    """Write videos of held-out clips and their annotations; return how many of what there are.

    Half of the groups (people, cameras, scenes) make the videos that localizers are trained on, the others
    those that test them: two thirds and a third of the videos. Joins are cuts and cross-fades in turn.
    """
    labels = [source.label for source in sources]
    actions, targets = choose_actions(labels), choose_targets(labels)
    halves = _split_groups(sources)
    rng = np.random.default_rng(0)
    database, joins = {}, {}
    for number in range(num_videos):
        subset = "test" if number % 3 == 2 else "train"
        video_id = f"{subset}_{number:03d}"
        plan = plan_video(halves[subset], actions, rng)
        lengths_s = rng.uniform(0.4, 1.0, len(plan)) * longest_s
        half_widths = [int(rng.choice([0, 0, 2, 4, 6])) for _ in plan[1:]]
        clips = [read_clip(source.path, LONGEST_S) for source in plan]
        clips = [
            clip[: max(round(length_s * FPS), 12)] for clip, length_s in zip(clips, lengths_s, strict=True)
        ]
        frames, ends_s = join_clips(clips, half_widths)
        path = folder / "videos" / f"{video_id}.mp4"
        if not path.is_file():
            write_h264_video(path, frames, fps=FPS)
        database[video_id] = describe_video([s.label for s in plan], ends_s, subset, targets)
        joins[video_id] = {"duration": ends_s[-1], "subset": subset, "boundaries": [ends_s[:-1]]}
        joins[video_id]["labels"] = [source.label for source in plan]
    atomic_write_text(folder / "annotations.json", json.dumps(database, indent=1) + "\n")
    atomic_write_text(folder / "boundaries.json", json.dumps(joins, indent=1) + "\n")
    return {
        "num_videos": {name: sum(v["subset"] == name for v in database.values()) for name in halves},
        "num_clips": {name: len(part) for name, part in halves.items()},
        "num_segments": sum(len(video["segments"]) for video in database.values()),
        "num_queries": sum(len(video["queries"]) for video in database.values()),
        "targets": targets,
    }


def _split_groups(sources: Sequence[TrimmedVideo]) -> dict[str, list[TrimmedVideo]]:
    """Return sources by subset, whole groups in one, every class in both where it has two groups."""
    halves: dict[str, list[TrimmedVideo]] = {"train": [], "test": []}
    place: dict[str, str] = {}
    for label in sorted({source.label for source in sources}):
        for source in (source for source in sources if source.label == label):
            if source.group not in place:
                counts = {name: sum(s.label == label for s in part) for name, part in halves.items()}
                place[source.group] = min(halves, key=lambda name: counts[name])
            halves[place[source.group]].append(source)
    return halves
