"""A linear head on the encoder's features that learns from a few corrected segments where boundaries are."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bsp_hf.features.track import FeatureTrack
from bsp_hf.localization.annotations.types import AnnotatedVideo

from .response import BoundaryResponse

# Choice: tried on simulated robot episodes; docs/annotate.md has the figures. Distances in a few principal
# components at three ranges: with ten segments, a head on the features themselves learns them by heart.
_NUM_COMPONENTS, _RANGES, _WEIGHT_DECAY = 16, (2, 4, 8), 0.03
_FEWEST_BOUNDARIES, _MOST_ROWS = 3, 4000


@dataclass(frozen=True, eq=False)
class BoundaryHead:
    """The principal components of features, and a linear classifier of changes in them."""

    mean: np.ndarray  # float32 `(dim,)`
    components: np.ndarray  # float32 `(dim, num_components)`, which scale to unit variance
    center: np.ndarray  # float32 `(num_inputs,)`, as the next three
    scale: np.ndarray
    weight: np.ndarray
    bias: float

    def respond(self, track: FeatureTrack, log_odds: np.ndarray) -> BoundaryResponse:
        """Return the probability of a boundary at each row; `log_odds` are the encoder's own."""
        inputs = _measure_changes((track.features - self.mean) @ self.components, log_odds)
        logits = (inputs - self.center) / self.scale @ self.weight + self.bias
        response = (1 / (1 + np.exp(-logits.clip(-30, 30)))).astype(np.float32)
        window_s = track.record.snippet_frames / track.record.fps
        return BoundaryResponse(
            track.centers_s, response[:, None], response, window_s, track.record.duration_s
        )


def fit_boundary_head(
    tracks: Mapping[str, FeatureTrack],
    log_odds: Mapping[str, np.ndarray],
    corrected: Mapping[str, AnnotatedVideo],
) -> BoundaryHead:
    """Fit a head to corrected segments; the other tracks help to find the principal components.

    Args:
        tracks (`Mapping[str, FeatureTrack]`): Features by video id, a row every few frames.
        log_odds (`Mapping[str, np.ndarray]`): `(num_snippets,)`, of a boundary by the encoder's classifier.
        corrected (`Mapping[str, AnnotatedVideo]`): By video id; of each, a first part or all.
    """
    rows = np.concatenate([track.features for track in tracks.values()])
    mean = rows.mean(0)
    # Of the covariance, which takes a tenth of the time of a decomposition of the rows.
    variances, directions = np.linalg.eigh(np.cov(rows[:: -(-len(rows) // _MOST_ROWS)], rowvar=False))
    kept = slice(-_NUM_COMPONENTS, None)
    components = (directions[:, kept] / np.sqrt(np.maximum(variances[kept], 1e-9))).astype(np.float32)
    inputs, targets, num_boundaries = [], [], 0
    for video_id, video in corrected.items():
        track = tracks[video_id]
        changes = _measure_changes((track.features - mean) @ components, log_odds[video_id])
        start_s, end_s = corrected_span(video)
        boundaries_s = inner_boundaries(video, track.record.duration_s)
        is_inside = (track.centers_s >= start_s) & (track.centers_s <= end_s)
        near_s = track.record.snippet_frames / track.record.fps / 2
        distance_s = np.abs(track.centers_s[:, None] - np.array([*boundaries_s, np.inf])).min(1)
        inputs.append(changes[is_inside])
        targets.append(distance_s[is_inside] <= near_s)
        num_boundaries += len(boundaries_s)
    is_near = np.concatenate(targets)
    if num_boundaries < _FEWEST_BOUNDARIES or not is_near.any() or is_near.all():
        raise _too_few(num_boundaries)
    table = np.concatenate(inputs)
    center, scale = table.mean(0), table.std(0) + 1e-3
    weight, bias = _fit_logistic((table - center) / scale, is_near)
    return BoundaryHead(mean, components, center, scale, weight, bias)


def check_corrections(videos: Iterable[AnnotatedVideo]) -> None:
    """Raise a `ValueError` if these are too few to learn from, before any of the videos is read."""
    count = sum(len(inner_boundaries(video, video.duration_s or math.inf)) for video in videos)
    if count < _FEWEST_BOUNDARIES:
        raise _too_few(count)


def _too_few(num_boundaries: int) -> ValueError:
    return ValueError(
        f"{num_boundaries} corrected boundaries are too few to learn from; correct about ten segments."
    )


def corrected_span(video: AnnotatedVideo) -> tuple[float, float]:
    """Return from where to where a video has been corrected: from its first segment to its last."""
    return min(one.start_s for one in video.segments), max(one.end_s for one in video.segments)


def inner_boundaries(video: AnnotatedVideo, duration_s: float, margin_s: float = 0.1) -> list[float]:
    """Return where the segments of a video begin and end, each once, less the ends of the video."""
    edges_s = {round(edge_s, 3) for one in video.segments for edge_s in (one.start_s, one.end_s)}
    return sorted(edge_s for edge_s in edges_s if margin_s < edge_s < duration_s - margin_s)


def _measure_changes(rows: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return how much rows differ around each, at several ranges: `(num_rows, num_inputs)`."""
    places = np.arange(len(rows))

    def shifted(by: int) -> np.ndarray:
        return rows[np.clip(places + by, 0, len(rows) - 1)]

    inputs = [log_odds]
    for reach in _RANGES:
        before = np.mean([shifted(by) for by in range(-reach, 0)], 0)
        after = np.mean([shifted(by) for by in range(1, reach + 1)], 0)
        arriving, leaving = rows - shifted(-reach), shifted(reach) - rows
        speeds = np.linalg.norm(arriving, axis=1), np.linalg.norm(leaving, axis=1)
        turn = (arriving * leaving).sum(1) / (speeds[0] * speeds[1] + 1e-6)
        gain = speeds[1] - speeds[0]
        inputs += [np.linalg.norm(after - before, axis=1), gain, np.abs(gain), turn]
    return np.stack(inputs, 1).astype(np.float32)


def _fit_logistic(inputs: np.ndarray, is_near: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights and bias of a logistic regression in which both classes count alike."""
    table, target = torch.from_numpy(inputs), torch.from_numpy(is_near.astype(np.float32))
    weight = torch.zeros(table.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    positive_weight = (len(target) - target.sum()) / target.sum()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = table @ weight + bias
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=positive_weight)
        loss = loss + _WEIGHT_DECAY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's
    return weight.detach().numpy(), float(bias.detach())
