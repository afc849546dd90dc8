"""Result files in the layouts that the benchmarks' own scorers read, and reading them back."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bsp_hf.files import atomic_write_text
from bsp_hf.localization.annotations.reading import (
    BadRowError,
    expect_mapping,
    numbered_lines,
    read_table,
    to_list,
    to_number,
    to_window,
)
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.metrics import pairwise_tiou
from bsp_hf.metrics.text_files import load_json, read_json

from .suppression import ABSENT, Detections, detections_to_json

QueryKey = tuple[str, str]  # video id and query id

_SAME_TIME_S = 2e-3  # twice what rounding to milliseconds may do
ACTIONNESS_COLUMNS = ("video", "start", "end", "score")


@dataclass(frozen=True, eq=False)
class MomentPrediction:
    """The ranked moments that answer one query."""

    query_id: str  # unique within the video alone
    video_id: str
    sentence: str
    windows_s: np.ndarray  # float64 `(num_moments, 2)`, best first
    scores: np.ndarray  # float64 `(num_moments,)`
    saliency: np.ndarray | None = None  # float64 `(num_clips,)`, for clips of 2 s

    @property
    def key(self) -> QueryKey:
        """Video and query id, by which predictions are looked up."""
        return self.video_id, self.query_id


def write_detections(
    path: str | Path,
    detections: Mapping[str, Detections],
    class_names: Sequence[str] | None = None,
    version: str = "VERSION 1.3",
    one_label: str | None = None,
) -> Path:
    """Write detections by video id to `.json`, as the ActivityNet and THUMOS14 evaluators read them.

    `one_label` labels segments without a class; by default their label is empty, as in files of proposals.
    Arguments else as of [`detections_to_json`].
    """
    content = detections_to_json(detections, class_names, version)
    if one_label is not None:
        for entries in content["results"].values():
            for entry in entries:
                entry["label"] = entry["label"] or one_label
    atomic_write_text(path, json.dumps(content) + "\n")
    return Path(path)


def write_thumos_text(
    path: str | Path, detections: Mapping[str, Detections], class_numbers: Sequence[int]
) -> Path:
    """Write detections as the THUMOS14 challenge's toolkit reads them: `video start end class score` a line.

    All segments need a class; `class_numbers` holds the challenge's number of every class index.
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
    atomic_write_text(path, "".join(lines))
    return Path(path)


def write_moments(path: str | Path, predictions: Iterable[MomentPrediction]) -> Path:
    """Write ranked moments as QVHighlights' submissions hold them, a JSON line for each query.

    A line holds `qid`, `query`, `vid`, `pred_relevant_windows` (`[[start, end, score], ...]`, best first) and
    perhaps `pred_saliency_scores`.
    """
    lines = []
    for found in predictions:
        windows = np.column_stack([found.windows_s, found.scores]).tolist() if len(found.scores) else []
        query_id = int(found.query_id) if found.query_id.isdecimal() else found.query_id
        record = {"qid": query_id, "query": found.sentence, "vid": found.video_id}
        if found.saliency is not None:
            record["pred_saliency_scores"] = found.saliency.tolist()
        lines.append(json.dumps({**record, "pred_relevant_windows": windows}) + "\n")
    atomic_write_text(path, "".join(lines))
    return Path(path)


def read_moments(path: str | Path) -> dict[QueryKey, MomentPrediction]:
    """Read a file of ranked moments, ours or any submission to QVHighlights, by video and query id.

    A line that is none, or a query that comes twice, is a `ValueError` that names the line.
    """
    found: dict[QueryKey, MomentPrediction] = {}
    lines: dict[QueryKey, int] = {}
    for line, text in numbered_lines(path):
        try:
            record = load_json(text)
            rows = np.array(record["pred_relevant_windows"], dtype=np.float64)
            rows = rows.reshape(0, 3) if not rows.size else rows
            if rows.ndim != 2 or rows.shape[1] not in (2, 3) or not np.isfinite(rows).all():
                raise ValueError("pred_relevant_windows must hold [start, end, score], finite numbers")
            scores = rows[:, 2] if rows.shape[1] == 3 else -np.arange(len(rows), dtype=np.float64)
            saliency = record.get("pred_saliency_scores")
            if saliency is not None:
                saliency = np.array(saliency, dtype=np.float64).reshape(-1)
                if not np.isfinite(saliency).all():
                    raise ValueError("pred_saliency_scores must hold finite numbers")
            video_id, query_id = str(record["vid"]), str(record["qid"])
            moment = MomentPrediction(query_id, video_id, str(record["query"]), rows[:, :2], scores, saliency)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{path}, line {line}: {reason}; expected qid, query, vid and pred_relevant_windows."
            ) from error
        if moment.key in found:
            raise ValueError(
                f"{path}, line {line}: query {moment.query_id} of video {moment.video_id} is that of line "
                f"{lines[moment.key]} too; every query needs one line."
            )
        found[moment.key], lines[moment.key] = moment, line
    return found


