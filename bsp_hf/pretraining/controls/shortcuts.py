"""How much of a label shallow classifiers find in what should not tell it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsp_hf.pretraining.clips import PretextClip, PretextClips
from bsp_hf.pretraining.sources import SourceCatalog


@dataclass(frozen=True)
class ShortcutReport:
    """Accuracy of shallow classifiers on clips of held-out sources."""

    chance: float  # of the most frequent label
    sampling: float  # from the source's length, and the place and spacing of the first frames in it
    ends: float  # from colours, contrast and sharpness of the first and of the last frame
    sorted_differences: float  # from the differences of consecutive frames, by size
    differences: float  # from the same in their order, with the largest of each difference's blocks


def measure_shortcuts(
    train_clips: PretextClips, held_out_clips: PretextClips, num_epochs: int = 3, seed: int = 0
) -> ShortcutReport:
    """Train shallow classifiers on what should not tell the label, and test them on held-out sources.

    Every training source is drawn `num_epochs` times, held-out ones once. Epochs of the clips are changed.
    """
    train = _describe(train_clips, num_epochs)
    held_out = _describe(held_out_clips, 1)
    accuracies = {}
    for name in _DESCRIBERS:
        predictions = fit_and_predict(train[name], train["labels"], held_out[name], seed)
        accuracies[name] = float((predictions == held_out["labels"]).mean())
    chance = float(np.bincount(held_out["labels"]).max() / len(held_out["labels"]))
    return ShortcutReport(chance=chance, **accuracies)


def fit_and_predict(
    inputs: np.ndarray, labels: np.ndarray, held_out: np.ndarray, seed: int = 0, num_epochs: int = 60
) -> np.ndarray:
    """Train a small network on descriptions `(num_clips, dim)`, and return its labels of held-out ones."""
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-6
    train, test = (
        torch.from_numpy(((part - mean) / deviation).astype(np.float32)).clamp(-5, 5)
        for part in (inputs, held_out)
    )
    targets = torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *(nn.Linear(train.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()),
            nn.Linear(64, int(targets.max()) + 1),
        )
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    for epoch in range(num_epochs):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - epoch / num_epochs)
        for rows in torch.randperm(len(train), generator=generator).split(128):
            loss = F.cross_entropy(network(train[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        return network(test).argmax(1).numpy()


def _read_clips(clips: PretextClips, num_epochs: int) -> Iterator[PretextClip]:
    for epoch in range(num_epochs):
        for index in range(len(clips)):
            yield clips.read(index, epoch)


def _describe(clips: PretextClips, num_epochs: int) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in _DESCRIBERS}
    labels = []
    for clip in _read_clips(clips, num_epochs):
        labels.append(clip.target)
        for name, describe in _DESCRIBERS.items():
            rows[name].append(describe(clip, clips.catalog))
    return {name: np.stack(values) for name, values in rows.items()} | {"labels": np.array(labels)}


def describe_sampling(clip: PretextClip, catalog: SourceCatalog) -> np.ndarray:
    """Return facts of how a clip was sampled: length, first frame and first spacing in its first source."""
    plan = clip.draw.plan
    length = float(catalog.lengths[plan.sources[0]])
    frames = plan.frames[0].astype(float)
    spacing = frames[1] - frames[0] if len(frames) > 1 else plan.spacing
    facts = [length, frames[0], frames[0] / length, spacing, spacing / length]
    return np.log1p(np.array(facts))


def describe_ends(clip: PretextClip, catalog: SourceCatalog) -> np.ndarray:
    """Return the statistics of the first and of the last frame: colours, contrast and sharpness."""
    facts = []
    for frame in (clip.frames[0], clip.frames[-1]):
        pixels = frame.astype(np.float32)
        sharpness = np.abs(np.diff(pixels, axis=1)).mean()
        facts += [*pixels.mean((0, 1)), *pixels.std((0, 1)), sharpness]
    return np.array(facts)


def describe_differences(clip: PretextClip, catalog: SourceCatalog | None = None) -> np.ndarray:
    """Return the logarithms of the mean difference of consecutive frames, and of its largest block."""
    differences = _differences(clip.frames)
    blocks = F.adaptive_avg_pool2d(differences[:, None], 4).flatten(1)
    return torch.log(torch.cat([differences.mean((1, 2)), blocks.amax(1)]) + 0.1).numpy()


def describe_sorted_differences(clip: PretextClip, catalog: SourceCatalog | None = None) -> np.ndarray:
    """Return the logarithms of the mean differences of consecutive frames, sorted."""
    return np.sort(torch.log(_differences(clip.frames).mean((1, 2)) + 0.1).numpy())


def _differences(frames: np.ndarray) -> Tensor:
    """Return the absolute differences of consecutive frames in gray, `(num_frames - 1, height, width)`."""
    gray = torch.from_numpy(frames).float().mean(-1)
    return (gray[1:] - gray[:-1]).abs()


_DESCRIBERS: dict[str, Callable[[PretextClip, SourceCatalog], np.ndarray]] = {
    "sampling": describe_sampling,
    "ends": describe_ends,
    "sorted_differences": describe_sorted_differences,
    "differences": describe_differences,
}
