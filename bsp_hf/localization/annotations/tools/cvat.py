"""CVAT: XML 1.1 of a video task, tracks or tags of frames; it counts frames and knows no rate."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..reading import BadRowError, Entry, ReadingOptions, Row, SegmentRow, to_whole
from ..types import AnnotatedVideo
from .media import Media, id_of_media, media_of
from .xml import list_documents, parse_xml, render_xml

# Boxes of segments cover the picture; CVAT wants a size where nobody has said it.
_SIZE = ("1920", "1080")


def cvat_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read a segment of each stretch of a track in which it is seen, and of each run of frames with a tag.

    Frames become seconds by the option `fps`; frames are those of the video, as CVAT writes them. `path` may
    be a folder of documents.
    """
    if options.fps is None:
        raise ValueError(
            f"{path}: CVAT counts frames and does not write how many a second has; pass the rate (fps=25)."
        )
    for document in list_documents(path, ".xml"):
        root = parse_xml(document, "annotations")
        yield Entry(1, None, _task_rows(root, options.fps, options.subset, document), document)


def _task_rows(root: ElementTree.Element, fps: float, subset: str, path: Path) -> Iterator[Row]:
    name = (root.findtext("meta/task/source") or root.findtext("meta/task/name") or "").strip()
    size = root.findtext("meta/task/size")
    frames = to_whole(size, "size") if size else None
    length = {} if frames is None else {"frames": frames, "duration": frames / fps}
    yield {"video_id": id_of_media(name) if name else path.stem, "subset": subset, "fps": fps, **length}
    for track in root.iter("track"):
        for start, end in _stretches(track):
            yield SegmentRow((start / fps, end / fps), track.get("label", ""))
    tagged = sorted(
        (tag.get("label", ""), to_whole(image.get("id"), "image id"))
        for image in root.iter("image")
        for tag in image.iter("tag")
    )
    tagged += sorted(
        (tag.get("label", ""), to_whole(tag.get("frame"), "frame")) for tag in root.findall("tag")
    )
    first = 0
    for number, (label, frame) in enumerate(tagged):
        is_last = number + 1 == len(tagged) or tagged[number + 1] != (label, frame + 1)
        if is_last:
            yield SegmentRow((tagged[first][1] / fps, (frame + 1) / fps), label)
            first = number + 1


def _stretches(track: ElementTree.Element) -> Iterator[tuple[int, int]]:
    """Yield first frame and end of the stretches in which a track is seen."""
    shapes = [(to_whole(one.get("frame"), "frame"), one.get("outside") == "1") for one in track]
    start = last = None
    for frame, is_outside in sorted(shapes):
        if is_outside and start is not None:
            yield start, frame
            start = None
        elif not is_outside and start is None:
            start = frame
        last = frame
    if start is not None and last is not None:
        yield start, last + 1


def render_cvat(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return a video task in which each segment is a track of boxes as large as the picture."""
    (video,) = videos
    if video.fps is None:
        raise ValueError(f"{video.video_id}: CVAT counts frames; the frame rate of the video is not known.")
    end_s = video.duration_s or max((one.end_s for one in video.segments), default=0.0)
    size = video.num_frames or round(end_s * video.fps)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    facts = {"name": video.video_id, "size": size, "mode": "interpolation", "overlap": 0}
    for name, value in (facts | {"start_frame": 0, "stop_frame": max(size - 1, 0)}).items():
        ElementTree.SubElement(task, name).text = str(value)
    labels = ElementTree.SubElement(task, "labels")
    for label in sorted({one.label or "segment" for one in video.segments}):
        element = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(element, "name").text = label
        ElementTree.SubElement(element, "attributes")
    original = ElementTree.SubElement(task, "original_size")
    for name, value in zip(("width", "height"), _SIZE, strict=True):
        ElementTree.SubElement(original, name).text = value
    ElementTree.SubElement(task, "source").text = media_of(video, media)
    for number, segment in enumerate(video.segments):
        attributes = {"id": str(number), "label": segment.label or "segment", "source": "manual"}
        track = ElementTree.SubElement(root, "track", attributes)
        ends = (round(segment.start_s * video.fps), round(segment.end_s * video.fps))
        if ends[0] == ends[1]:
            raise BadRowError(
                f"{video.video_id}: the segment at {segment.start_s:g} s is shorter than a frame."
            )
        for frame, outside in zip(ends, "01", strict=True):
            box = {"frame": str(frame), "outside": outside, "occluded": "0", "keyframe": "1"}
            corners = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{_SIZE[0]}.00", "ybr": f"{_SIZE[1]}.00"}
            ElementTree.SubElement(track, "box", {**box, **corners, "z_order": "0"})
    return render_xml(root)
