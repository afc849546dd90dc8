"""From G-TAD's maps to segments: the published inference of ActivityNet and of THUMOS14."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from bsp_hf.localization.suppression import Detections, attach_classes, soft_nms

from .configuration_gtad import GTADConfig

PEAK_SHARE = 0.5
SCORE_DECIMALS = 6
TIME_DECIMALS = 1

Array = ArrayLike | torch.Tensor


@dataclass(frozen=True)
class Proposals:
    """Candidate segments of one video or window, ordered by duration and then by start."""

    steps: np.ndarray  # int64 `(num_proposals, 2)`, start and exclusive end
    classification: np.ndarray  # float64 `(num_proposals,)`, probability of an action
    regression: np.ndarray  # float64 `(num_proposals,)`, regressed tIoU

    @property
    def scores(self) -> np.ndarray:
        """Product of both confidences."""
        return self.classification * self.regression


def boundary_candidates(start: Array, end: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return at which steps a segment may start and end, bool `(num_steps,)` each, from both probabilities.

    A step other than the outermost two is a candidate if its probability is a strict local maximum or exceeds
    half the curve's maximum. The first step always is one for starts, the last one for ends.
    """

    def peaks(curve: np.ndarray) -> np.ndarray:
        inner = curve[1:-1]
        found = np.zeros(len(curve), dtype=bool)
        is_peak = (inner > curve[:-2]) & (inner > curve[2:])
        found[1:-1] = is_peak | (inner > PEAK_SHARE * curve.max())
        return found

    starts, ends = peaks(_to_numpy(start)), peaks(_to_numpy(end))
    starts[0] = ends[-1] = True
    return starts, ends


def propose(iou_map: Array, start: Array | None = None, end: Array | None = None) -> Proposals:
    """Return the segments that a map of anchors, `(2, max_duration, num_steps)`, proposes.

    With both curves, `(num_steps,)`, these are the anchors from a start candidate to an end candidate
    (ActivityNet), without them all anchors (THUMOS14). As in the reference none ends at the very end of the
    time axis.
    """
    maps = _to_numpy(iou_map)
    if maps.ndim != 3 or maps.shape[0] != 2:
        raise ValueError(f"iou_map must have the shape (2, max_duration, num_steps), got {maps.shape}.")
    if (start is None) != (end is None):
        raise ValueError("Give both start and end, or neither.")
    durations, starts = np.indices(maps.shape[1:]).reshape(2, -1)
    ends = starts + durations + 1
    chosen = ends < maps.shape[2]
    if start is not None and end is not None:
        may_start, may_end = boundary_candidates(start, end)
        chosen[chosen] = may_start[starts[chosen]] & may_end[ends[chosen]]
    regression, classification = maps.reshape(2, -1)[:, chosen]
    return Proposals(np.stack([starts[chosen], ends[chosen]], axis=1), classification, regression)


def decode_activitynet(
    iou_map: Array,
    start: Array,
    end: Array,
    durations_s: Sequence[float],
    config: GTADConfig,
    class_scores: Sequence[ArrayLike] | None = None,
) -> list[Detections]:
    """Return the segments of whole videos, best first within each class, from the outputs of the model.

    Durations are those of the whole videos, although targets are relative to the seconds that features cover.
    The best two of a video's `class_scores` are attached to every segment.
    """
    maps, starts, ends = _to_numpy(iou_map), _to_numpy(start), _to_numpy(end)
    classes: Sequence[ArrayLike | None] = [None] * len(maps) if class_scores is None else class_scores
    if not len(maps) == len(starts) == len(ends) == len(durations_s) == len(classes):
        raise ValueError(
            f"got {len(maps)} maps, {len(starts)} start and {len(ends)} end curves, {len(durations_s)} "
            f"durations and {len(classes)} class scores; they must agree."
        )
    found = [
        propose(*arrays) if config.gate_proposals else propose(arrays[0])
        for arrays in zip(maps, starts, ends, strict=True)
    ]
    kept = _suppress([proposals.steps for proposals in found], [p.scores for p in found], config)
    detections = []
    for (steps, scores), duration_s, video_classes in zip(kept, durations_s, classes, strict=True):
        order = np.argsort(-scores, kind="stable")
        segments = np.clip(steps[order] / config.num_steps * duration_s, 0, duration_s)
        detections.append(
            attach_classes(segments, scores[order], video_classes, max_num=config.max_proposals)
        )
    return detections


def decode_thumos(
    iou_maps: Array,
    first_frames: Sequence[int],
    fps: float,
    num_frames: int,
    config: GTADConfig,
    class_scores: ArrayLike | None = None,
    stride_frames: int = 5,
) -> Detections:
    """Return the segments of one video from its windows, `(num_windows, 2, max_duration, num_steps)`.

    Suppression runs within every window, whose first step lies at its `first_frames`, and then over all
    windows together. The best two `class_scores`, `(num_classes,)`, are attached to every segment. As in the
    published results, best first, times are rounded to 0.1 s and scores to 6 decimals.
    """
    maps = _to_numpy(iou_maps)
    if len(maps) != len(first_frames):
        raise ValueError(f"got {len(maps)} maps for {len(first_frames)} windows; they must agree.")
    if not fps > 0:
        raise ValueError(f"fps={fps} must be positive.")
    found = [propose(window) for window in maps]
    frames = [p.steps * stride_frames + first for p, first in zip(found, first_frames, strict=True)]
    limit = config.max_segment_frames
    kept = _suppress(frames, [p.scores for p in found], config, limit, keeps_single=False)
    joined = [np.concatenate(parts) for parts in zip(*kept, strict=True)]
    ((segments, scores),) = _suppress(joined[:1], joined[1:], config, limit)
    order = np.argsort(-scores, kind="stable")
    # Choice: a segment that starts past the end (of a padded window) is left empty; the reference
    # reverses it.
    times_s = np.round(np.clip(segments[order], 0, num_frames) / fps, TIME_DECIMALS)
    fused = attach_classes(
        times_s, scores[order], class_scores, max_num=config.max_proposals, interleave=True
    )
    return Detections(fused.segments, np.round(fused.scores, SCORE_DECIMALS), fused.class_indices)


def _suppress(
    segments: list[np.ndarray],
    scores: list[np.ndarray],
    config: GTADConfig,
    limit: float | None = None,
    keeps_single: bool = True,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Run soft suppression on all videos together; a video with a single proposal may keep it."""
    kept = soft_nms(segments, scores, config.soft_nms_sigma, config.max_proposals, limit)
    results = []
    for candidates, values, found in zip(segments, scores, kept, strict=True):
        is_kept_whole = keeps_single and len(values) < 2
        results.append((candidates, values) if is_kept_whole else (candidates[found.indices], found.scores))
    return results


def _to_numpy(array: Array) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        array = array.detach().to("cpu", torch.float64)
    return np.asarray(array, dtype=np.float64)
