"""FiftyOne: temporal detections as `FiftyOneTemporalDetectionDataset` keeps them in `labels.json`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..reading import (
    BadRowError,
    Entry,
    JsonText,
    ReadingOptions,
    Row,
    SegmentRow,
    expect_mapping,
    to_list,
    to_number,
    to_record,
)
from ..types import AnnotatedVideo
from .media import Media


def fiftyone_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read `{"classes": [...], "labels": {id: [{"label", "timestamps" or "support"}]}}`.

    `timestamps` are seconds. `support` is the first and last frame, counted from 1, which become seconds by
    the option `fps`. With classes, a label may be the number of one.
    """
    text = JsonText(path)
    data = expect_mapping(text.data, path, "temporal detections of FiftyOne")
    classes = to_list(data.get("classes") or [], "classes")
    for video_id, detections in expect_mapping(data.get("labels"), path, "labels by id").items():
        line = text.line_of(video_id)
        yield Entry(line, video_id, [{"subset": options.subset, "fps": options.fps}])
        # Each is an entry, so that a bad one costs no other.
        for one in detections if isinstance(detections, list) else [detections] if detections else ():
            yield Entry(line, video_id, _detection_rows(one, classes, options))


def _detection_rows(one: Any, classes: list[Any], options: ReadingOptions) -> Iterator[Row]:
    one = to_record(one, "the detection")
    if not one.keys() & {"timestamps", "support"}:
        raise BadRowError(f"the detection has {', '.join(one) or 'nothing'}; expected timestamps or support.")
    yield {"subset": options.subset}
    label = one.get("label", "")
    if isinstance(label, int) and classes:
        if not 0 <= label < len(classes):
            raise BadRowError(f"label is {label}, but there are {len(classes)} classes.")
        label = classes[label]
    if "timestamps" in one:
        yield SegmentRow(one["timestamps"], label)
    elif options.fps is None:
        raise BadRowError("support counts frames; pass the rate (fps=25), or export with use_timestamps.")
    else:
        first, last = (to_number(frame, "support") for frame in to_list(one.get("support"), "support"))
        yield SegmentRow(((first - 1) / options.fps, last / options.fps), label)


def render_fiftyone(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return detections in seconds by video id, which is how the videos in `data/` must be called."""
    labels = {
        video.video_id: [
            {
                "label": segment.label or "segment",
                "timestamps": [round(segment.start_s, 6), round(segment.end_s, 6)],
            }
            for segment in video.segments
        ]
        for video in videos
    }
    return json.dumps({"classes": None, "labels": labels}, indent=1, ensure_ascii=False) + "\n"
