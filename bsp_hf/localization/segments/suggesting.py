"""Segments proposed to an annotator: the encoder's own, or by a head that has learned from corrected ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.features.track import FeatureTrack
from bsp_hf.localization.annotations.types import AnnotatedVideo, Segment
from bsp_hf.localization.boundaries.correction import check_corrections, corrected_span, fit_boundary_head
from bsp_hf.localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
from bsp_hf.localization.boundaries.response import DEFAULT_GAP_S, NO_BOUNDARY, pick_boundaries

from .types import SegmentedVideo

# What proposed segments are called until somebody names them.
PROPOSED = "segment"
_STRIDE_FRAMES = 2


def to_annotations(video: SegmentedVideo) -> AnnotatedVideo:
    """Return the segments of a video as annotations without a class."""
    segments = tuple(Segment(one.start_s, one.end_s, PROPOSED) for one in video.segments)
    return AnnotatedVideo(
        video.video_id,
        video.duration_s,
        segments=segments,
        fps=float(video.frame_rate),
        num_frames=len(video.frame_times_s),
    )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the encoder sees of one video, before anything is learned from corrections."""

    track: FeatureTrack
    log_odds: np.ndarray  # float32 `(num_snippets,)`, of a boundary against none, by its classifier
    span_s: tuple[float, float]  # from where to where the video was read


def read_evidence(
    video: Any,  # Any: whatever the decoder reads
    video_id: str,
    detector: VideoBoundaryDetectionPipeline,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    **parameters: Any,  # Any: those of the pipeline
) -> Evidence:
    """Encode a video by the features that the boundary classifier reads."""
    encoder: Any = detector.model.base_model  # Any: declared as a module of torch
    extract = VideoFeatureExtractionPipeline(
        model=encoder, feature_extractor=detector.feature_extractor, device=detector.device
    )
    span = {"start_s": start_s, "end_s": end_s}
    result = extract(video, stride_frames=_STRIDE_FRAMES, padding="drop", **span, **parameters)
    track = FeatureTrack.from_pipeline(result, video_id=video_id)
    ends_s = min(track.record.duration_s, float("inf") if end_s is None else end_s)
    return Evidence(track, _log_odds(detector.model, track.features), (start_s, ends_s))


def match_corrected(
    corrected: Sequence[AnnotatedVideo], video_ids: Collection[str]
) -> dict[str, AnnotatedVideo]:
    """Return corrected videos by the ids under which they were passed.

    Raises:
        ValueError: If one of them was not passed, or there are too few corrections to learn from.
    """
    known = {_find_id(one.video_id, video_ids): one for one in corrected if one.segments}
    check_corrections(known.values())
    return known


def suggest_rest(
    evidence: Mapping[str, Evidence],
    corrected: Mapping[str, AnnotatedVideo],
    *,
    threshold: float = 0.5,
    min_gap_s: float = DEFAULT_GAP_S,
) -> list[AnnotatedVideo]:
    """Propose the segments of videos, and of the rest of those that were corrected in part.

    Args:
        evidence (`Mapping[str, Evidence]`): Of the videos by id, the corrected ones among them.
        corrected (`Mapping[str, AnnotatedVideo]`): By id. Their segments stay as they are. What lies before
            the first or behind the last of them counts as not looked at.
        threshold (`float`, *optional*, defaults to 0.5): Smallest probability of a boundary by the head.
        min_gap_s (`float`, *optional*, defaults to 0.5): Seconds between two boundaries.

    Returns:
        `list[AnnotatedVideo]`: One for each video, in their order.

    Raises:
        ValueError: If the corrected segments are too few.
    """
    tracks = {video_id: one.track for video_id, one in evidence.items()}
    log_odds = {video_id: one.log_odds for video_id, one in evidence.items()}
    head = fit_boundary_head(tracks, log_odds, corrected)
    proposed = []
    for video_id, one in evidence.items():
        response = head.respond(one.track, one.log_odds)
        found_s = pick_boundaries(response, threshold, min_gap_s) if one.track.num_snippets else np.empty(0)
        proposed.append(_complete(video_id, one, found_s, corrected.get(video_id), min_gap_s))
    return proposed


def _find_id(video_id: str, videos: Collection[str]) -> str:
    """Return the id of a corrected video among the videos; tools keep paths, of which only names agree."""
    name = video_id.rpartition("/")[2]
    alike = [one for one in videos if one == video_id] or [
        one for one in videos if one.rpartition("/")[2] == name
    ]
    if len(alike) != 1:
        how = "is not among the videos; pass it too" if not alike else f"may be {' or '.join(alike)}"
        raise ValueError(f"the corrected video {video_id!r} {how}.")
    return alike[0]


def _log_odds(classifier: Any, features: np.ndarray) -> np.ndarray:  # Any: a BSPForBoundaryClassification
    number = int(classifier.config.label2id[NO_BOUNDARY])
    with torch.inference_mode():
        rows = torch.from_numpy(features).to(classifier.device, classifier.dtype)
        logits = classifier.classifier(rows).float().cpu()
    others = torch.cat([logits[:, :number], logits[:, number + 1 :]], 1)
    return (others.logsumexp(1) - logits[:, number]).numpy()


def _complete(
    video_id: str, evidence: Evidence, found_s: np.ndarray, known: AnnotatedVideo | None, min_gap_s: float
) -> AnnotatedVideo:
    """Return the corrected segments, and proposed ones where there is none."""
    first_s, last_s = evidence.span_s
    spans_s = [(first_s, last_s)]
    if known is not None:
        start_s, end_s = corrected_span(known)
        spans_s = [(first_s, start_s), (end_s, last_s)]
    segments = list(known.segments) if known else []
    for start_s, end_s in spans_s:
        if end_s - start_s < min_gap_s and known is not None:
            continue
        inside_s = found_s[(found_s >= start_s + min_gap_s) & (found_s <= end_s - min_gap_s)].tolist()
        segments += [Segment(*window, PROPOSED) for window in pairwise([start_s, *inside_s, end_s])]
    segments.sort(key=lambda one: one.start_s)
    record = evidence.track.record
    return AnnotatedVideo(video_id, record.duration_s, segments=tuple(segments), fps=record.fps)
