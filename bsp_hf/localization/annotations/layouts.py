"""Annotations in any layout: which one a file has, and its reading."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsp_hf.metrics.text_files import parse_json, read_text

from .detection import activitynet_entries, coin_entries, crosstask_entries, thumos_entries
from .grounding import captions_entries, charades_sta_entries, qvhighlights_entries
from .plain import plain_json_entries, plain_table_entries
from .reading import Entry, ReadingOptions, collect_annotations, read_durations, require_files
from .tools.boris import EXPORT_COLUMNS, boris_entries
from .tools.cvat import cvat_entries
from .tools.elan import elan_entries
from .tools.fiftyone import fiftyone_entries
from .tools.via import via_entries
from .types import AnnotationSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """A layout of annotation files: what it looks like, and what yields its entries."""

    description: str
    entries: Callable[[Path, ReadingOptions], Iterator[Entry]]


ANNOTATION_LAYOUTS: dict[str, Layout] = {
    "activitynet": Layout(
        '{"database": {id: {subset, duration, annotations}}}; also THUMOS14 in that form', activitynet_entries
    ),
    "captions": Layout(
        "ActivityNet Captions, TACoS: {id: {duration or fps, num_frames, timestamps, sentences}}",
        captions_entries,
    ),
    "charades-sta": Layout(
        "lines of VIDEO START END##sentence; durations in a table of id and length", charades_sta_entries
    ),
    "coin": Layout("{database: {id: {class, duration, annotation}}} or a list of such records", coin_entries),
    "crosstask": Layout(
        "a folder of TASK_VIDEO.csv, or a table task,video,step,start,end", crosstask_entries
    ),
    "qvhighlights": Layout(
        "JSON lines with qid, query, vid, duration, relevant_windows", qvhighlights_entries
    ),
    "thumos-table": Layout(
        "a table video,type,start,end or video-name,t-init,t-end,label-idx", thumos_entries
    ),
    "csv": Layout(
        "a table video,start,end with label or sentence, and optionally duration and subset",
        plain_table_entries,
    ),
    "json": Layout(
        "a list of {video, start, end, label or sentence}, or {id: {duration, segments, queries}}",
        plain_json_entries,
    ),
    "boris": Layout("projects of BORIS (.boris), or its table of aggregated events", boris_entries),
    "elan": Layout("documents of ELAN (.eaf), one or a folder of them", elan_entries),
    "cvat": Layout("XML 1.1 of CVAT, a file or a folder of them; needs the frame rate", cvat_entries),
    "via": Layout("projects of VIA 3 with temporal segments", via_entries),
    "fiftyone": Layout("labels.json of FiftyOne's temporal detections", fiftyone_entries),
}


def read_annotations(
    path: str | Path,
    layout: str | None = None,
    *,
    subset: str = "",
    durations: str | Path | None = None,
    tasks: str | Path | None = None,
    validation_videos: str | Path | None = None,
    keep_ambiguous: bool = False,
    fps: float | None = None,
    strict: bool = False,
) -> AnnotationSet:
    r"""Read an annotation file, plain or gzipped, or a folder; by default the layout is detected.

    Bad rows are left out and listed in `problems`, unless `strict` asks for an [`AnnotationError`]. Of
    other files, `durations` is the table of `id` and `length` of `charades-sta`, `tasks` and
    `validation_videos` are the lists of `crosstask`. `subset` names that of layouts with one file a subset;
    `keep_ambiguous` keeps segments of the class "Ambiguous" of THUMOS14, which is none of its 20; `fps` is
    the frame rate of layouts that count frames and do not say it (`cvat`, `fiftyone`).

    Example:
    ```python
    >>> import tempfile, pathlib
    >>> from bsp_hf.localization.annotations.layouts import read_annotations
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("video,start,end,label\nv1,2.0,7.5,jump\nv1,9,8,run\n")
    >>> found = read_annotations(path)
    >>> found.videos[0].segments, found.problems[0].line
    ((Segment(start_s=2.0, end_s=7.5, label='jump'),), 3)

    ```
    """
    layout = detect_layout(path) if layout is None else layout
    if layout not in ANNOTATION_LAYOUTS:
        raise ValueError(f"layout {layout!r} is unknown; choose one of {', '.join(ANNOTATION_LAYOUTS)}.")
    require_files(durations, tasks, validation_videos)
    for file in (tasks, validation_videos):
        if file is not None and layout != "crosstask":
            logger.warning("%s is not read: annotations of the layout %s have no tasks", file, layout)
    options = ReadingOptions(subset, durations, tasks, validation_videos, keep_ambiguous, fps)
    entries = ANNOTATION_LAYOUTS[layout].entries(Path(path), options)
    found = replace(collect_annotations(Path(path), entries, strict, keep_ambiguous), layout=layout)
    return found if durations is None else found.with_durations(read_durations(durations))


def detect_layout(path: str | Path) -> str:
    """Return the layout of an annotation file or folder, one of `ANNOTATION_LAYOUTS`, by its content."""
    if Path(path).is_dir():
        folders = {".eaf": "elan", ".xml": "cvat"}
        found = [layout for suffix, layout in folders.items() if any(Path(path).rglob(f"*{suffix}"))]
        if len(found) > 1:
            raise ValueError(f"{path} holds documents of {' and '.join(found)}; name one of these layouts.")
        return found[0] if found else "crosstask"
    name = Path(path).name.removesuffix(".gz")
    text = read_text(path)
    first = text.lstrip().partition("\n")[0]
    if name.endswith(".boris"):
        return "boris"
    if text.lstrip().startswith("<"):
        return "elan" if "<ANNOTATION_DOCUMENT" in text else "cvat"
    if name.endswith((".csv", ".tsv")):
        columns = set(re.split(r"[,\t]", first.strip()))
        if {*EXPORT_COLUMNS} <= columns:
            return "boris"
        if {"task", "video", "step"} <= columns:
            return "crosstask"
        return "thumos-table" if "video-name" in columns or "type_idx" in columns else "csv"
    if name.endswith(".jsonl"):
        return "qvhighlights"
    if "##" in first and not name.endswith(".json"):
        return "charades-sta"
    if name.endswith(".json") or text.lstrip().startswith(("{", "[")):
        return _detect_json(parse_json(text, path))
    raise ValueError(f"{path}: the layout cannot be detected; pass one of {', '.join(ANNOTATION_LAYOUTS)}.")


def _detect_json(data: Any) -> str:  # Any: parsed JSON
    if isinstance(data, Mapping) and isinstance(data.get("database"), Mapping):
        is_coin = any(isinstance(r, Mapping) and "annotation" in r for r in data["database"].values())
        return "coin" if is_coin else "activitynet"
    if isinstance(data, Mapping) and {"attribute", "file", "metadata", "view"} <= data.keys():
        return "via"
    if isinstance(data, Mapping) and {"observations", "behaviors_conf"} <= data.keys():
        return "boris"
    if isinstance(data, Mapping) and data.keys() == {"classes", "labels"}:
        return "fiftyone"
    records = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    first = next(iter(records), None)
    if isinstance(first, Mapping):
        if "timestamps" in first:
            return "captions"
        if isinstance(data, Mapping) and "annotations" in first:
            return "activitynet"
        inner = next(iter(first.values()), None)
        if isinstance(data, list) and isinstance(inner, Mapping) and "annotation" in inner:
            return "coin"
    return "json"
