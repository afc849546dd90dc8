"""Annotations written for annotation tools and for the benchmarks' layout."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bsp_hf.files import atomic_write_text, path_in_folder

from .tools.boris import render_boris
from .tools.cvat import render_cvat
from .tools.elan import render_elan
from .tools.fiftyone import render_fiftyone
from .tools.media import Media
from .tools.via import render_via
from .types import AnnotatedVideo, AnnotationSet


@dataclass(frozen=True)
class AnnotationWriter:
    """What makes the text of a layout, how its files end, and whether one holds a single video."""

    render: Callable[[tuple[AnnotatedVideo, ...], Media], str]
    suffix: str
    is_of_one_video: bool = False


def render_activitynet(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return the layout of ActivityNet, with the frame rate and number of frames where they are known."""
    database = {
        video.video_id: {
            "subset": video.subset,
            **({} if video.duration_s is None else {"duration": video.duration_s}),
            **({} if video.fps is None else {"fps": video.fps}),
            **({} if video.num_frames is None else {"frames": video.num_frames}),
            "annotations": [
                {"label": one.label, "segment": [one.start_s, one.end_s]} for one in video.segments
            ],
        }
        for video in videos
    }
    return json.dumps({"version": "VERSION 1.3", "database": database}, indent=1, ensure_ascii=False) + "\n"


ANNOTATION_WRITERS = {
    "activitynet": AnnotationWriter(render_activitynet, ".json"),
    "boris": AnnotationWriter(render_boris, ".boris"),
    "cvat": AnnotationWriter(render_cvat, ".xml", is_of_one_video=True),
    "elan": AnnotationWriter(render_elan, ".eaf", is_of_one_video=True),
    "fiftyone": AnnotationWriter(render_fiftyone, ".json"),
    "via": AnnotationWriter(render_via, ".json"),
}


def write_annotations(
    annotations: AnnotationSet, path: str | Path, layout: str, media: Media | None = None
) -> list[Path]:
    """Write segments for an annotation tool; return the files, each of which appears whole.

    Args:
        annotations (`AnnotationSet`): Videos with segments; sentence queries are in none of the layouts.
        path (`str` or `Path`): The file; of several videos in a layout of one (`cvat`, `elan`), the folder.
        layout (`str`): `"boris"`, `"elan"`, `"cvat"`, `"via"`, `"fiftyone"` or `"activitynet"`.
        media (`Mapping[str, str]`, *optional*): Paths or addresses of the videos by id, which the files point
            to; by default `ID.mp4`.

    Returns:
        `list[Path]`: What was written.

    Raises:
        ValueError: If the layout is unknown or cannot hold the annotations.
    """
    writer = ANNOTATION_WRITERS.get(layout)
    if writer is None:
        raise ValueError(f"layout {layout!r} is none of {', '.join(ANNOTATION_WRITERS)}.")
    if annotations.num_queries:
        raise ValueError(f"{annotations.num_queries} sentence queries cannot be written as {layout}.")
    media, videos = media or {}, annotations.videos
    if not writer.is_of_one_video or len(videos) == 1:
        texts = {Path(path): writer.render(videos, media)}
    else:
        texts = {
            path_in_folder(Path(path), video.video_id, writer.suffix): writer.render((video,), media)
            for video in videos
        }
    for file, text in texts.items():
        atomic_write_text(file, text)
    return list(texts)
