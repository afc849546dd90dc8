"""Segments proposed to an annotator: the encoder's own, or by a head that has learned from corrected ones."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.features.track import FeatureTrack
from bsp_hf.localization.annotations.types import AnnotatedVideo, Segment
from bsp_hf.localization.boundaries.correction import corrected_span, fit_boundary_head
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


def suggest_rest(
    videos: Mapping[str, Any],  # Any: whatever the decoder reads
    corrected: Sequence[AnnotatedVideo],
    detector: VideoBoundaryDetectionPipeline,
    *,
    threshold: float = 0.5,
    min_gap_s: float = DEFAULT_GAP_S,
    batch_size: int = 8,
) -> list[AnnotatedVideo]:
    """Propose the segments of videos, and of the rest of those that were corrected in part.

    Args:
        videos (`Mapping[str, Any]`): Videos by id, the corrected ones among them.
        corrected (`Sequence[AnnotatedVideo]`): Their segments stay as they are. What lies before the first or
            behind the last of them counts as not looked at.
        detector: The boundary classifier, whose features the head reads.
        threshold (`float`, *optional*, defaults to 0.5): Smallest probability of a boundary by the head.
        min_gap_s (`float`, *optional*, defaults to 0.5): Seconds between two boundaries.
        batch_size (`int`, *optional*, defaults to 8): Windows that go through the encoder together.

    Returns:
        `list[AnnotatedVideo]`: One for each video, in their order.

    Raises:
        ValueError: If the corrected segments are too few, or of a video that is not there.
        VideoDecodeError: If a video cannot be read.
    """
    known = {_find_id(one.video_id, videos): one for one in corrected if one.segments}
    tracks, log_odds = {}, {}
    encoder: Any = detector.model.base_model  # Any: declared as a module of torch
    extract = VideoFeatureExtractionPipeline(
        model=encoder, feature_extractor=detector.feature_extractor, device=detector.device
    )
    for video_id, video in videos.items():
        result = extract(video, stride_frames=_STRIDE_FRAMES, padding="drop", batch_size=batch_size)
        tracks[video_id] = FeatureTrack.from_pipeline(result, video_id=video_id)
        log_odds[video_id] = _log_odds(detector.model, tracks[video_id].features)
    head = fit_boundary_head(tracks, log_odds, known)
    proposed = []
    for video_id, track in tracks.items():
        response = head.respond(track, log_odds[video_id])
        found_s = pick_boundaries(response, threshold, min_gap_s) if track.num_snippets else np.empty(0)
        proposed.append(_complete(video_id, track, found_s, known.get(video_id), min_gap_s))
    return proposed


def _find_id(video_id: str, videos: Mapping[str, Any]) -> str:
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
    video_id: str,
    track: FeatureTrack,
    found_s: np.ndarray,
    known: AnnotatedVideo | None,
    min_gap_s: float,
) -> AnnotatedVideo:
    """Return the corrected segments, and proposed ones where there is none."""
    duration_s = track.record.duration_s
    spans_s = [(0.0, duration_s)]
    if known is not None:
        start_s, end_s = corrected_span(known)
        spans_s = [(0.0, start_s), (end_s, duration_s)]
    segments = list(known.segments) if known else []
    for start_s, end_s in spans_s:
        if end_s - start_s < min_gap_s and known is not None:
            continue
        inside_s = found_s[(found_s >= start_s + min_gap_s) & (found_s <= end_s - min_gap_s)].tolist()
        segments += [Segment(*window, PROPOSED) for window in pairwise([start_s, *inside_s, end_s])]
    segments.sort(key=lambda one: one.start_s)
    return AnnotatedVideo(video_id, duration_s, segments=tuple(segments), fps=track.record.fps)
