"""Two-stream fusion of stored features: tracks of one video joined along the channels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .encoders import EncoderRecord
from .track import FeatureTrack

# Far below a frame, far above what rounding does to a time.
_SAME_TIME_S = 1e-6


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
        complete=all(track.record.complete for track in tracks),
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
            "give tracks of one video."
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


__all__ = ["concatenate_tracks"]
