"""Linear probes on frozen features of untrimmed videos, for `compare_presets.py`.

Three kinds of videos: concatenations of held-out real clips (where do they join, which class is shown),
continuous episodes of a robot (phases, their boundaries, the segment of the task), and videos of one repeated
action (ends of its cycles; the first half of each video trains, the second tests). Features are reduced to
`WIDTH` principal components, so that wide and joined encoders have no advantage by their width.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bsp_hf.encoder.video import index_frames
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.sources import TrimmedVideo

WIDTH = 96
SNIPPET_FRAMES = 8
# Question: the kind of its videos, and whether it is answered by average precision or by accuracy.
QUESTIONS = {
    "joins": ("joins", "ap"),
    "class": ("joins", "accuracy"),
    "phase boundaries": ("sim", "ap"),
    "phases": ("sim", "accuracy"),
    "task segment": ("sim", "ap"),
    "cycle ends": ("quva", "within"),
}


@dataclass(frozen=True, eq=False)
class ProbeVideo:
    """Snippets of a video and what is true of them.

    Args:
        name (`str`): Its name; the bootstrap draws videos.
        frames (`np.ndarray`): uint8 `(num_frames, height, width, 3)`.
        starts (`np.ndarray`): First frame of every snippet.
        truths (`dict[str, np.ndarray]`): For every question a label of each snippet; -1 for none.
        is_test (`np.ndarray`): Whether each snippet tests.
    """

    name: str
    frames: np.ndarray
    starts: np.ndarray
    truths: dict[str, np.ndarray]
    is_test: np.ndarray


def _read_all(path: Path, store: FrameStore) -> np.ndarray:
    num_frames = index_frames(path).num_frames
    return store.read(TrimmedVideo(path, "", path.name, num_frames=num_frames), np.arange(num_frames))


def _starts(num_frames: int, stride: int) -> np.ndarray:
    return np.arange(0, num_frames - SNIPPET_FRAMES + 1, stride)


def _holds(starts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return whether a position, in frames, lies between the first and the last frame of each snippet."""
    inside = (positions > starts[:, None]) & (positions <= starts[:, None] + SNIPPET_FRAMES - 1)
    return inside.any(1).astype(np.int64)


