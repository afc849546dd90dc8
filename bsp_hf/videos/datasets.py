"""Videos in a column of a `datasets` data set, streamed or not."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .items import LocalFile, RemoteFile, UnusableVideo, VideoBytes, VideoItem

_USUAL_COLUMNS = ("video", "mp4", "file", "path", "video_path")
_KEY = "__key__"  # of a WebDataset


def is_dataset(value: Any) -> bool:  # Any: whatever a caller gave
    """Say whether something is a data set of `datasets`, without importing it.

    Args:
        value: Anything.

    Returns:
        `bool`: Whether it has examples with named columns.
    """
    return hasattr(value, "column_names") and hasattr(value, "features") and hasattr(value, "__iter__")


def iter_dataset(
    dataset: Any,  # Any: a Dataset or IterableDataset, whose package is slow to import
    *,
    video_column: str | None = None,
    id_column: str | None = None,
) -> Iterator[VideoItem | UnusableVideo]:
    """Iterate over the videos of a data set; nothing is decoded and no example is kept.

    Args:
        dataset: A `datasets.Dataset` or `IterableDataset`.
        video_column (`str`, *optional*): Column of videos: of the type `Video`, of paths or addresses, or of
            bytes; by default the one of type `Video`, else one of the usual names.
        id_column (`str`, *optional*): Column of ids; by default `__key__` if there is one, else the name of
            the file without suffix, else the number of the example.

    Yields:
        `VideoItem` or `UnusableVideo`: The videos in the order of the data set.

    Raises:
        ValueError: If there is no such column.
    """
    from datasets import Video

    types = dict(dataset.features or {})
    names = list(dataset.column_names or types)
    column = video_column or _guess_column(types, names)
    if id_column is None and _KEY in names:
        id_column = _KEY
    for name in filter(None, (column, id_column)):
        if names and name not in names:
            raise ValueError(f"the data set has no column {name!r}; it has {', '.join(names)}.")
    if isinstance(types.get(column), Video):
        dataset = dataset.cast_column(column, Video(decode=False))
    wanted = [name for name in names if name in (column, id_column)]
    for number, example in enumerate(dataset.select_columns(wanted) if wanted else dataset):
        yield _describe(example, number, column, id_column)


def _guess_column(types: Mapping[str, Any], names: Iterable[str]) -> str:
    from datasets import Video

    candidates = [name for name, kind in types.items() if isinstance(kind, Video)]
    candidates += [name for name in _USUAL_COLUMNS if name in names]
    if not candidates:
        raise ValueError(
            f"the data set has no column of videos among {', '.join(names) or 'none'}; name it with "
            "video_column."
        )
    return candidates[0]


def _describe(
    example: Mapping[str, Any], number: int, column: str, id_column: str | None
) -> VideoItem | UnusableVideo:
    cell = example.get(column)
    path: Any = cell.get("path") if isinstance(cell, Mapping) else cell
    data: Any = cell.get("bytes") if isinstance(cell, Mapping) else None
    if isinstance(path, (bytes, bytearray)):
        path, data = None, bytes(path)
    given = example.get(id_column) if id_column else None
    stem = Path(path).stem if isinstance(path, str) and path else None
    video_id = str(given) if given is not None else stem or f"{number:08d}"
    name = f"example {number}" + (f" ({path or video_id})" if path or given is not None else "")
    try:
        if data is not None:
            return VideoItem(video_id, name, VideoBytes(data))
        if isinstance(path, str) and path:
            return VideoItem(video_id, name, RemoteFile(path) if "://" in path else LocalFile(Path(path)))
        return UnusableVideo(name, f"the column {column!r} holds no video but {type(cell).__name__}")
    except ValueError as error:
        return UnusableVideo(name, str(error))
