"""Resamples features over time, and joins those of the same snippets along the channels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.encoder.video_records import join_completeness

from .encoder_record import EncoderRecord
from .track import FeatureTrack, TrackRecord

# Far below a frame, far above what rounding does to a time.
_SAME_TIME_S = 1e-6


def rescale(track: FeatureTrack, num_rows: int) -> FeatureTrack:
    """Interpolate a track to `num_rows` rows, over time only, as G-TAD does (SPEC 4.6).

    Args:
        track (`FeatureTrack`): A track of at least one row.
        num_rows (`int`): Rows to make; 100 on ActivityNet.

    Returns:
        `FeatureTrack`: `(num_rows, dim)`, with the centre times interpolated like the features and
        `record.rescaled_from` set. A track that already has `num_rows` rows is returned as it is.

    Raises:
        ValueError: If the track has no row, or `num_rows` is not positive.
    """
    if num_rows == track.num_snippets and num_rows > 0:
        return track
    features = rescale_rows(track.features, num_rows)
    # Rounding can turn two equal times around by a last digit.
    centers_s = np.maximum.accumulate(_interpolate(track.centers_s[:, None], num_rows)[:, 0])
    return FeatureTrack(features, centers_s, _rescaled_record(track))


def rescale_rows(features: np.ndarray, num_rows: int) -> np.ndarray:
    """Interpolate feature rows to `num_rows`: linear, half-pixel centres (`align_corners=False`).

    Args:
        features (`np.ndarray`): float32 `(num_snippets, dim)`, at least one row.
        num_rows (`int`): Rows to make.

    Returns:
        `np.ndarray`: float32 `(num_rows, dim)`, C-contiguous, in memory of its own.

    Raises:
        ValueError: If there is no row, or `num_rows` is not positive.
    """
    if not len(features):
        raise ValueError("features without a row cannot be rescaled; drop this video.")
    if num_rows < 1:
        raise ValueError(f"num_rows must be at least 1, got {num_rows}.")
    return _interpolate(features, num_rows)


def rows_at(track: FeatureTrack, times_s: ArrayLike) -> FeatureTrack:
    """Interpolate a track at given seconds, linearly between the centres of its rows.

    Before the first centre and behind the last, the nearest row holds.

    Args:
        track (`FeatureTrack`): A track of at least one row.
        times_s (`ArrayLike`): `(num_rows,)`, ascending seconds.

    Returns:
        `FeatureTrack`: `(num_rows, dim)` centred at `times_s`, with `record.rescaled_from` set.

    Raises:
        ValueError: If the track has no row, or `times_s` does not ascend.
    """
    if not track.num_snippets:
        raise ValueError(f"{track.record.video_id} has no row to interpolate; drop this video.")
    times = np.asarray(times_s, dtype=np.float64)
    later = np.searchsorted(track.centers_s, times).clip(1, max(1, track.num_snippets - 1))
    earlier, later = later - 1, later.clip(max=track.num_snippets - 1)
    gap_s = track.centers_s[later] - track.centers_s[earlier]
    weight = np.divide(times - track.centers_s[earlier], gap_s, out=np.zeros_like(times), where=gap_s > 0)
    weight = weight.clip(0, 1).astype(np.float32)[:, None]
    features = track.features[earlier] * (1 - weight) + track.features[later] * weight
    return FeatureTrack(features, times, _rescaled_record(track))


def spread_evenly(track: FeatureTrack) -> FeatureTrack:
    """Interpolate a track so that its rows are spread evenly over the duration of the video.

    That is where tools without times take them to be, which is wrong if a last snippet was padded or snippets
    overlap. A track whose rows lie there to half a frame is returned as it is.
    """
    times_s = (np.arange(track.num_snippets) + 0.5) / max(1, track.num_snippets) * track.record.duration_s
    off_s = np.abs(times_s - track.centers_s).max(initial=0.0)
    return track if off_s <= 0.5 / track.record.fps else rows_at(track, times_s)


def _interpolate(rows: np.ndarray, num_rows: int) -> np.ndarray:
    import torch  # slow, and tracks are read without it

    channels_first = torch.from_numpy(np.array(rows.T, order="C"))[None]
    resized = torch.nn.functional.interpolate(
        channels_first, size=num_rows, mode="linear", align_corners=False
    )
    return np.ascontiguousarray(resized[0].numpy().T)


def _rescaled_record(track: FeatureTrack) -> TrackRecord:
    return replace(track.record, rescaled_from=track.record.rescaled_from or track.num_snippets)


def concatenate_tracks(tracks: Sequence[FeatureTrack]) -> FeatureTrack:
    """Join tracks of one video along the channels: two-stream fusion of stored features (Sec. 3.4, SPEC 4.6).

    Args:
        tracks (`Sequence[FeatureTrack]`): Tracks of the same snippets by different encoders, in the order
            that their channels shall have.

    Returns:
        `FeatureTrack`: `(num_snippets, sum of dims)` in memory of its own. Its encoder record names the
        parts, and it is complete if all of them are.

    Raises:
        ValueError: If there is no track, or the tracks differ in video, rows or snippets.
    """
    if not tracks:
        raise ValueError("concatenate_tracks needs at least one track.")
    first = tracks[0]
    for track in tracks[1:]:
        _check_same_rows(first, track)
    encoders = [track.record.encoder for track in tracks]
    decoders = dict.fromkeys(track.record.decoder_version for track in tracks)
    errors = dict.fromkeys(track.record.error for track in tracks if track.record.error)
    record = replace(
        first.record,
        encoder=EncoderRecord.join(encoders),
        complete=join_completeness(track.record.complete for track in tracks),
        error="; ".join(errors) or None,
        decoder_version=" + ".join(decoders),
    )
    return FeatureTrack(
        np.concatenate([track.features for track in tracks], axis=1), first.centers_s.copy(), record
    )


def _check_same_rows(first: FeatureTrack, other: FeatureTrack) -> None:
    names = f"{first.record.encoder.id} and {other.record.encoder.id}"
    if first.record.video_id != other.record.video_id:
        raise ValueError(
            f"tracks of videos {first.record.video_id!r} and {other.record.video_id!r} cannot be joined; "
            "pass tracks of one video."
        )
    if first.num_snippets != other.num_snippets:
        raise ValueError(
            f"{first.record.video_id}: the tracks of {names} have {first.num_snippets} and "
            f"{other.num_snippets} rows. Extract both with the same fps, snippet_frames and stride_frames."
        )
    for name in ("fps", "snippet_frames", "stride_frames", "rescaled_from"):
        values = getattr(first.record, name), getattr(other.record, name)
        if values[0] != values[1]:
            raise ValueError(
                f"{first.record.video_id}: the tracks of {names} have {name} {values[0]} and {values[1]}; "
                "extract both with the same settings."
            )
    apart_s = np.abs(first.centers_s - other.centers_s).max(initial=0.0)
    if apart_s > _SAME_TIME_S:
        raise ValueError(
            f"{first.record.video_id}: rows of {names} lie up to {apart_s:.3f} s apart; extract both from "
            "the same file with the same settings."
        )
