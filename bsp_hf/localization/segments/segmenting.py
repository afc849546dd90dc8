"""`segment_video`: the encoder's boundaries of a video, moved to their frames and named by their kinds."""

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bsp_hf.encoder.frame_index import FrameIndex
from bsp_hf.encoder.video import VideoReader, index_frames, read_frames
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.localization.boundaries.kinds import check_kinds
from bsp_hf.localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
from bsp_hf.localization.boundaries.response import settle_threshold
from bsp_hf.localization.boundaries.transitions import REACH_FRAMES, shrink_picture
from bsp_hf.localization.localizer.segments import LocalizedSegments
from bsp_hf.localization.localizer.tracks import name_video
from bsp_hf.pretrained import DEFAULT_DETECTOR, find_packaged

from .types import Change, SegmentedVideo, cut_into_segments

_THUMBNAIL_HEIGHT = 108
# Rates of broadcasting and cinema, to which averages of whole files are close.
_USUAL_RATES = [Fraction(rate) for rate in (24, 25, 30, 48, 50, 60, 120)]
_USUAL_RATES += [Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120)]


def segment_video(
    video: Any,  # Any: whatever the decoder reads
    detector: VideoBoundaryDetectionPipeline | str | None = None,
    *,
    kinds: Sequence[str] | None = None,
    min_segment_s: float = 0.0,
    max_segments: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    thumbnails: bool = False,
    **parameters: Any,  # Any: those of the pipeline
) -> SegmentedVideo:
    """Divide a video into segments at its changes, without labels.

    The boundaries and their kinds are those of `pipeline("video-boundary-detection")`.

    Args:
        video: A path, the bytes of a file, or an open binary file that can seek.
        detector (`str` or pipeline, *optional*): The boundary classifier: a folder, a Hub id, or
            `pipeline("video-boundary-detection")` itself. By default the packaged encoder.
        kinds (`Sequence[str]`, *optional*): Kinds of change at which to divide, of `"cut"`, `"gradual"`,
            `"action"` and `"pace"`. By default all.
        min_segment_s (`float`, *optional*, defaults to 0.0): Segments are at least so long: of the changes
            beside a shorter one, the weaker is left out.
        max_segments (`int`, *optional*): Most segments; the strongest changes stay.
        start_s (`float`, *optional*, defaults to 0.0): Second from which the video is read.
        end_s (`float`, *optional*): Second up to which it is read.
        thumbnails (`bool`, *optional*, defaults to `False`): Whether to keep a picture of each segment, which
            a page shows.
        parameters: Those of the pipeline, such as `threshold`, `min_gap_s` and `stride_frames`.

    Returns:
        `SegmentedVideo`: Its segments; one without any change.

    Raises:
        ValueError: If a parameter is out of range.
        VideoDecodeError: If the video cannot be read.

    Example:
    ```python
    >>> import bsp_hf
    >>> found = bsp_hf.segment_video("match.mp4", max_segments=10)  # doctest: +SKIP
    >>> bsp_hf.write_segments(found, "match.vtt")  # doctest: +SKIP
    ```
    """
    check_choice(kinds, min_segment_s, max_segments)
    find = detector if isinstance(detector, VideoBoundaryDetectionPipeline) else load_detector(detector)
    found = find(video, start_s=start_s, end_s=end_s, **parameters)
    index = index_frames(video)
    return divide_video(
        video,
        index,
        find_changes(index, found),
        kinds=kinds,
        min_segment_s=min_segment_s,
        max_segments=max_segments,
        start_s=start_s,
        end_s=end_s,
        thumbnails=thumbnails,
        times_s=found.times_s,
        scores=found.scores,
        threshold=settle_threshold(find.model.config, parameters.get("threshold")),
        encoder=Path(find.model.name_or_path or type(find.model).__name__).name,
        # Too short for one window is no error here: it is one segment.
        error=found.error if found.times_s is not None and len(found.times_s) else None,
    )


def load_detector(model: str | None = None, device: str | None = None) -> VideoBoundaryDetectionPipeline:
    """Return the pipeline of a boundary classifier, by default the packaged one."""
    from transformers import pipeline

    make: Any = pipeline  # Any: its overloads know the tasks of transformers alone
    return make("video-boundary-detection", model=find_packaged(model or DEFAULT_DETECTOR), device=device)


def check_choice(kinds: Sequence[str] | None, min_segment_s: float, max_segments: int | None) -> None:
    """Check which changes are asked for."""
    check_kinds(kinds)
    if not 0 <= min_segment_s < float("inf"):
        raise ValueError(f"min_segment_s={min_segment_s} must be a number of seconds, at least 0.")
    if max_segments is not None and max_segments < 1:
        raise ValueError(f"max_segments={max_segments} must be at least 1.")


