"""Where the rows of a track lie, in the words of the localizers' configurations."""

from dataclasses import dataclass

import numpy as np

from bsp_hf.encoder.snippets import localizer_grid

from .track import FeatureTrack


@dataclass(frozen=True)
class LocalizerSettings:
    """What a localizer must be told about features.

    Row `i` lies at second `(i * feat_stride + offset_frames) / fps`.

    Args:
        feat_stride (`int`, *optional*): Frames from one row to the next; none if the rows were rescaled, and
            cover the video evenly.
        num_frames (`int`): Frames that one row covers.
        offset_frames (`float`): Frames from the start of a row's window to its centre.
        fps (`float`, *optional*): Frames per second; none if it differs from video to video.
        input_dim (`int`): Length of a row.
    """

    feat_stride: int | None
    num_frames: int
    offset_frames: float
    fps: float | None
    input_dim: int


def describe_grid(track: FeatureTrack) -> LocalizerSettings:
    """Say where the rows of a track lie.

    Args:
        track (`FeatureTrack`): The track.

    Returns:
        `LocalizerSettings`: The settings for this track.
    """
    record = track.record
    grid = localizer_grid(record.snippet_frames, record.stride_frames, record.fps)
    feat_stride = grid.feat_stride if record.rescaled_from is None else None
    return LocalizerSettings(feat_stride, grid.num_frames, grid.offset_frames, grid.fps, track.dim)


def find_off_grid_row(track: FeatureTrack) -> int | None:
    """Find the first row that does not lie where its number says.

    Localizers have nothing but the number of a row to tell its time. It is wrong if the frame rate of the
    video varies much, or a part of it was read.

    Args:
        track (`FeatureTrack`): A track that was not rescaled.

    Returns:
        `int` or `None`: The first row that is off by more than the distance between rows; none if no row is.
        A last window that was not full lies earlier by nature and is passed over.
    """
    record = track.record
    grid = localizer_grid(record.snippet_frames, record.stride_frames, record.fps)
    expected_s = (np.arange(track.num_snippets) * grid.feat_stride + grid.offset_frames) / grid.fps
    off_s = np.abs(track.centers_s - expected_s)
    if track.num_snippets and track.centers_s[-1] < expected_s[-1]:
        missing_s = grid.offset_frames / grid.fps
        off_s[-1] = max(0.0, off_s[-1] - missing_s)
    # Choice: one row's distance; less than that is inside the row itself.
    wrong = np.flatnonzero(off_s > grid.feat_stride / grid.fps * (1 + 1e-9))
    return int(wrong[0]) if len(wrong) else None


__all__ = ["LocalizerSettings", "describe_grid", "find_off_grid_row"]
