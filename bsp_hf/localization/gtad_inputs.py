"""The windows that G-TAD reads of a long video's feature track, with the frame at which each begins."""

from dataclasses import dataclass

import numpy as np

from bsp_hf.features.track import FeatureTrack

from .gtad_targets import thumos_window_features, thumos_window_starts


@dataclass(frozen=True)
class TrackWindows:
    """Windows of a track, half a window apart.

    Args:
        features (`np.ndarray`): float32 `(num_windows, num_steps, feature_dim)`, zero rows past the end.
        first_snippets (`tuple[int, ...]`): Row of the track at which each window begins.
        first_frames (`tuple[int, ...]`): Frame in the middle of that row's snippet, where the window's first
            step lies; for `thumos_targets` and `decode_thumos`.
    """

    features: np.ndarray
    first_snippets: tuple[int, ...]
    first_frames: tuple[int, ...]


def cut_windows(track: FeatureTrack, num_steps: int = 256) -> TrackWindows:
    """Cut a track into the windows of the published THUMOS14 setting.

    Choice: a step lies at the middle of its snippet. The published features are of single frames and of
    stacks around them, where middle and number of the frame are one.

    Args:
        track (`FeatureTrack`): A track of at least one row that was not rescaled.
        num_steps (`int`, *optional*, defaults to 256): Rows of a window.

    Returns:
        `TrackWindows`: The windows.

    Raises:
        ValueError: If the track has no row or was rescaled.
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


__all__ = ["TrackWindows", "cut_windows"]
