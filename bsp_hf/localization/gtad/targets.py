"""Inputs and targets of G-TAD: resampled features, windows, and label maps from annotated segments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.features.track import FeatureTrack
from bsp_hf.metrics import tiou

# A boundary is labelled over a zone of three steps around it (Sec. "Training" of the G-TAD paper).
ZONE_STEPS = 3


MIN_INSIDE = 0.9


@dataclass(frozen=True)
class GTADTargets:
    """Targets of one video or window; float32."""

    iou_map: np.ndarray  # `(max_duration, num_steps)`, best tIoU of every anchor with an instance
    start: np.ndarray  # `(num_steps,)`, share of a step's window that lies near a start
    end: np.ndarray  # `(num_steps,)`


def activitynet_targets(
    segments_s: ArrayLike, duration_s: float, num_steps: int = 100, max_duration: int = 100
) -> GTADTargets:
    """Return the targets of a whole video stretched over the time axis.

    `segments_s` are annotated starts and ends, `(num_instances, 2)`, clipped to the seconds that the features
    cover, `duration_s`. Anchors that end past the video are labelled too; the loss masks them.
    """
    if not duration_s > 0:
        raise ValueError(f"duration_s={duration_s} must be positive.")
    spans = np.clip(_as_segments(segments_s) / duration_s, 0, 1)
    steps = np.arange(num_steps)
    windows = np.stack([steps - 0.5, steps + 1.5], axis=1) / num_steps
    return GTADTargets(
        _iou_map(spans, num_steps, max_duration),
        _boundary_curve(spans[:, 0], windows, ZONE_STEPS / num_steps),
        _boundary_curve(spans[:, 1], windows, ZONE_STEPS / num_steps),
    )


def thumos_targets(
    segments_frames: ArrayLike,
    first_frame: int,
    num_steps: int = 256,
    max_duration: int = 64,
    stride_frames: int = 5,
) -> GTADTargets:
    """Return the targets of one window, whose step i sits at frame `first_frame + i * stride_frames`.

    `segments_frames` are start and end in frames of the video, `(num_instances, 2)`, of the instances that
    overlap the window.
    """
    segments = _as_segments(segments_frames)
    centers = first_frame + np.arange(num_steps) * stride_frames
    windows = np.stack([centers - stride_frames / 2, centers + stride_frames / 2], axis=1)
    offset = int(windows[0, 0])  # towards zero, as in the reference: -2 for the first window, not -3
    spans = np.clip((segments - offset) / (num_steps * stride_frames), 0, 1)
    return GTADTargets(
        _iou_map(spans, num_steps, max_duration),
        _boundary_curve(segments[:, 0], windows, ZONE_STEPS * stride_frames),
        _boundary_curve(segments[:, 1], windows, ZONE_STEPS * stride_frames),
    )


def thumos_window_starts(num_snippets: int, num_steps: int = 256, stride_frames: int = 5) -> list[int]:
    """Return the first snippet of every window of a video, half a window apart, ascending.

    A shorter video gets one window, to be padded with zero rows. Where more than `num_steps // stride_frames`
    snippets are left at the end, one more window is aligned with the end.
    """
    if num_snippets < 1:
        raise ValueError(f"num_snippets={num_snippets} must be at least 1.")
    if num_snippets <= num_steps:
        return [0]
    hop = max(num_steps // 2, 1)
    starts = list(range(0, num_snippets - num_steps + 1, hop))
    if num_snippets - starts[-1] - num_steps > num_steps // stride_frames:
        starts.append(num_snippets - num_steps)
    return starts


def thumos_window_features(features: ArrayLike, first_snippet: int, num_steps: int = 256) -> np.ndarray:
    """Return one window of a track, float32 `(num_steps, feature_dim)`, zero past the end of the video."""
    track = np.asarray(features, dtype=np.float32)
    if track.ndim != 2 or not 0 <= first_snippet < len(track):
        raise ValueError(
            f"first_snippet={first_snippet} must be a row of features, which have the shape {track.shape}."
        )
    rows = track[first_snippet : first_snippet + num_steps]
    return np.pad(rows, ((0, num_steps - len(rows)), (0, 0)))


def thumos_window_labels(
    segments_frames: ArrayLike, first_frame: int, num_steps: int = 256, stride_frames: int = 5
) -> np.ndarray | None:
    """Return the instances that label a training window, or `None` for a window that is left out.

    A window is kept if more than 0.9 of an instance lies inside; every instance that overlaps it is a label.
    Instances are `(num_instances, 2)` in frames of the video, here and in the result.
    """
    segments = _as_segments(segments_frames)
    lengths = segments[:, 1] - segments[:, 0]
    low = first_frame - stride_frames / 2
    high = first_frame + (num_steps - 1) * stride_frames + stride_frames / 2
    overlap = np.minimum(segments[:, 1], high) - np.maximum(segments[:, 0], low)
    inside = np.divide(np.maximum(overlap, 0), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return segments[inside > 0] if (inside > MIN_INSIDE).any() else None


def _as_segments(segments: ArrayLike) -> np.ndarray:
    array = np.asarray(segments, dtype=np.float64)
    if not array.size:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"segments must have the shape (num_instances, 2), got {array.shape}.")
    return array


def _iou_map(spans: np.ndarray, num_steps: int, max_duration: int) -> np.ndarray:
    durations, starts = np.indices((max_duration, num_steps))
    low, high = starts[..., None] / num_steps, (starts + durations + 1)[..., None] / num_steps
    cells = np.stack([low, high], axis=-1)
    return tiou(cells, spans).max(axis=-1, initial=0).astype(np.float32)


def _boundary_curve(boundaries: np.ndarray, windows: np.ndarray, zone: float) -> np.ndarray:
    low, high = windows[:, :1], windows[:, 1:]
    overlap = np.minimum(high, boundaries + zone / 2) - np.maximum(low, boundaries - zone / 2)
    share = np.maximum(overlap, 0) / (high - low)
    return share.max(axis=1, initial=0).astype(np.float32)


@dataclass(frozen=True)
class TrackWindows:
    """Windows of a track, half a window apart."""

    features: np.ndarray  # float32 `(num_windows, num_steps, feature_dim)`, zero rows past the end
    first_snippets: tuple[int, ...]  # row of the track at which each window begins
    # frame in the middle of that row's snippet, where the window's first step lies
    first_frames: tuple[int, ...]


def cut_windows(track: FeatureTrack, num_steps: int = 256) -> TrackWindows:
    """Cut a track that was not rescaled into the windows of the published THUMOS14 setting.

    Choice: a step lies at the middle of its snippet. The published features are of single frames and of
    stacks around them, where middle and number of the frame are one.
    """
    record = track.record
    if record.rescaled_from is not None:
        raise ValueError(
            f"the features of {record.video_id} were rescaled; a localizer that reads windows needs them as "
            "they were extracted."
        )
    starts = thumos_window_starts(track.num_snippets, num_steps, record.stride_frames)
    windows = [thumos_window_features(track.features, start, num_steps) for start in starts]
    middles = [round(float(track.centers_s[start]) * record.fps) for start in starts]
    return TrackWindows(np.stack(windows), tuple(starts), tuple(middles))