def join_videos(sources: list[TrimmedVideo], store: FrameStore, num_videos: int = 40) -> list[ProbeVideo]:
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
            top, left = (frames.shape[1] - 64) // 2, (frames.shape[2] - 64) // 2
            parts.append(frames[:, top : top + 64, left : left + 64])
            labels += [classes.index(source.label)] * length
        edges = np.cumsum([len(part) for part in parts])
        starts = _starts(int(edges[-1]), 4)
        joins = _holds(starts, edges[:-1])
        shown = np.where(joins, -1, np.array(labels)[starts + SNIPPET_FRAMES // 2])
        truths = {"joins": joins, "class": shown}
        videos.append(
            ProbeVideo(
                f"joined {number}", np.concatenate(parts), starts, truths, np.full(len(starts), is_test)
            )
        )
    return videos


def sim_videos(folder: Path, store: FrameStore) -> list[ProbeVideo]:
    """Read the continuous episodes of `untrimmed_sim`."""
    annotations = json.loads((folder / "annotations.json").read_text())
    names = ("rest", "reach", "grasp", "manipulate")
    videos = []
    for name, entry in annotations.get("videos", annotations).items():
        path = next(folder.rglob(f"{name}.mp4"))
        frames = _read_all(path, store)
        starts = _starts(len(frames), 6)
        centers_s = (starts + SNIPPET_FRAMES / 2) / entry["fps"]
        phases = np.full(len(starts), -1)
        for phase in entry["phases"]:
            start_s, end_s = phase["segment"]
            phases[(centers_s >= start_s) & (centers_s < end_s)] = names.index(phase["label"])
        start_s, end_s = entry["annotations"][0]["segment"]
        truths = {
            "phase boundaries": _holds(starts, np.array(entry["boundaries"]) * entry["fps"]),
            "phases": phases,
            "task segment": ((centers_s >= start_s) & (centers_s < end_s)).astype(np.int64),
        }
        videos.append(
            ProbeVideo(name, frames, starts, truths, np.full(len(starts), entry["subset"] == "test"))
        )
    return videos


def quva_videos(folder: Path, store: FrameStore) -> list[ProbeVideo]:
    """Read the videos of one repeated action of `untrimmed_real`."""
    annotations = json.loads((folder / "annotations.json").read_text())
    videos = []
    for name, entry in annotations.get("videos", annotations).items():
        if entry["source"] != "quva":
            continue
        path = next(path for path in folder.rglob(f"{name}*") if path.suffix in (".mp4", ".mkv", ".webm"))
        frames = _read_all(path, store)
        starts = _starts(len(frames), 4)
        ends = _holds(starts, np.array(entry["boundaries"]) * entry["fps"])
        is_test = starts >= len(frames) / 2
        has_both = all(0 < ends[part].sum() < part.sum() for part in (is_test, ~is_test))
        if has_both:
            videos.append(ProbeVideo(name, frames, starts, {"cycle ends": ends}, is_test))
    return videos


@torch.inference_mode()
def encode(
    model: torch.nn.Module, normalize: Callable, video: ProbeVideo, batch_size: int = 16
) -> np.ndarray:
    """Return the features of every snippet, float32 `(num_snippets, dim)`."""
    model.eval()
    rows = []
    pixels = torch.from_numpy(video.frames).permute(0, 3, 1, 2)
    for starts in np.array_split(video.starts, -(-len(video.starts) // batch_size)):
        clips = torch.stack([pixels[start : start + SNIPPET_FRAMES] for start in starts])
        rows.append(model(normalize(clips)).pooler_output.float())
    return torch.cat(rows).numpy()


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under precision over recall, ties in the order of the rows; NaN without positives."""
    hits = labels[np.argsort(-scores, kind="stable")]
    if not hits.sum():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


class Components:
    """Standardized principal components of training features.

    Args:
        features (`np.ndarray`): `(num_rows, dim)`.
        width (`int`): Components to keep.
    """

    def __init__(self, features: np.ndarray, width: int):
        self.mean, self.scale = features.mean(0), features.std(0) + 1e-6
        centered = torch.from_numpy((features - self.mean) / self.scale)
        covariance = centered.T @ centered / len(centered)
        values, vectors = torch.linalg.eigh(covariance.double())
        width = min(width, len(centered) - 1, len(values))
        self.axes = vectors[:, -width:].numpy()
        self.spread = np.sqrt(np.maximum(values[-width:].numpy(), 1e-8))

    def __call__(self, features: np.ndarray) -> torch.Tensor:
        """Return the components, float32 `(num_rows, width)`, of unit variance in training."""
        rows = ((features - self.mean) / self.scale) @ self.axes / self.spread
        return torch.from_numpy(rows.astype(np.float32))


def fit_linear(
    inputs: torch.Tensor, labels: np.ndarray, decay: float
) -> Callable[[torch.Tensor], np.ndarray]:
    """Fit a softmax regression, and return what gives its probabilities `(num_rows, num_classes)`."""
    targets = torch.from_numpy(labels)
    weight = torch.zeros(int(targets.max()) + 1, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(len(weight), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, targets) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return lambda rows: (rows @ weight.detach().T + bias.detach()).softmax(-1).numpy()


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a probe on the snippets that test.

    Args:
        videos (`np.ndarray`): Name of the video of each.
        scores (`np.ndarray`): Score of a positive, or whether the answer was right.
        labels (`np.ndarray`): The truth.
    """

    videos: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def answer(question: str, videos: list[ProbeVideo], features: list[np.ndarray]) -> Answers:
    """Train the probe of a question and return its answers on what tests."""
    _, measure = QUESTIONS[question]
    if measure == "within":
        parts = [
            _answer(question, [video], [rows], 0.1) for video, rows in zip(videos, features, strict=True)
        ]
        return Answers(*(np.concatenate([getattr(part, name) for part in parts])
                         for name in ("videos", "scores", "labels")))  # fmt: skip
    return _answer(question, videos, features, 1e-3)


def _answer(question: str, videos: list[ProbeVideo], features: list[np.ndarray], decay: float) -> Answers:
    rows = np.concatenate(features)
    labels = np.concatenate([video.truths[question] for video in videos])
    is_test = np.concatenate([video.is_test for video in videos])
    names = np.concatenate([np.full(len(video.starts), video.name) for video in videos])
    known = labels >= 0
    components = Components(rows[~is_test & known], WIDTH)
    predict = fit_linear(components(rows[~is_test & known]), labels[~is_test & known], decay)
    tested = is_test & known
    probabilities = predict(components(rows[tested]))
    if QUESTIONS[question][1] == "accuracy":
        scores = (probabilities.argmax(1) == labels[tested]).astype(np.float64)
    else:
        scores = probabilities[:, 1].astype(np.float64)
    return Answers(names[tested], scores, labels[tested])


def _by_video(answers: Answers) -> list[np.ndarray]:
    order = list(dict.fromkeys(answers.videos.tolist()))
    return [np.flatnonzero(answers.videos == name) for name in order]


def measure(question: str, answers: Answers, drawn: np.ndarray | None = None) -> float:
    """Return the score of a question, of all videos or of some that were drawn, repeated ones counted."""
    rows = _by_video(answers)
    rows = rows if drawn is None else [rows[number] for number in drawn]
    kind = QUESTIONS[question][1]
    if kind == "within":
        above = [
            average_precision(answers.scores[r], answers.labels[r]) - answers.labels[r].mean() for r in rows
        ]
        return float(np.mean(above))
    every = np.concatenate(rows)
    if kind == "accuracy":
        return float(answers.scores[every].mean())
    return average_precision(answers.scores[every], answers.labels[every])


def compare(
    question: str, ours: Answers, theirs: Answers, num_draws: int = 500
) -> tuple[float, float, float]:
    """Return a difference of scores and its 95 % interval, by drawing the same videos for both."""
    num_videos = len(_by_video(ours))
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(num_draws):
        drawn = rng.integers(num_videos, size=num_videos)
        gaps.append(measure(question, ours, drawn) - measure(question, theirs, drawn))
    low, high = np.percentile(gaps, [2.5, 97.5])
    return measure(question, ours) - measure(question, theirs), float(low), float(high)
