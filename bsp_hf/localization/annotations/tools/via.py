"""VIA 3: projects with temporal segments of videos, in seconds."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..reading import Entry, JsonText, ReadingOptions, Row, SegmentRow, expect_mapping, to_list, to_record
from ..types import AnnotatedVideo
from .media import Media, id_of_media, media_of

# An attribute of a temporal segment; a drop-down list; a video; in a local file or at an address.
_SEGMENT_ANCHOR, _SELECT, _VIDEO, _LOCAL, _URI = "FILE1_Z2_XY0", 4, 4, 1, 2


def via_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read the temporal segments of a project; regions of pictures are passed over.

    A label is the value of the first attribute of temporal segments, by the name of its option.
    """
    text = JsonText(path)
    project = expect_mapping(text.data, path, "a project of VIA 3")
    views, files = (expect_mapping(project.get(name) or {}, path, name) for name in ("view", "file"))
    attributes = expect_mapping(project.get("attribute") or {}, path, "attribute")
    for view_id in views:  # videos without a segment, too
        yield Entry(
            1, None, _segment_rows({"vid": view_id, "z": []}, views, files, attributes, options.subset)
        )
    for key, entry in expect_mapping(project.get("metadata") or {}, path, "metadata").items():
        z = entry.get("z") or [] if isinstance(entry, Mapping) else None
        if isinstance(entry, Mapping) and (entry.get("xy") or (isinstance(z, list) and len(z) < 2)):
            continue
        rows = _segment_rows(entry, views, files, attributes, options.subset)
        yield Entry(text.line_of(key), None, rows)


def _segment_rows(
    entry: Any,  # Any: parsed JSON
    views: Mapping[str, Any],
    files: Mapping[str, Any],
    attributes: Mapping[str, Any],
    subset: str,
) -> Iterator[Row]:
    entry = to_record(entry, "the segment")
    view = to_record(views.get(str(entry.get("vid"))), f"view {entry.get('vid')}")
    shown = to_list(view.get("fid_list") or [None], "fid_list")
    file = to_record(files.get(str(shown[0])), f"file {shown[0]}")
    yield {"video_id": id_of_media(file.get("fname") or file.get("src")), "subset": subset}
    if entry.get("z"):
        yield SegmentRow(
            to_list(entry["z"], "z"), _label_of(to_record(entry.get("av") or {}, "av"), attributes)
        )


def _label_of(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    for key, attribute in attributes.items():
        if isinstance(attribute, Mapping) and attribute.get("anchor_id") == _SEGMENT_ANCHOR and key in values:
            options = attribute.get("options")
            value = str(values[key])
            return str(options.get(value, value)) if isinstance(options, Mapping) else value
    return ""


def render_via(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return a project with a view for each video and one attribute whose options are the labels."""
    labels = sorted({segment.label or "segment" for video in videos for segment in video.segments})
    options = {str(number): label for number, label in enumerate(labels, start=1)}
    keys = {label: key for key, label in options.items()}
    ids = [str(number) for number in range(1, len(videos) + 1)]
    files, metadata = {}, {}
    for key, video in zip(ids, videos, strict=True):
        file = media_of(video, media)
        is_address = "://" in file
        files[key] = {
            "fid": key,
            "fname": file,
            "type": _VIDEO,
            "loc": _URI if is_address else _LOCAL,
            "src": file if is_address else "",
        }
        for number, segment in enumerate(video.segments):
            metadata[f"{key}_{number:08d}"] = {
                "vid": key,
                "flg": 0,
                "z": [round(segment.start_s, 6), round(segment.end_s, 6)],
                "xy": [],
                "av": {"1": keys[segment.label or "segment"]},
            }
    project = {
        "project": {
            # What the annotator replaces when it first saves the project.
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "",
            "creator": "bsp_hf",
            "created": 0,
            "vid_list": ids,
            "data_format_version": "3.1.1",
        },
        "config": {
            "file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
            "ui": {
                "file_content_align": "center",
                "file_metadata_editor_visible": True,
                "spatial_metadata_editor_visible": False,
                "temporal_segment_metadata_editor_visible": True,
                "spatial_region_label_attribute_id": "",
                "gtimeline_visible_row_count": "4",
            },
        },
        "attribute": {
            "1": {
                "aname": "label",
                "anchor_id": _SEGMENT_ANCHOR,
                "type": _SELECT,
                "desc": "Label of a segment",
                "options": options,
                "default_option_id": "",
            }
        },
        "file": files,
        "metadata": metadata,
        "view": {key: {"fid_list": [key]} for key in ids},
    }
    return json.dumps(project, indent=1, ensure_ascii=False) + "\n"