def write_actionness(path: str | Path, scores: Mapping[str, np.ndarray], segment_s: float = 0.2) -> Path:
    """Write `(num_segments,)` scores of short segments by video id: `video,start,end,score` with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ACTIONNESS_COLUMNS)
    for video_id, values in scores.items():
        for number, score in enumerate(values):
            writer.writerow(
                (video_id, f"{number * segment_s:.3f}", f"{(number + 1) * segment_s:.3f}", f"{score:.8g}")
            )
    atomic_write_text(path, buffer.getvalue())
    return Path(path)


def read_actionness(path: str | Path) -> dict[str, np.ndarray]:
    """Read the actionness of short segments by video id, float64 `(num_segments,)`.

    The table has the columns `video` and `score`. With `start` and `end` rows may stand in any order, but
    each second needs one score; without them they stand in the order of their times.
    """
    found: dict[str, dict[float, tuple[float, float]]] = {}  # end and score by start
    for row in read_table(path, ("video", "score")):
        video_id, values = row.values["video"], row.values
        rows = found.setdefault(video_id, {})
        try:
            list(row.check())
            has_times = "start" in values and "end" in values
            start_s, end_s = (
                to_window((values["start"], values["end"])) if has_times else (len(rows), len(rows) + 1.0)
            )
            if start_s in rows:
                raise BadRowError(f"video {video_id} has two scores at {start_s:g} s.")
            rows[start_s] = end_s, to_number(values["score"], "score")
        except BadRowError as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from error
    for video_id, rows in found.items():
        problem = _describe_fault(rows)
        if problem is not None:
            raise ValueError(f"{path}: video {video_id} has {problem}.")
    return {
        video_id: np.array([rows[start_s][1] for start_s in sorted(rows)]) for video_id, rows in found.items()
    }


def _describe_fault(rows: Mapping[float, tuple[float, float]]) -> str | None:
    """Return what keeps rows, end and score by start, from being equal parts of a video, the last aside."""
    starts_s = np.array(sorted(rows))
    ends_s = np.array([rows[start_s][0] for start_s in starts_s])
    befores_s = np.concatenate([[0.0], ends_s[:-1]])
    for start_s, before_s in zip(starts_s, befores_s, strict=True):
        if start_s - before_s > _SAME_TIME_S:
            return f"no score from {before_s:g} s to {start_s:g} s"
        if before_s - start_s > _SAME_TIME_S:
            return f"two scores from {start_s:g} s to {before_s:g} s"
    lengths_s = (ends_s - starts_s)[:-1]
    if len(lengths_s) and np.ptp(lengths_s) > _SAME_TIME_S:
        return f"segments of {lengths_s.min():.6g} s and of {lengths_s.max():.6g} s"
    return None


def read_boundaries(path: str | Path) -> dict[str, list[float]]:
    """Read detected boundaries: a JSON mapping from video id to a list of seconds."""
    data = expect_mapping(read_json(path), path, "a mapping from video id to a list of seconds")
    found = {}
    for video_id, times in data.items():
        try:
            found[video_id] = [to_number(time, "time") for time in to_list(times, "the record")]
        except BadRowError as error:
            raise ValueError(f"{path}: video {video_id}: {error} Expected a list of seconds.") from error
    return found


@dataclass(frozen=True)
class PairedMoments:
    """Predicted and annotated moments, query by query, as `evaluate_grounding` takes them."""

    predicted_s: list[np.ndarray]  # `(num_moments, 2)` for each query, best first
    annotated_s: list[tuple[float, float]]


def pair_moments(
    annotations: AnnotationSet, predictions: Mapping[QueryKey, MomentPrediction]
) -> PairedMoments:
    """Return the predictions of every annotated query, none where it has none, and the moment that counts.

    Of several annotated moments, the one counts that the first predicted one overlaps most, as in the
    QVHighlights evaluation of R@1.
    """
    pairs = PairedMoments([], [])
    for video in annotations.videos:
        for query in video.queries:
            found = predictions.get((video.video_id, query.query_id))
            windows_s = np.zeros((0, 2)) if found is None else found.windows_s
            best = int(pairwise_tiou(windows_s[:1], query.windows_s)[0].argmax()) if len(windows_s) else 0
            pairs.predicted_s.append(windows_s)
            pairs.annotated_s.append(query.windows_s[best])
    return pairs
