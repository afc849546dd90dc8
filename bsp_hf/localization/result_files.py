"""Result files in the layouts that the benchmarks' own scorers read, and reading them back."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bsp_hf.files import atomic_file
from bsp_hf.localization.annotations.reading import BadRowError, read_table, read_text, to_number
from bsp_hf.localization.annotations.types import AnnotationSet

from .suppression import ABSENT, Detections, detections_to_json

ACTIONNESS_COLUMNS = ("video", "start", "end", "score")


@dataclass(frozen=True, eq=False)
class MomentPrediction:
    """The ranked moments that answer one query.

    Args:
        query_id (`str`): The query, see [`MomentQuery`].
        video_id (`str`): Its video.
        sentence (`str`): The sentence.
        windows_s (`np.ndarray`): float64 `(num_moments, 2)`, seconds, best first.
        scores (`np.ndarray`): float64 `(num_moments,)`.
    """

    query_id: str
    video_id: str
    sentence: str
    windows_s: np.ndarray
    scores: np.ndarray


def write_detections(
    path: str | Path,
    detections: Mapping[str, Detections],
    class_names: Sequence[str] | None = None,
    version: str = "VERSION 1.3",
    one_label: str | None = None,
) -> Path:
    """Write detections as the ActivityNet and THUMOS14 evaluators read them.

    Args:
        path (`str` or `Path`): The `.json` file; replaced in one step.
        detections (`Mapping[str, Detections]`): Detections by video id.
        class_names (`Sequence[str]`, *optional*): Name of every class index.
        version (`str`, *optional*, defaults to `"VERSION 1.3"`): The layout's version entry.
        one_label (`str`, *optional*): Label of segments without a class; empty by default, as in files of
            proposals.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If a class index has no name.
    """
    content = detections_to_json(detections, class_names, version)
    if one_label is not None:
        for entries in content["results"].values():
            for entry in entries:
                entry["label"] = entry["label"] or one_label
    return _write_text(path, json.dumps(content) + "\n")


def write_thumos_text(
    path: str | Path, detections: Mapping[str, Detections], class_numbers: Sequence[int]
) -> Path:
    """Write detections as the THUMOS14 challenge's toolkit reads them: `video start end class score` a line.

    Args:
        path (`str` or `Path`): The `.txt` file; replaced in one step.
        detections (`Mapping[str, Detections]`): Detections by video id, all with a class.
        class_numbers (`Sequence[int]`): The challenge's number of every class index.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If a segment has no class.
    """
    lines = []
    for video_id, found in detections.items():
        if (found.class_indices == ABSENT).any():
            raise ValueError(f"segments of {video_id} have no class; give video-level class scores.")
        for (start_s, end_s), score, index in zip(
            found.segments, found.scores, found.class_indices, strict=True
        ):
            number = class_numbers[int(index)]
            lines.append(f"{video_id} {start_s:.1f} {end_s:.1f} {number} {score:.6f}\n")
    return _write_text(path, "".join(lines))


def write_moments(path: str | Path, predictions: Iterable[MomentPrediction]) -> Path:
    """Write ranked moments as QVHighlights' submissions hold them, a JSON line for each query.

    A line holds `qid`, `query`, `vid` and `pred_relevant_windows` (`[[start, end, score], ...]`, best first).

    Args:
        path (`str` or `Path`): The `.jsonl` file; replaced in one step.
        predictions (`Iterable[MomentPrediction]`): The predictions.

    Returns:
        `Path`: The file.
    """
    lines = []
    for found in predictions:
        windows = np.column_stack([found.windows_s, found.scores]).tolist() if len(found.scores) else []
        query_id = int(found.query_id) if found.query_id.isdecimal() else found.query_id
        record = {"qid": query_id, "query": found.sentence, "vid": found.video_id}
        lines.append(json.dumps({**record, "pred_relevant_windows": windows}) + "\n")
    return _write_text(path, "".join(lines))


def read_moments(path: str | Path) -> dict[str, MomentPrediction]:
    """Read a file of ranked moments, ours or any submission to QVHighlights.

    Args:
        path (`str` or `Path`): The `.jsonl` file, perhaps gzipped.

    Returns:
        `dict[str, MomentPrediction]`: Predictions by `qid`.

    Raises:
        ValueError: If a line is none, or two have one `qid`; the message names the line.
    """
    found: dict[str, MomentPrediction] = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
            rows = np.array(record["pred_relevant_windows"], dtype=np.float64)
            rows = rows.reshape(0, 3) if not rows.size else rows
            if rows.ndim != 2 or rows.shape[1] not in (2, 3) or not np.isfinite(rows).all():
                raise ValueError("pred_relevant_windows must hold [start, end, score], finite numbers")
            scores = rows[:, 2] if rows.shape[1] == 3 else -np.arange(len(rows), dtype=np.float64)
            moment = MomentPrediction(
                str(record["qid"]), str(record["vid"]), str(record["query"]), rows[:, :2], scores
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, line {line}: {error!r}. Expected qid, query, vid and pred_relevant_windows."
            ) from error
        if moment.query_id in found:
            raise ValueError(f"{path}, line {line}: qid {moment.query_id} occurs twice.")
        found[moment.query_id] = moment
    return found


def write_actionness(path: str | Path, scores: Mapping[str, np.ndarray], segment_s: float = 0.2) -> Path:
    """Write the actionness of every short segment: `video,start,end,score` with a header line.

    Args:
        path (`str` or `Path`): The `.csv` file; replaced in one step.
        scores (`Mapping[str, np.ndarray]`): `(num_segments,)` by video id.
        segment_s (`float`, *optional*, defaults to 0.2): Length of a segment in seconds.

    Returns:
        `Path`: The file.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ACTIONNESS_COLUMNS)
    for video_id, values in scores.items():
        for number, score in enumerate(values):
            writer.writerow(
                (video_id, f"{number * segment_s:.3f}", f"{(number + 1) * segment_s:.3f}", f"{score:.8g}")
            )
    return _write_text(path, buffer.getvalue())


