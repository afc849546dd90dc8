"""Trimmed videos that are rows of a `datasets` data set: files it names, or bytes it holds."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, Value, Video

from .sources import TrimmedVideo


@dataclass(frozen=True, eq=False)
class DatasetCell:
    """A video file inside a data set.

    Args:
        dataset (`Dataset`): The data set, with `Video(decode=False)` in the column.
        column (`str`): Column of the videos.
        row (`int`): Row of this one.
    """

    dataset: Dataset
    column: str
    row: int

    @property
    def stamp(self) -> str:
        """What changes whenever the bytes do."""
        # The fingerprint is how datasets itself recognises contents; it has no public name.
        return f"{self.dataset._fingerprint}|{self.column}|{self.row}"

    def read(self) -> bytes:
        """Return the bytes of the video file."""
        return self.dataset[self.row][self.column]["bytes"]


def list_dataset_videos(
    dataset: Dataset, video_column: str | None = None, label_column: str | None = None
) -> list[TrimmedVideo]:
    """List the videos of a data set without reading their bytes.

    Args:
        dataset (`Dataset`): One row a video. A column `group`, if there is one, says which rows must not be
            split between training and evaluation.
        video_column (`str`, *optional*): Column of `{"path", "bytes"}`; by default the one with the feature
            `Video`, or else of that structure.
        label_column (`str`, *optional*): Column of the action classes, names or `ClassLabel`; by default
            `label` or `class`. Without one, classes are unknown.

    Returns:
        `list[TrimmedVideo]`: The videos in row order, frames not yet counted.

    Raises:
        TypeError: If it is no map-style data set: a clip may join any two videos, so each must be within
            reach.
        ValueError: If a column is missing or ambiguous, or a row has neither a path nor bytes.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            "clips are synthesized from any two videos of a datasets.Dataset, not from "
            f"{type(dataset).__name__}; load it without streaming, and choose a split of a DatasetDict."
        )
    video_column = _find_video_column(dataset.features, video_column)
    if label_column is None:
        label_column = next((name for name in ("label", "class") if name in dataset.features), None)
    elif label_column not in dataset.features:
        raise ValueError(f"there is no column {label_column!r}; the data set has {list(dataset.features)}.")
    labels = _read_texts(dataset, label_column)
    groups = _read_texts(dataset, "group" if "group" in dataset.features else None)

    videos = dataset.select_columns([video_column]).cast_column(video_column, Video(decode=False))
    sources = []
    for row, (path, has_bytes) in enumerate(_read_paths(videos, video_column)):
        if not path and not has_bytes:
            raise ValueError(f"row {row} of column {video_column!r} has neither a path nor bytes.")
        name = path or f"{video_column}-{row}"
        contents = DatasetCell(videos, video_column, row) if has_bytes else None
        # Rows are told apart by number: many data sets call each of their files alike.
        sources.append(TrimmedVideo(Path(name), labels[row], groups[row] or f"row {row}", contents=contents))
    return sources


def _find_video_column(features: Features, wanted: str | None) -> str:
    structure = {"bytes": Value("binary"), "path": Value("string")}
    found = [name for name, feature in features.items() if isinstance(feature, Video)]
    found = found or [name for name, feature in features.items() if feature == structure]
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted is not None and wanted in found:
        return wanted
    problem = f"column {wanted!r} holds no videos" if wanted else f"{len(found)} columns hold videos"
    raise ValueError(
        f"{problem} in a data set with the columns {list(features)}; pass video_column=, the name of one "
        "with the feature datasets.Video."
    )


def _read_texts(dataset: Dataset, column: str | None) -> list[str]:
    if column is None:
        return [""] * len(dataset)
    feature = dataset.features[column]
    values = dataset.select_columns([column]).with_format(None)[:][column]
    if isinstance(feature, ClassLabel):
        # datasets writes -1 where a test set hides its labels.
        return [feature.int2str(value) if value is not None and value >= 0 else "" for value in values]
    return ["" if value is None else str(value) for value in values]


def _read_paths(videos: Dataset, column: str) -> Iterator[tuple[str | None, bool]]:
    """Yield the path of every video, and whether its bytes are there."""
    for table in videos.with_format("arrow").iter(batch_size=100):
        for chunk in table.column(column).chunks:
            paths: list[Any] = chunk.field("path").to_pylist()
            yield from zip(paths, chunk.field("bytes").is_valid().to_pylist(), strict=True)


def relative_names(sources: list[TrimmedVideo]) -> list[str]:
    """Return the paths of videos relative to the folder they have in common, with forward slashes.

    Args:
        sources (`list[TrimmedVideo]`): The videos.

    Returns:
        `list[str]`: One name a video.
    """
    if not sources:
        return []
    folders = {os.path.dirname(source.path) for source in sources}
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # several drives, or absolute and relative paths
        return [source.path.as_posix() for source in sources]
    return [Path(os.path.relpath(source.path, common or ".")).as_posix() for source in sources]
