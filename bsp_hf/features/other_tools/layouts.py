"""The layouts that the loaders of localizers read: which files, which names inside, which settings."""

from dataclasses import dataclass

import numpy as np

from bsp_hf.features.track import FeatureTrack


@dataclass(frozen=True)
class Layout:
    """How one tool keeps the features of a data set.

    Args:
        name (`str`): Its name here.
        export_formats (`tuple[str, ...]`): Formats that it can be written in, the usual first; none if it is
            only read.
        description (`str`): What its loader reads.
    """

    name: str
    export_formats: tuple[str, ...]
    description: str


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "actionformer",
            ("npy", "hdf5"),
            "a folder of {prefix}{id}.npy, or one file whose name holds .hdf5, keyed {prefix}{id}",
        ),
        Layout(
            "opentad",
            ("npy", "npz", "pt", "csv"),
            "a folder of {prefix}{id}.npy, .npz (array feats), .pt (bare tensor) or .csv (one header line)",
        ),
        Layout(
            "gtad",
            ("h5",),
            "ActivityNet branch: a folder of {id}.h5, each with its rows under that id, or one h5 by id",
        ),
        Layout(
            "gtad-thumos",
            ("h5",),
            "THUMOS branch: rgb_ and flow_ {val,test}.h5 keyed by id, one row for each frame",
        ),
        Layout("2dtan", ("hdf5",), "its Charades class: one {feature_type}_features.hdf5 keyed by id"),
        Layout(
            "2dtan-activitynet",
            ("hdf5",),
            "its ActivityNet class: sub_activitynet_v1-3.c3d.hdf5, rows under {id}/c3d_features",
        ),
        Layout("2dtan-tacos", ("hdf5",), "its TACoS class: tall_c3d_features.hdf5 keyed by id"),
        Layout("lgi", ("npy",), "a folder of {id}.npy"),
        Layout(
            "bmn",
            ("csv",),
            "a folder csv_mean_100 of {id}.csv with one header line and 100 rows",
        ),
        Layout("tsp", ("h5",), "one {feature_type}-{subset}_features.h5 for each subset, keyed by id"),
        Layout("crosstask", (), "a folder of {id}.npy, one row for each second"),
    )
}


BMN_ROWS = 100
BMN_FOLDER = f"csv_mean_{BMN_ROWS}"
# File and dataset below a video's id that 2D-TAN's classes read whatever the features are.
TAN_FILES = {
    "2dtan-activitynet": ("sub_activitynet_v1-3.c3d", "c3d_features"),
    "2dtan-tacos": ("tall_c3d_features", None),
}
THUMOS_SUBSETS = ("val", "test")
THUMOS_FRAME_STEP = 5


# Layouts whose loaders spread the rows of a video evenly over its duration: always, or if rescaled.
UNTIMED = ("2dtan", *TAN_FILES, "lgi")
UNTIMED_IF_RESCALED = ("actionformer", "opentad")


def check_layout(name: str) -> Layout:
    """Return the layout of a name, or raise a `ValueError` if there is none."""
    if name not in LAYOUTS:
        raise ValueError(f"layout {name!r} is unknown; choose one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def thumos_subset(video_id: str) -> str | None:
    """Return which of G-TAD's THUMOS files holds a video, if its id names one; the loader goes by it too."""
    return next((subset for subset in THUMOS_SUBSETS if subset in video_id), None)


@dataclass(frozen=True)
class LocalizerSettings:
    """Where the rows of features lie, in the terms of localizers' configurations.

    Row `i` lies at second `(i * feat_stride + offset_frames) / fps`.

    Args:
        feat_stride (`int`, *optional*): Frames from one row to the next; none if the rows were rescaled, and
            cover the video evenly.
        num_frames (`int`): Frames that one row covers.
        offset_frames (`float`): Frames from the start of a row's window to its centre.
        fps (`float`, *optional*): Frames per second; none if it differs from video to video.
        input_dim (`int`): Length of a row.
        num_rows (`int`, *optional*): Rows of every video, if they were rescaled.
    """

    feat_stride: int | None
    num_frames: int
    offset_frames: float
    fps: float | None
    input_dim: int
    num_rows: int | None = None


def describe_grid(track: FeatureTrack) -> LocalizerSettings:
    """Return where the rows of a track lie."""
    record = track.record
    is_rescaled = record.rescaled_from is not None
    return LocalizerSettings(
        feat_stride=None if is_rescaled else record.stride_frames,
        num_frames=record.snippet_frames,
        offset_frames=record.snippet_frames / 2,
        fps=record.fps,
        input_dim=track.dim,
        num_rows=track.num_snippets if is_rescaled else None,
    )


def find_off_grid_row(track: FeatureTrack) -> int | None:
    """Return the first row that is farther from the place of its number than one row from the next.

    Localizers have nothing but the number of a row to know its time. It is wrong if the frame rate of the
    video varies much, or a part of it was read. A last window that was not full lies earlier by nature and is
    passed over. For tracks that were not rescaled.
    """
    record = track.record
    offset_frames = record.snippet_frames / 2
    expected_s = (np.arange(track.num_snippets) * record.stride_frames + offset_frames) / record.fps
    off_s = np.abs(track.centers_s - expected_s)
    if track.num_snippets and track.centers_s[-1] < expected_s[-1]:
        missing_s = offset_frames / record.fps
        off_s[-1] = max(0.0, off_s[-1] - missing_s)
    # Choice: one row's distance; less than that is inside the row itself.
    wrong = np.flatnonzero(off_s > record.stride_frames / record.fps * (1 + 1e-9))
    return int(wrong[0]) if len(wrong) else None