def read_actionness(path: str | Path) -> dict[str, np.ndarray]:
    """Read the actionness of short segments.

    Args:
        path (`str` or `Path`): A table with the columns `video` and `score`, rows of a video in their order.

    Returns:
        `dict[str, np.ndarray]`: float64 `(num_segments,)` by video id.

    Raises:
        ValueError: If a column is missing or a score is no number; the message names the line.
    """
    found: dict[str, list[float]] = {}
    for row in read_table(path, ("video", "score")):
        try:
            found.setdefault(row.values["video"], []).append(to_number(row.values["score"], "score"))
        except BadRowError as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from error
    return {video_id: np.array(values) for video_id, values in found.items()}


def read_boundaries(path: str | Path) -> dict[str, list[float]]:
    """Read detected boundaries: a JSON mapping from video id to a list of seconds.

    Args:
        path (`str` or `Path`): The file, perhaps gzipped.

    Returns:
        `dict[str, list[float]]`: Seconds by video id.

    Raises:
        ValueError: If it holds something else.
    """
    try:
        data: Any = json.loads(read_text(path))  # Any: somebody's JSON
        return {str(video): [to_number(time, "time") for time in times] for video, times in data.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {error}. Expected a JSON mapping from video id to a list of seconds."
        ) from error


def choose_windows(
    annotations: AnnotationSet, predictions: Mapping[str, MomentPrediction]
) -> tuple[list[np.ndarray], list[tuple[float, float]], int]:
    """Lay predictions and annotated moments out for `evaluate_grounding`.

    Of several annotated moments, the one counts that the first predicted one overlaps most, as in the
    QVHighlights evaluation of R@1.

    Args:
        annotations (`AnnotationSet`): Videos with queries.
        predictions (`Mapping[str, MomentPrediction]`): Predictions by query id.

    Returns:
        `tuple`: Predicted moments of each query, `(num_moments, 2)`, the annotated moment of each, and how
        many videos have a query with predictions.
    """
    from .suppression import temporal_iou

    moments, truth, videos = [], [], set()
    for video in annotations.videos:
        for query in video.queries:
            found = predictions.get(query.query_id)
            windows_s = np.zeros((0, 2)) if found is None else found.windows_s
            if len(windows_s):
                videos.add(video.video_id)
            best = int(temporal_iou(windows_s[:1], query.windows_s)[0].argmax()) if len(windows_s) else 0
            moments.append(windows_s)
            truth.append(query.windows_s[best])
    return moments, truth, len(videos)


def _write_text(path: str | Path, text: str) -> Path:
    with atomic_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)
