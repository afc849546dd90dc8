"""ELAN: annotation documents (`.eaf`) of one video, times in milliseconds."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from ..reading import BadRowError, Entry, ReadingOptions, Row, SegmentRow, to_number
from ..types import AnnotatedVideo, Segment
from .media import Media, id_of_media, media_of
from .xml import list_documents, parse_xml, render_xml

_FACTS = {"bsp_hf.fps": "fps", "bsp_hf.duration_s": "duration"}


def elan_entries(path: Path, options: ReadingOptions) -> Iterator[Entry]:
    """Read the annotations of all tiers that are aligned with time; those that refer to others are not.

    A label is the value of an annotation, or the name of its tier where that is empty. Time slots without a
    time lie evenly between their neighbours, as in ELAN. `path` may be a folder of documents.
    """
    for document in list_documents(path, ".eaf"):
        root = parse_xml(document, "ANNOTATION_DOCUMENT")
        yield Entry(1, None, _document_rows(root, options.subset, document), document)


def _document_rows(root: ElementTree.Element, subset: str, path: Path) -> Iterator[Row]:
    header = root.find("HEADER")
    described = [] if header is None else header.findall("MEDIA_DESCRIPTOR")
    videos = [one for one in described if one.get("MIME_TYPE", "").startswith("video")] or described
    properties = {one.get("NAME"): one.text for one in root.iter("PROPERTY")}
    media = (videos[0].get("RELATIVE_MEDIA_URL") or videos[0].get("MEDIA_URL")) if videos else None
    origin_s = to_number(videos[0].get("TIME_ORIGIN") or 0, "TIME_ORIGIN") / 1000 if videos else 0.0
    facts = {fact: properties.get(name) for name, fact in _FACTS.items()}
    name = properties.get("bsp_hf.video_id") or (id_of_media(media) if media else path.stem)
    yield {"video_id": name, "subset": subset, **facts}
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise BadRowError(f"times are in {units}; save it with milliseconds.")
    slots_s = _read_slots(root)
    for tier in root.iter("TIER"):
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            times = [slots_s.get(one.get(f"TIME_SLOT_REF{end}", "")) for end in (1, 2)]
            window = None if None in times else tuple(time + origin_s for time in times if time is not None)
            label = (one.findtext("ANNOTATION_VALUE") or "").strip() or tier.get("TIER_ID", "")
            yield SegmentRow(window, label)


def _read_slots(root: ElementTree.Element) -> dict[str, float]:
    slots = [(one.get("TIME_SLOT_ID", ""), one.get("TIME_VALUE")) for one in root.iter("TIME_SLOT")]
    times_s = [None if value is None else to_number(value, "TIME_VALUE") / 1000 for _, value in slots]
    for number, time_s in enumerate(times_s):
        if time_s is None:
            before = max((n for n in range(number) if times_s[n] is not None), default=None)
            after = next((n for n in range(number + 1, len(slots)) if times_s[n] is not None), None)
            if before is None or after is None:
                continue
            share = 1 / (after - before)  # the one before has its time by now
            times_s[number] = times_s[before] + share * (times_s[after] - times_s[before])  # type: ignore[operator]  # both known
    return {name: time_s for (name, _), time_s in zip(slots, times_s, strict=True) if time_s is not None}


def render_elan(videos: tuple[AnnotatedVideo, ...], media: Media) -> str:
    """Return a document of one video; segments that overlap are in tiers of their own."""
    (video,) = videos
    file = media_of(video, media)
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    url = file if "://" in file else Path(file).absolute().as_uri()
    mime = "video/mp4" if file.lower().endswith((".mp4", ".m4v")) else "video/*"
    described = {"MEDIA_URL": url, "MIME_TYPE": mime}
    if not Path(file).is_absolute() and "://" not in file:
        described["RELATIVE_MEDIA_URL"] = f"./{file}"
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", described)
    known = {
        "bsp_hf.video_id": video.video_id,
        "bsp_hf.fps": video.fps,
        "bsp_hf.duration_s": video.duration_s,
    }
    for name, value in known.items():
        if value is not None:
            ElementTree.SubElement(header, "PROPERTY", NAME=name).text = str(value)
    order = ElementTree.SubElement(root, "TIME_ORDER")
    tiers: list[list[Segment]] = []
    for segment in sorted(video.segments, key=lambda one: one.start_s):
        free = next((tier for tier in tiers if tier[-1].end_s <= segment.start_s), None)
        if free is None:
            tiers.append(free := [])
        free.append(segment)
    times = sorted({_milliseconds(t) for one in video.segments for t in (one.start_s, one.end_s)})
    slots = {time: f"ts{number}" for number, time in enumerate(times, start=1)}
    for time, name in slots.items():
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=str(time))
    number = 0
    for place, tier in enumerate(tiers or [[]], start=1):
        name = "segments" if place == 1 else f"segments {place}"
        element = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for segment in tier:
            number += 1
            start, end = slots[_milliseconds(segment.start_s)], slots[_milliseconds(segment.end_s)]
            attributes = {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": start, "TIME_SLOT_REF2": end}
            annotation = ElementTree.SubElement(element, "ANNOTATION")
            aligned = ElementTree.SubElement(annotation, "ALIGNABLE_ANNOTATION", attributes)
            ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = segment.label or "segment"
    kinds = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kinds)
    return render_xml(root)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)
