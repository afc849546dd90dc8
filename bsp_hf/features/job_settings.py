"""What an extraction job was asked for: all that changes what it writes, and how it differs from another."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from .encoders import EncoderRecord

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


__all__ = ["JobConflictError", "JobSettings"]
