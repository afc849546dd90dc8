"""The journal of an extraction job: an entry for each video that was written and read back."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.track import FeatureTrack


@dataclass(frozen=True)
class JournalEntry:
    """What is known of a video that is done.

    Args:
        video_id (`str`): The video.
        source (`str`): Stamp of the file that was read.
        start_s (`float`): First second.
        end_s (`float`, *optional*): End in seconds.
        settings (`str`): Key of the settings.
        complete (`bool`): Whether all of it was read.
        rows_sha256 (`str`): Digest of its rows and their times.
    """

    video_id: str
    source: str
    start_s: float
    end_s: float | None
    settings: str
    complete: bool
    rows_sha256: str

    def to_text(self) -> str:
        """Return the entry as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_entry(path: Path) -> JournalEntry | None:
    """Read an entry.

    Args:
        path (`Path`): Its file.

    Returns:
        `JournalEntry` or `None`: None if it is not there or damaged; the video is then done again.
    """
    content = read_json(path)
    try:
        return JournalEntry(**content) if content is not None else None
    except TypeError:
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a small JSON object.

    Args:
        path (`Path`): Its file.

    Returns:
        `dict` or `None`: None if it is not there, or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def digest_rows(track: FeatureTrack) -> str:
    """Digest the rows of a track and their times, the same whatever format they were kept in.

    Args:
        track (`FeatureTrack`): The track.

    Returns:
        `str`: SHA-256 in hexadecimal digits.
    """
    rows = np.where(np.isnan(track.features), np.float32("nan"), track.features)  # csv has one NaN only
    digest = hashlib.sha256(np.ascontiguousarray(rows, dtype="<f4").tobytes())
    digest.update(np.ascontiguousarray(track.centers_s, dtype="<f8").tobytes())
    return digest.hexdigest()


_JOB_VERSION = 1


class JobConflictError(ValueError):
    """A folder holds features of another encoder or of other settings than are asked for now."""


@dataclass(frozen=True)
class JobSettings:
    """All that changes what is written for a video.

    Args:
        encoder (`EncoderRecord`): The encoder, its number type included.
        snippet_frames (`int`): Frames of a snippet.
        stride_frames (`int`): Frames from the start of a snippet to that of the next.
        fps (`float`, *optional*): Rate that videos are resampled to.
        padding (`str`): What becomes of a last snippet that is not full.
        rescale_to (`int`, *optional*): Rows that every track is rescaled to.
        file_format (`str`): Format of the files.
    """

    encoder: EncoderRecord
    snippet_frames: int
    stride_frames: int
    fps: float | None
    padding: str
    rescale_to: int | None
    file_format: str

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON can hold."""
        return {**asdict(self), "encoder": self.encoder.to_dict(), "job_version": _JOB_VERSION}

    def differences(self, other: "dict[str, Any]") -> tuple[str, ...]:
        """Name what differs from the settings in a job's folder.

        Args:
            other (`dict`): What `to_dict` gave for the other job.

        Returns:
            `tuple[str, ...]`: One phrase for each setting, with both values.
        """
        mine = self.to_dict()
        found = [
            f"{name} {other.get(name)!r} there, {mine[name]!r} now"
            for name in mine
            if name != "encoder" and other.get(name) != mine[name]
        ]
        try:
            theirs = EncoderRecord.from_dict(other["encoder"])
        except (KeyError, TypeError, ValueError):
            return ("an encoder that is not recorded", *found)
        if self.encoder.differences(theirs):
            found.insert(0, f"the encoder {theirs} there, {self.encoder} now")
        if self.encoder.dtype != theirs.dtype:
            found.append(f"dtype {theirs.dtype} there, {self.encoder.dtype} now")
        return tuple(found)

    @property
    def key(self) -> str:
        """`str`: Digest of the settings; the name of the encoder's folder is not in it."""
        values = self.to_dict()
        values["encoder"].pop("id")
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
