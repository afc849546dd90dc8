"""Reads what `bsp-hf picture` draws besides features: boundaries and segments of one video, a training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.annotations.reading import BadRowError, to_window
from bsp_hf.metrics import read_results
from bsp_hf.metrics.text_files import read_json
from bsp_hf.publishing.cards.files import read_record
from bsp_hf.visualization import SegmentRow

# Names under which reports of this package and files of others keep a list of boundaries.
_BOUNDARY_NAMES = ("true_boundaries", "boundaries", "boundaries_s")


@dataclass(frozen=True)
class KnownBoundaries:
    """Boundaries of one video: seconds in rising order, and the kind of each if the file has kinds."""

    times_s: tuple[float, ...]
    kinds: tuple[str, ...] | None = None


def read_boundaries(text: str | None) -> KnownBoundaries:
    """Read boundaries from `3.2,7.5` or from a JSON file; none without a text.

    A file holds a list of seconds, or of objects with `time_s` and perhaps `kind`, by itself or under one of
    the names `true_boundaries`, `boundaries` and `boundaries_s`. Of segments, under the name `segments` or as
    annotations of one video, the ends are taken.
    """
    if text is None:
        return KnownBoundaries(())
    path = Path(text)
    if not path.is_file():
        try:
            return KnownBoundaries(tuple(sorted(float(word) for word in text.split(","))))
        except ValueError:
            raise ValueError(
                f"--boundaries {text}: this is neither a file nor seconds such as 3.2,7.5."
            ) from None
    content = read_json(path)
    if isinstance(content, dict):
        content = next((content[name] for name in _BOUNDARY_NAMES if content.get(name)), content)
    try:
        return _read_list(content) if isinstance(content, list) else _read_ends(content, path)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: found none of {', '.join(_BOUNDARY_NAMES)} with seconds or objects with time_s, and no "
            f"segments of one video ({str(error).rstrip('.')})."
        ) from error


def _read_list(entries: list[Any]) -> KnownBoundaries:  # Any: JSON
    if not all(isinstance(entry, dict) for entry in entries):
        return KnownBoundaries(tuple(sorted(float(entry) for entry in entries)))
    rising = sorted(entries, key=lambda entry: float(entry["time_s"]))
    kinds = tuple(str(entry["kind"]).replace("_", " ") for entry in rising if "kind" in entry)
    times_s = tuple(float(entry["time_s"]) for entry in rising)
    return KnownBoundaries(times_s, kinds if len(kinds) == len(times_s) else None)


def _read_ends(content: Any, path: Path) -> KnownBoundaries:  # Any: JSON
    if isinstance(content, dict) and "segments" in content:
        parts = content["segments"]
        spans = [to_window([s["start_s"], s["end_s"]] if isinstance(s, dict) else s) for s in parts]
    else:
        videos = read_annotations(path, strict=True).videos
        if len(videos) > 1:
            raise BadRowError(f"{len(videos)} videos are annotated; expected one")
        spans = [(segment.start_s, segment.end_s) for segment in videos[0].segments]
    if not spans:
        raise BadRowError("there is no segment")
    return KnownBoundaries(tuple(sorted({round(end_s, 6) for span in spans for end_s in span})))


@dataclass(frozen=True)
class SegmentsOfVideo:
    """True and predicted segments of one video, the latter by falling score."""

    video_id: str
    duration_s: float
    true: SegmentRow
    predicted: SegmentRow


def read_segments(results: Path, annotations: Path, video_id: str | None, most: int) -> SegmentsOfVideo:
    """Read annotations and at most `most` predictions of a video, by default the first in both files."""
    found, truth = read_results(results), read_annotations(annotations).videos
    # ActivityNet's own results leave out the "v_" of the names of the videos.
    spelled = {str(name).removeprefix("v_"): number for number, name in enumerate(found.video_ids)}
    shared = {video.video_id: video for video in truth if video.video_id.removeprefix("v_") in spelled}
    video_id = video_id or next(iter(shared), None)
    if video_id is None or video_id not in shared:
        raise ValueError(f"{results} and {annotations} do not both hold {video_id or 'one video'}.")
    video, scores = shared[video_id], found.require_scores()
    rows = (found.video_index == spelled[video_id.removeprefix("v_")]).nonzero()[0]
    rows = rows[(-scores[rows]).argsort(kind="stable")][:most]
    true_s = [(segment.start_s, segment.end_s) for segment in video.segments]
    true = SegmentRow("true", true_s, [segment.label or "action" for segment in video.segments])
    labels = [str(found.labels[number] or "action") for number in found.label_index[rows]]
    predicted = SegmentRow("predicted", found.segments_s[rows], labels, scores[rows].clip(0, 1))
    last_s = max((end_s for _, end_s in (*true_s, *found.segments_s[rows].tolist())), default=1.0)
    return SegmentsOfVideo(video_id, video.duration_s or last_s, true, predicted)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return what a training logged, from its folder or its `training_record.json`."""
    history = read_record(path).get("history")
    if not history:
        raise ValueError(f"{path}: the record holds no history of a training.")
    return history
