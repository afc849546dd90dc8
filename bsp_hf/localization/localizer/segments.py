"""Result of a localization pipeline for one video."""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from bsp_hf.encoder.video_records import Completeness
from bsp_hf.features.track import FeatureTrack
from bsp_hf.localization.suppression import ABSENT, Detections

_SHOWN_ROWS = 20
# Of the drawing in notebooks, in pixels.
_WIDTH, _HEIGHT = 640, 60


class LocalizedSegments(list):
    """The segments found in one video: a list of dicts, and what there is to say about the video.

    A dict holds `label` (`str`), `score` (`float`), `start_s` and `end_s` (`float`, seconds from the start of
    the video); boundaries also have `time_s`.

    Args:
        segments (`Iterable[Mapping]`, *optional*, defaults to `()`): The dicts.
        video_id (`str`, *optional*, defaults to `"video"`): Name of the video.
        duration_s (`float`, *optional*, defaults to 0.0): Up to where it was read, in seconds.
        error (`str`, *optional*): Why all of it or the rest could not be read; none if it could.
        complete (`bool` or `"unknown"`, *optional*, defaults to `True`): Whether the file was whole, as in
            `VideoReport`; `False` with an error.
        times_s (`np.ndarray`, *optional*): `(num_scores,)`, seconds at which `scores` hold.
        scores (`np.ndarray`, *optional*): `(num_scores,)`, actionness or boundary response along the video;
            NaN where nothing was encoded.
    """

    def __init__(
        self,
        segments: Iterable[Mapping[str, Any]] = (),
        video_id: str = "video",
        duration_s: float = 0.0,
        error: str | None = None,
        complete: Completeness = True,
        times_s: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        super().__init__(dict(segment) for segment in segments)
        self.video_id, self.duration_s, self.error = video_id, duration_s, error
        self.complete: Completeness = complete if error is None else False
        self.times_s, self.scores = times_s, scores

    @property
    def skipped_s(self) -> list[tuple[float, float]]:
        """`list[tuple[float, float]]`: First and last second of each stretch of `scores` that are NaN."""
        return find_skipped(self.times_s, self.scores)

    def __repr__(self) -> str:
        rows = [
            f"  {row.get('time_s', row['start_s']):9.2f} s"
            + ("" if "time_s" in row else f" {row['end_s']:9.2f} s")
            + f"  {row['score']:.3f}  {row['label']}"
            for row in self[:_SHOWN_ROWS]
        ]
        rows += [f"  and {len(self) - _SHOWN_ROWS} more"] if len(self) > _SHOWN_ROWS else []
        rows += [f"  {self.error}"] if self.error else []
        head = f"<LocalizedSegments {self.video_id!r} ({self.duration_s:.2f} s): {len(self)} found"
        return "\n".join([head, *rows]) + ">"

    def _repr_html_(self) -> str:
        """Return a drawing of the segments and scores above the table, for notebooks."""
        scale = _WIDTH / max(self.duration_s, 1e-9)
        drawn = [
            f'<rect x="{row["start_s"] * scale:.1f}" height="{_HEIGHT}" fill="#E69F00" fill-opacity="0.4" '
            f'width="{max(1.0, (row["end_s"] - row["start_s"]) * scale):.1f}"/>'
            for row in self
        ]
        if self.times_s is not None and self.scores is not None:
            step = -(-len(self.scores) // _WIDTH) or 1
            points = zip(self.times_s[::step], self.scores[::step], strict=True)
            places = [f"{x * scale:.1f},{_HEIGHT * (1 - y):.1f}" if y == y else "" for x, y in points]
            for is_drawn, line in groupby(places, bool):  # not across what was skipped
                if is_drawn:
                    drawn.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="#0072B2"/>')
        picture = f'<svg width="{_WIDTH}" height="{_HEIGHT}" style="background:#eee">{"".join(drawn)}</svg>'
        return f"{picture}<pre>{escape(repr(self)[1:-1])}</pre>"


def find_skipped(times_s: np.ndarray | None, scores: np.ndarray | None) -> list[tuple[float, float]]:
    """Return first and last time of each stretch of scores that are NaN."""
    if times_s is None or scores is None:
        return []
    return [(float(times_s[run][0]), float(times_s[run][-1])) for run in find_runs(np.isnan(scores))]


def find_runs(is_inside: np.ndarray) -> list[slice]:
    """Return the stretches of a boolean row that are true."""
    edges = np.flatnonzero(np.diff(np.pad(is_inside.astype(np.int8), 1))).reshape(-1, 2)
    return [slice(int(first), int(end)) for first, end in edges]


def describe_detections(
    detections: Detections, class_names: Mapping[int, str] | str, offset_s: float = 0.0
) -> list[dict[str, Any]]:
    """Return detections as dicts, best first; `offset_s` is added to every time."""
    order = np.argsort(-detections.scores, kind="stable")
    is_one = isinstance(class_names, str)
    return [
        {
            "label": class_names if is_one or number == ABSENT else class_names[int(number)],
            "score": float(score),
            "start_s": float(start_s) + offset_s,
            "end_s": float(end_s) + offset_s,
        }
        for score, (start_s, end_s), number in zip(
            detections.scores[order], detections.segments[order], detections.class_indices[order], strict=True
        )
    ]


def result_of(track: FeatureTrack, segments: Iterable[Mapping[str, Any]]) -> LocalizedSegments:
    """Return the segments of a track's video with its name, duration and error."""
    record = track.record
    return LocalizedSegments(segments, record.video_id, record.duration_s, record.error, record.complete)


def only_label(id2label: Mapping[int, str], default: str = "action") -> str:
    """Return the name of the only class, or a default where there are several and none is known."""
    return id2label[0] if len(id2label) == 1 else default