def divide_video(
    video: Any,
    index: FrameIndex,
    changes: Sequence[Change],
    *,
    kinds: Sequence[str] | None = None,
    min_segment_s: float = 0.0,
    max_segments: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    thumbnails: bool = False,
    **facts: Any,  # Any: fields of SegmentedVideo
) -> SegmentedVideo:
    """Return the segments of a video between those of its changes that were asked for."""
    rate = exact_frame_rate(index.fps)
    first = int(np.searchsorted(index.times_s, start_s))
    last = index.num_frames if end_s is None else int(np.searchsorted(index.times_s, end_s))
    if first >= last:
        raise ValueError(
            f"start_s={start_s} and end_s={end_s}: the video has no frame there, its last is at "
            f"{index.times_s[-1]:.2f} s."
        )
    stop_s = float(index.times_s[last]) if last < index.num_frames else float(index.times_s[-1] + 1 / rate)
    kept = [change for change in changes if kinds is None or change.kind in kinds]
    kept = _drop_short(kept, index.times_s, (float(index.times_s[first]), stop_s), min_segment_s)
    if max_segments is not None and len(kept) >= max_segments:
        strongest = sorted(kept, key=lambda change: -change.score)[: max_segments - 1]
        kept = sorted(strongest, key=lambda change: change.frame)
    segments = cut_into_segments(kept, index.times_s, stop_s, (first, last))
    divided = SegmentedVideo(
        video_id=name_video(video),
        segments=segments,
        frame_times_s=index.times_s,
        frame_rate=rate,
        width=index.width,
        height=index.height,
        path=str(video) if isinstance(video, (str, Path)) else None,
        **facts,
    )
    return replace(divided, thumbnails=make_thumbnails(video, index, divided)) if thumbnails else divided


def exact_frame_rate(fps: float) -> Fraction:
    """Return the usual rate within a ten-thousandth of an average, else a fraction near it."""
    nearest = min(_USUAL_RATES, key=lambda rate: abs(float(rate) - fps))
    return nearest if abs(float(nearest) - fps) < 1e-4 * fps else Fraction(fps).limit_denominator(1001)


def find_changes(index: FrameIndex, found: LocalizedSegments) -> list[Change]:
    """Return the boundaries of the pipeline as changes at frames; the strongest of those at one frame."""
    strongest: dict[int, Change] = {}
    for boundary in found:
        frame = int(np.abs(index.times_s - boundary["time_s"]).argmin())
        if frame not in strongest or strongest[frame].score < boundary["score"]:
            strongest[frame] = Change(frame, boundary["label"], boundary["score"])
    return [strongest[frame] for frame in sorted(strongest)]


def _drop_short(
    changes: list[Change], times_s: np.ndarray, span_s: tuple[float, float], min_segment_s: float
) -> list[Change]:
    """Return the changes without the weaker one beside each segment that is too short."""
    kept = list(changes)
    while kept:
        edges_s = [span_s[0], *(float(times_s[change.frame]) for change in kept), span_s[1]]
        shortest = int(np.argmin(np.diff(edges_s)))
        if edges_s[shortest + 1] - edges_s[shortest] >= min_segment_s - 1e-9:
            break
        beside = [number for number in (shortest - 1, shortest) if 0 <= number < len(kept)]
        del kept[min(beside, key=lambda number: kept[number].score)]
    return kept


def make_thumbnails(video: Any, index: FrameIndex, divided: SegmentedVideo) -> tuple[bytes, ...]:
    """Return a JPEG from the middle of each segment."""
    middles = [(segment.start_frame + segment.end_frame - 1) // 2 for segment in divided.segments]
    width = max(1, round(_THUMBNAIL_HEIGHT * divided.width / divided.height))
    images = _read_small(video, index, set(middles), (2 * width, 2 * _THUMBNAIL_HEIGHT))
    return tuple(_to_jpeg(images[number]) if number in images else b"" for number in middles)


def _to_jpeg(picture: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "JPEG", quality=80)
    return written.getvalue()


def _read_small(
    video: Any, index: FrameIndex, numbers: Iterable[int], size: tuple[int, int]
) -> dict[int, np.ndarray]:
    """Return frames by number, made small; those that do not decode are left out."""
    wanted, small = sorted(numbers), {}
    if index.is_seekable:
        for run in _runs(wanted):  # so that only the frames of one place are held at full size
            with suppress(VideoDecodeError):
                for number, image in zip(run, read_frames(video, run, index), strict=True):
                    small[number] = shrink_picture(image, size)
    elif wanted:
        chosen = set(wanted)
        with VideoReader(video) as frames:
            for frame in frames:
                if frame.index in chosen:
                    small[frame.index] = shrink_picture(frame.image, size)
                if frame.index >= wanted[-1]:
                    break
    return small


def _runs(numbers: Sequence[int], longest: int = 4 * REACH_FRAMES) -> list[list[int]]:
    """Return sorted numbers in parts that follow one another closely."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number - runs[-1][-1] <= REACH_FRAMES and len(runs[-1]) < longest:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
