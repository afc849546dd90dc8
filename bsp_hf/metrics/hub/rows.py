"""Rows of an `evaluate` table, one a video, turned into what the metrics of this package take."""

from collections.abc import Iterable, Mapping
from typing import Any

from bsp_hf.metrics.segment_table import SegmentTable

Row = Mapping[str, Any]  # Any: a row of a table with mixed columns


def check_same_videos(predictions: Iterable[Row], references: Iterable[Row]) -> None:
    """Check that each prediction stands beside the reference of its own video, and each video once.

    Samplers that pad the last batch repeat videos over processes, which would count instances twice.

    Args:
        predictions (`Iterable`): Rows with a `video_id`.
        references (`Iterable`): Rows with a `video_id`, in the same order.

    Raises:
        ValueError: If two ids of a pair differ, or a video comes twice.
    """
    seen = set()
    for predicted, true in zip(predictions, references, strict=True):
        video = true["video_id"]
        if predicted["video_id"] != video:
            raise ValueError(
                f"A prediction of video {predicted['video_id']!r} stands beside the reference of {video!r}."
            )
        if video in seen:
            raise ValueError(
                f"Video {video!r} was added twice. Use a sampler that does not pad, or drop the repeats."
            )
        seen.add(video)


def table_from_rows(rows: Iterable[Row], with_labels: bool = True) -> SegmentTable:
    """Build a table of segments from rows of videos.

    Args:
        rows (`Iterable`): Rows with `video_id`, `segments` in seconds, and `labels` and `scores` where
            there are some, each as long as `segments`.
        with_labels (`bool`): Whether to read `labels`. Defaults to `True`.

    Returns:
        `SegmentTable`: All segments in the order of the rows.

    Raises:
        ValueError: If the columns of a row differ in length, a time is not finite, or a score is NaN.
    """
    videos: list[str] = []
    labels: list[str | None] = []
    segments: list[list[float]] = []
    scores: list[float] = []
    with_scores = False
    all_videos = []
    for row in rows:
        num_segments = len(row["segments"])
        all_videos.append(row["video_id"])
        with_scores = "scores" in row
        for column, needed in (("labels", with_labels), ("scores", with_scores)):
            if needed and len(row[column]) != num_segments:
                raise ValueError(
                    f"Video {row['video_id']!r} has {num_segments} segments and {len(row[column])} {column}; "
                    "each segment needs one."
                )
        videos.extend([row["video_id"]] * num_segments)
        segments.extend(row["segments"])
        labels.extend(row["labels"] if with_labels else [None] * num_segments)
        scores.extend(row["scores"] if with_scores else ())
    return SegmentTable.from_columns(videos, labels, segments, scores if with_scores else None, all_videos)
