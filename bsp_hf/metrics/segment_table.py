"""Labelled segments of many videos as columns, read from arrays or from official-layout JSON."""

import os
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .segments import as_segments
from .text_files import read_json

JsonSource = Mapping[str, Any] | str | os.PathLike[str]  # Any: parsed JSON


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """Segments of many videos, one row a segment, in file order.

    Args:
        video_ids (`tuple`): The videos, each once, in order of appearance; those without a row included.
        labels (`tuple`): The classes, each once, in order of first appearance.
        video_index (`np.ndarray`): int64, `(num_segments,)`, row's place in `video_ids`.
        label_index (`np.ndarray`): int64, `(num_segments,)`, row's place in `labels`.
        segments_s (`np.ndarray`): float64, `(num_segments, 2)`, start and end in seconds.
        scores (`np.ndarray`, *optional*): float64, `(num_segments,)`, higher is more confident; `None` for
            ground truth.
    """

    video_ids: tuple[Hashable, ...]
    labels: tuple[Hashable, ...]
    video_index: np.ndarray
    label_index: np.ndarray
    segments_s: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.segments_s)

    @classmethod
    def from_columns(
        cls,
        video_ids: Sequence[Hashable] | np.ndarray,
        labels: Sequence[Hashable] | np.ndarray | None,
        segments_s: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        all_video_ids: Iterable[Hashable] | None = None,
    ) -> "SegmentTable":
        """Build a table from plain columns of equal length.

        Args:
            video_ids (`Sequence`): Video of each segment, `(num_segments,)`.
            labels (`Sequence`, *optional*): Class of each segment, names or numbers; `None` for proposals.
            segments_s (`ArrayLike`): Start and end in seconds, `(num_segments, 2)`.
            scores (`ArrayLike`, *optional*): Score of each segment, needed for predictions.
            all_video_ids (`Iterable`, *optional*): Every video that was annotated or run, also those
                without a segment. Defaults to those of `video_ids`.

        Returns:
            `SegmentTable`: Rows in the order given.

        Raises:
            ValueError: If lengths differ, a time is not finite, a score is NaN, or a video of `video_ids`
                is not in `all_video_ids`.
        """
        segments = as_segments(segments_s)
        row_videos = _as_list(video_ids)
        row_labels = [None] * len(segments) if labels is None else _as_list(labels)
        if not len(row_videos) == len(row_labels) == len(segments):
            raise ValueError(
                f"There are {len(row_videos)} video ids, {len(row_labels)} labels and {len(segments)} "
                "segments; each segment needs one of each."
            )
        known_videos = row_videos if all_video_ids is None else all_video_ids
        videos = {video: place for place, video in enumerate(dict.fromkeys(known_videos))}
        unknown = [video for video in dict.fromkeys(row_videos) if video not in videos]
        if unknown:
            raise ValueError(
                f"{len(unknown)} videos of the segments are not in all_video_ids, first {unknown[0]!r}."
            )
        classes = {label: place for place, label in enumerate(dict.fromkeys(row_labels))}
        return cls(
            video_ids=tuple(videos),
            labels=tuple(classes),
            video_index=np.array([videos[video] for video in row_videos], dtype=np.int64),
            label_index=np.array([classes[label] for label in row_labels], dtype=np.int64),
            segments_s=segments,
            scores=None if scores is None else _check_scores(scores, row_videos),
        )

    def require_scores(self) -> np.ndarray:
        """Return `scores`, float64 `(num_segments,)`; a table without them is a `ValueError`."""
        if self.scores is None:
            raise ValueError("The predictions have no scores; pass scores=... to SegmentTable.from_columns.")
        return self.scores

    def without_videos(self, excluded_video_ids: Collection[Hashable]) -> "SegmentTable":
        """Return the table less some videos, for instance a benchmark's blocked list.

        Ids that it does not hold are passed over; classes are in order of first appearance.
        """
        if not excluded_video_ids:
            return self
        excluded = set(excluded_video_ids)
        kept_videos = [video for video in self.video_ids if video not in excluded]
        is_kept = np.array([video not in excluded for video in self.video_ids], dtype=bool)
        return self.select_rows(np.flatnonzero(is_kept[self.video_index]), kept_videos)

    def select_rows(
        self, rows: np.ndarray, all_video_ids: Iterable[Hashable] | None = None, with_labels: bool = True
    ) -> "SegmentTable":
        """Return a table of some rows, by their numbers `(num_rows,)`, in the order wanted.

        The videos are `all_video_ids`, by default those of this table. Without `with_labels` all rows are of
        the class `None`; classes are else in order of first appearance.
        """
        return SegmentTable.from_columns(
            [self.video_ids[place] for place in self.video_index[rows]],
            [self.labels[place] for place in self.label_index[rows]] if with_labels else None,
            self.segments_s[rows],
            None if self.scores is None else self.scores[rows],
            self.video_ids if all_video_ids is None else all_video_ids,
        )


SegmentSource = JsonSource | SegmentTable


