"""The journal of an extraction job: an entry for each video that was written and read back."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .track import FeatureTrack


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


__all__ = ["JournalEntry", "digest_rows", "read_entry", "read_json"]
