"""Videos in a column of a `datasets` data set, streamed or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from .items import UnusableVideo, VideoBytes, VideoItem, VideoOrigin, locate, stamp_bytes

_USUAL_COLUMNS = ("video", "mp4", "file", "path", "video_path")
_KEY = "__key__"  # of a WebDataset


@dataclass(frozen=True, eq=False)
class DatasetCell:
    """A video whose bytes lie in a row of a `datasets.Dataset` in the format `"arrow"`, not decoded."""

    dataset: Any  # Any: datasets is slow to import
    column: str
    row: int

    def stamp(self) -> str:
        """Return [`stamp_bytes`] of its bytes, of which the middle is not read."""
        return stamp_bytes(memoryview(self._buffer()))

    @contextmanager
    def open(self) -> Iterator[bytes]:
        """Return a context manager of the bytes."""
        yield self.read()

    def read(self) -> bytes:
        """Return the bytes of the video file."""
        return self._buffer().to_pybytes()

    def _buffer(self) -> Any:  # Any: a pyarrow.Buffer of the file that is mapped into memory
        cell = self.dataset[self.row].column(self.column)[0]
        return (cell["bytes"] if hasattr(cell, "keys") else cell).as_buffer()


@dataclass(frozen=True)
class DatasetVideo:
    """A row of a data set of videos: the file's name in it, where its bytes are, and values of other columns.

    A row with neither a path nor bytes has no origin.
    """

    path: str | None
    origin: VideoOrigin | None
    values: Mapping[str, Any]


def is_dataset(value: Any) -> bool:  # Any: a caller's argument
    """Return whether something is a data set of `datasets`, without importing it."""
    return hasattr(value, "column_names") and hasattr(value, "features") and hasattr(value, "__iter__")


def iter_dataset(
    dataset: Any,  # Any: a Dataset or IterableDataset
    *,
    video_column: str | None = None,
    id_column: str | None = None,
) -> Iterator[VideoItem | UnusableVideo]:
    """Iterate over the videos of a data set; nothing is decoded and no example is kept.

    Ids are those of `id_column`, by default `__key__`, else the name of the file without suffix, else the
    number of the example.
    """
    if id_column is None and _KEY in (dataset.column_names or dataset.features or ()):
        id_column = _KEY
    others = [] if id_column is None else [id_column]
    for number, video in enumerate(read_dataset_videos(dataset, video_column, others)):
        given = video.values[id_column] if id_column else None
        stem = Path(video.path).stem if video.path else None
        video_id = str(given) if given is not None else stem or f"{number:08d}"
        name = f"example {number}"
        if video.path or given is not None:
            name += f" ({video.path or video_id})"
        if video.origin is None:
            yield UnusableVideo(name, "it has neither a path nor bytes")
            continue
        try:
            yield VideoItem(video_id, name, video.origin)
        except ValueError as error:
            yield UnusableVideo(name, str(error))


def read_dataset_videos(
    dataset: Any,  # Any: a Dataset or IterableDataset
    video_column: str | None = None,
    others: Sequence[str] = (),
) -> Iterator[DatasetVideo]:
    """Iterate over the rows of a data set; of one that is not streamed, no bytes are read.

    The column of videos holds the type `Video`, `{"path", "bytes"}`, paths or addresses, or bytes; by default
    it is the only one of the first two kinds, else one of the usual names.
    """
    from datasets import Dataset, Video

    features = dataset.features or {}
    names = list(dataset.column_names or features)
    column = _find_video_column(features, names, video_column)
    for name in others:
        if names and name not in names:
            raise ValueError(f"the data set has no column {name!r}; it has {', '.join(names)}.")
    if names:
        dataset = dataset.select_columns(list(dict.fromkeys((column, *others))))
    if isinstance(features.get(column), Video):
        dataset = dataset.cast_column(column, Video(decode=False))
    if not isinstance(dataset, Dataset):
        for example in dataset:
            path, data = _read_cell(example.get(column))
            origin = VideoBytes(data) if data is not None else locate(path) if path else None
            yield DatasetVideo(path, origin, {name: example.get(name) for name in others})
        return
    dataset = dataset.with_format("arrow")
    row = 0
    for table in dataset.iter(batch_size=100):
        rest: Iterable[dict[str, Any]] = table.select(list(others)).to_pylist() if others else repeat({})
        for (path, has_bytes), values in zip(_read_arrow_cells(table.column(column)), rest, strict=False):
            cell = DatasetCell(dataset, column, row)
            yield DatasetVideo(path, cell if has_bytes else locate(path) if path else None, values)
            row += 1


def _find_video_column(features: Mapping[str, Any], names: list[str], wanted: str | None) -> str:
    from datasets import Value, Video

    cell = {"bytes": Value("binary"), "path": Value("string")}
    found = [name for name in names if isinstance(features.get(name), Video)]
    found = found or [name for name in names if features.get(name) == cell]
    # A stream may not know its types before it is read.
    plain = [
        name
        for name in names
        if name not in features
        or (isinstance(features[name], Value) and features[name].dtype.endswith(("string", "binary")))
    ]
    if wanted is not None:
        if names and wanted not in names:
            raise ValueError(f"the data set has no column {wanted!r}; it has {', '.join(names)}.")
        if not names or wanted in (*found, *plain):
            return wanted
        problem = f"column {wanted!r} holds no videos"
    else:
        found = found or [name for name in _USUAL_COLUMNS if name in plain][:1]
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} columns hold videos"
    raise ValueError(
        f"{problem} in a data set with the columns {names}; pass video_column=, the name of one of videos "
        "(the feature datasets.Video), paths or bytes."
    )


def _read_cell(cell: Any) -> tuple[str | None, bytes | None]:  # Any: whatever a stream holds
    """Return the path and the bytes of a cell, each if it has them."""
    path, data = (cell.get("path"), cell.get("bytes")) if isinstance(cell, Mapping) else (cell, cell)
    return (
        path if isinstance(path, str) and path else None,
        bytes(data) if isinstance(data, (bytes, bytearray)) else None,
    )


def _read_arrow_cells(cells: Any) -> Iterator[tuple[str | None, bool]]:  # Any: a pyarrow.ChunkedArray
    """Yield the path of each cell, if it has one, and whether its bytes are there."""
    from pyarrow import types

    for chunk in cells.chunks:
        if types.is_struct(chunk.type):
            fields = dict(zip((field.name for field in chunk.type), chunk.flatten(), strict=True))
            yield from zip(fields["path"].to_pylist(), fields["bytes"].is_valid().to_pylist(), strict=True)
        elif types.is_binary(chunk.type) or types.is_large_binary(chunk.type):
            yield from ((None, has_bytes) for has_bytes in chunk.is_valid().to_pylist())
        else:
            yield from ((path, False) for path in chunk.to_pylist())