def read_ground_truth(source: SegmentSource, subset: str | None) -> SegmentTable:
    """Read one subset, or with `None` all, of an ActivityNet-layout annotation file.

    The layout is `{"database": {video: {"subset": ..., "annotations": [annotation, ...]}}}` with
    `{"label": ..., "segment": [start, end]}` for an annotation. THUMOS14 files in this layout, with times
    written as text, are read too. The official reader also asks for the keys `taxonomy` and `version`, which
    no number depends on; here they may be absent.

    Args:
        source (`dict`, path or `SegmentTable`): The parsed file, its path (`.json` or `.json.gz`), or a ready
            table, which is returned as it is and not filtered.
        subset (`str`, *optional*): Which videos to take, for instance `"validation"`.

    Returns:
        `SegmentTable`: Without scores.

    Raises:
        ValueError: If the layout is another one, no video is in `subset`, or a time is not a finite number.
    """
    if isinstance(source, SegmentTable):
        return source
    database = _load_section(source, "database")
    videos = [video for video, record in database.items() if subset is None or record.get("subset") == subset]
    if not videos:
        present = sorted({str(record.get("subset")) for record in database.values()})
        raise ValueError(
            f"No video is in subset {subset!r}; the file has {present}. Pass one of these as subset."
        )
    rows = [(video, entry) for video in videos for entry in database[video].get("annotations") or ()]
    return _table_from_entries(rows, videos, False, source)


def read_results(source: SegmentSource) -> SegmentTable:
    """Read an ActivityNet-layout result file.

    The layout is `{"results": {video: [{"label": ..., "score": ..., "segment": [start, end]}]}}`. Labels
    may be absent from a proposal file. The official reader also asks for `version` and `external_data`,
    which no number depends on; here they may be absent.

    Args:
        source (`dict`, path or `SegmentTable`): The parsed file, its path (`.json` or `.json.gz`), or a ready
            table with scores, which is returned as it is.

    Returns:
        `SegmentTable`: With scores, rows in file order.

    Raises:
        ValueError: If the layout is another one, a score is missing or NaN, or a time is not a finite number.
    """
    if isinstance(source, SegmentTable):
        source.require_scores()
        return source
    results = _load_section(source, "results")
    rows = [(video, entry) for video, entries in results.items() for entry in entries]
    return _table_from_entries(rows, list(results), True, source)


def _load_section(source: JsonSource, section: str) -> Mapping[str, Any]:
    """Return the part of the layout that holds the videos."""
    if isinstance(source, Mapping):
        data, origin = source, "the given dict"
    else:
        data, origin = read_json(source), str(source)
    if not isinstance(data, Mapping) or not isinstance(data.get(section), Mapping):
        found = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise ValueError(
            f'{origin} has no "{section}" mapping from video id to segments; found {found}. '
            "Expected the ActivityNet layout."
        )
    inner = Mapping if section == "database" else Sequence
    for video, record in data[section].items():
        if not isinstance(record, inner) or isinstance(record, str):
            raise ValueError(
                f"{origin}: video {video!r} of {section!r} holds a {type(record).__name__}; expected "
                f"{'a record with subset and annotations' if inner is Mapping else 'a list of segments'}."
            )
    return data[section]


def _table_from_entries(
    rows: list[tuple[str, Mapping[str, Any]]], videos: list[str], with_scores: bool, source: JsonSource
) -> SegmentTable:
    """Return (video, JSON entry) pairs as columns, naming the file and the video of a bad entry."""
    origin = "" if isinstance(source, Mapping) else f"{source}: "
    segments = np.empty((len(rows), 2), dtype=np.float64)
    scores = np.empty(len(rows), dtype=np.float64)
    for row, (video, entry) in enumerate(rows):
        try:
            start, end = entry["segment"]
            segments[row, 0], segments[row, 1] = float(start), float(end)
            if with_scores:
                scores[row] = entry["score"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{origin}Video {video!r} has the entry {entry!r}, which cannot be read "
                f"({type(error).__name__}: {error}); "
                f"expected a segment [start, end]{' and a score' if with_scores else ''}."
            ) from error
    finite = np.isfinite(segments).all(axis=1)
    if not finite.all():
        video, entry = rows[int(np.argmin(finite))]
        raise ValueError(
            f"{origin}Video {video!r} has the segment {entry['segment']}; both times must be finite seconds."
        )
    return SegmentTable.from_columns(
        [video for video, _ in rows],
        [entry.get("label") for _, entry in rows],
        segments,
        scores if with_scores else None,
        videos,
    )


def _check_scores(scores: npt.ArrayLike, row_videos: list[Hashable]) -> np.ndarray:
    """Return one score a row, none of them NaN (an infinite one still has a place in the order)."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(row_videos),):
        raise ValueError(
            f"scores has shape {values.shape}; expected one for each of {len(row_videos)} segments."
        )
    # The official sort would put NaN first, as the best prediction of its class.
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} scores are NaN, first in video "
            f"{row_videos[int(np.argmax(np.isnan(values)))]!r}. Correct the model's output before scoring it."
        )
    return values


def _as_list(values: Sequence[Hashable] | np.ndarray) -> list[Hashable]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
