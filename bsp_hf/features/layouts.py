"""The layouts that the loaders of localizers read: which files, which names inside, which settings."""

from dataclasses import dataclass


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
        Layout("2dtan", ("hdf5",), "one {feature_type}_features.hdf5 keyed by id"),
        Layout("lgi", ("npy",), "a folder of {id}.npy"),
        Layout("bmn", ("csv",), "mmaction2: a folder of {id}.csv with one header line and 100 rows"),
        Layout("tsp", ("h5",), "one {feature_type}-{subset}_features.h5 for each subset, keyed by id"),
        Layout("crosstask", (), "a folder of {id}.npy, one row for each second"),
    )
}

BMN_ROWS = 100
THUMOS_SUBSETS = ("val", "test")
THUMOS_FRAME_STEP = 5


def check_layout(name: str) -> Layout:
    """Return the layout of a name.

    Args:
        name (`str`): One of `LAYOUTS`.

    Returns:
        `Layout`: The layout.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout {name!r} is unknown; choose one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def thumos_subset(video_id: str) -> str | None:
    """Say which of G-TAD's THUMOS files holds a video; the loader goes by the id as well.

    Args:
        video_id (`str`): Such as `"video_validation_0000051"`.

    Returns:
        `str` or `None`: `"val"`, `"test"`, or none if the id names neither.
    """
    return next((subset for subset in THUMOS_SUBSETS if subset in video_id), None)


__all__ = [
    "BMN_ROWS",
    "LAYOUTS",
    "THUMOS_FRAME_STEP",
    "THUMOS_SUBSETS",
    "Layout",
    "check_layout",
    "thumos_subset",
]
