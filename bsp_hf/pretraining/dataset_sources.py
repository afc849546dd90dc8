"""Trimmed videos that are rows of a `datasets` data set: files it names, or bytes it holds."""

from pathlib import Path

from datasets import ClassLabel, Dataset

from bsp_hf.videos.datasets import DatasetCell, read_dataset_videos
from bsp_hf.videos.items import LocalFile

from .sources import TrimmedVideo


def list_dataset_videos(
    dataset: Dataset, video_column: str | None = None, label_column: str | None = None
) -> list[TrimmedVideo]:
    """List the videos of a map-style data set, one a row, without reading their bytes or counting frames.

    The label column holds names or a `ClassLabel`, and is by default `label` or `class`; without one, classes
    are unknown. A column `group` says which rows must not be split between training and evaluation.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            "clips are synthesized from any two videos of a datasets.Dataset, not from "
            f"{type(dataset).__name__}; load it without streaming, and choose a split of a DatasetDict."
        )
    if label_column is None:
        label_column = next((name for name in ("label", "class") if name in dataset.features), None)
    group_column = "group" if "group" in dataset.features else None
    others = [name for name in (label_column, group_column) if name is not None]
    sources = []
    for row, video in enumerate(read_dataset_videos(dataset, video_column, others)):
        if video.origin is None:
            raise ValueError(f"row {row} of the data set has neither a path nor bytes of a video.")
        label = "" if label_column is None else _name_label(dataset, label_column, video.values[label_column])
        group = video.values[group_column] if group_column else None
        cell = video.origin if isinstance(video.origin, DatasetCell) else None
        # Rows are told apart by number: many data sets call each of their files alike.
        sources.append(
            TrimmedVideo(
                Path(video.path or f"{cell.column if cell else 'video'}-{row}"),
                label,
                f"row {row}" if group is None else str(group),
                origin=None if isinstance(video.origin, LocalFile) else video.origin,
            )
        )
    return sources


def _name_label(dataset: Dataset, column: str, value: object) -> str:
    if value is None:
        return ""
    feature = dataset.features[column]
    if isinstance(feature, ClassLabel) and isinstance(value, int):
        # datasets writes -1 where a test set hides its labels.
        return feature.int2str(value) if value >= 0 else ""
    return str(value)
