"""Videos and features of the linear probes of `compare_presets.py`, all in memory.

What is asked of which videos, and how the probes answer, is in `examples/reproduction/probes.py`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import example_modules  # noqa: F401  finds examples/reproduction
import numpy as np
import torch
from reproduction.probes import (
    SNIPPET_FRAMES,
    Answers,
    ProbeVideo,
    cycle_video,
    episode_truths,
    join_truths,
    score_of_answers,
)
from reproduction.scoring import paired_difference

from bsp_hf.encoder.video import index_frames
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.sources import TrimmedVideo


@dataclass(frozen=True, eq=False, kw_only=True)
class FramesToProbe(ProbeVideo):
    """A video with its frames, uint8 `(num_frames, height, width, 3)`."""

    frames: np.ndarray


def _read_all(path: Path, store: FrameStore) -> np.ndarray:
    num_frames = index_frames(path).num_frames
    return store.read(TrimmedVideo(path, "", path.name, num_frames=num_frames), np.arange(num_frames))


def _starts(num_frames: int, stride: int) -> np.ndarray:
    return np.arange(0, num_frames - SNIPPET_FRAMES + 1, stride)


def join_videos(
    sources: list[TrimmedVideo], store: FrameStore, size: int, num_videos: int = 40
) -> list[FramesToProbe]:
    """Concatenate parts of held-out clips; half of the groups train the probe, the others test it."""
    rng = np.random.default_rng(0)
    classes = sorted({source.label for source in sources})
    groups = rng.permutation(sorted({source.group for source in sources}))
    test_groups = set(groups[: len(groups) // 2].tolist())
    videos = []
    for number in range(num_videos):
        is_test = number % 2 == 0
        pool = [source for source in sources if (source.group in test_groups) == is_test]
        parts, labels = [], []
        for source in [pool[index] for index in rng.choice(len(pool), 10, replace=False)]:
            length = min(source.num_frames, int(rng.integers(24, 65)))
            start = int(rng.integers(source.num_frames - length + 1))
            frames = store.read(source, np.arange(start, start + length))
            top, left = ((side - size) // 2 for side in frames.shape[1:3])
            parts.append(frames[:, top : top + size, left : left + size])
            labels += [classes.index(source.label)] * length
        edges = np.cumsum([len(part) for part in parts])
        starts = _starts(int(edges[-1]), 4)
        videos.append(
            FramesToProbe(
                name=f"joined {number}",
                frames=np.concatenate(parts),
                starts=starts,
                truths=join_truths(starts, edges, np.array(labels)),
                is_test=np.full(len(starts), is_test),
            )
        )
    return videos


def sim_videos(folder: Path, store: FrameStore) -> list[FramesToProbe]:
    """Read the continuous episodes of `untrimmed_sim`."""
    annotations = json.loads((folder / "annotations.json").read_text())
    videos = []
    for name, entry in annotations.get("videos", annotations).items():
        frames = _read_all(next(folder.rglob(f"{name}.mp4")), store)
        starts = _starts(len(frames), 6)
        videos.append(
            FramesToProbe(
                name=name,
                frames=frames,
                starts=starts,
                truths=episode_truths(starts, entry),
                is_test=np.full(len(starts), entry["subset"] == "test"),
            )
        )
    return videos


def quva_videos(folder: Path, store: FrameStore) -> list[FramesToProbe]:
    """Read the videos of one repeated action of `untrimmed_real`."""
    annotations = json.loads((folder / "annotations.json").read_text())
    videos = []
    for name, entry in annotations.get("videos", annotations).items():
        if entry["source"] != "quva":
            continue
        path = next(path for path in folder.rglob(f"{name}*") if path.suffix in (".mp4", ".mkv", ".webm"))
        frames = _read_all(path, store)
        video = cycle_video(name, _starts(len(frames), 4), entry | {"num_frames": len(frames)})
        if video is not None:
            videos.append(FramesToProbe(frames=frames, **vars(video)))
    return videos


@torch.inference_mode()
def encode(
    model: torch.nn.Module, normalize: Callable, video: FramesToProbe, batch_size: int = 16
) -> np.ndarray:
    """Return the features of every snippet, float32 `(num_snippets, dim)`."""
    model.eval()
    rows = []
    pixels = torch.from_numpy(video.frames).permute(0, 3, 1, 2)
    for starts in np.array_split(video.starts, -(-len(video.starts) // batch_size)):
        clips = torch.stack([pixels[start : start + SNIPPET_FRAMES] for start in starts])
        rows.append(model(normalize(clips)).pooler_output.float())
    return torch.cat(rows).numpy()


def compare(question: str, ours: Answers, theirs: Answers) -> tuple[float, float, float]:
    """Return a difference of scores and its 95 % interval, by drawing the same videos for both."""
    scorers = [[score_of_answers(question, answers)] for answers in (ours, theirs)]
    found = paired_difference(*scorers, num_videos=len(ours.names))
    return found.difference, found.low, found.high
