"""The rule by which a video need not be extracted again, and the records that it compares."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.storage.formats import read_track
from bsp_hf.features.track import FeatureTrack, digest_rows
from bsp_hf.files import FeatureFileError, MissingFeaturesError
from bsp_hf.videos.items import VideoItem

from .settings import ExtractionSettings

_JOB_VERSION = 1


class JobConflictError(ValueError):
    """A folder holds features of another encoder or of other settings than are asked for now."""


@dataclass(frozen=True)
class JobRecord:
    """What all videos of a job are extracted with, as far as the checkpoint decides it filled in.

    `job.json` in the work folder holds it.
    """

    encoder: EncoderRecord
    snippet_frames: int
    settings: ExtractionSettings

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values that JSON can hold."""
        return {
            "job_version": _JOB_VERSION,
            "encoder": self.encoder.to_dict(),
            "snippet_frames": self.snippet_frames,
            **self.settings.lasting(),
        }

    @cached_property
    def key(self) -> str:
        """`str`: Digest of the record; the name of the encoder's folder is not in it."""
        values = self.to_dict()
        values["encoder"].pop("id")
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: dict[str, Any]) -> tuple[str, ...]:
        """Return a phrase for each value in which the record differs from another's `to_dict`."""
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

    def fits(self, track: FeatureTrack) -> bool:
        """Return whether a track was extracted so."""
        found, settings = track.record, self.settings
        return (
            not found.encoder.differences(self.encoder)
            and (found.snippet_frames, found.stride_frames) == (self.snippet_frames, settings.stride_frames)
            and settings.fps in (None, found.fps)
        )


@dataclass(frozen=True)
class JournalEntry:
    """What is known of a video that was written and read back.

    `source` is the stamp of its file, `settings` the key of the job's record, and `rows_sha256` the digest of
    its rows and their times.
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


def is_finished(
    item: VideoItem, source: str, job: JobRecord, entry: JournalEntry | None, track_file: Path
) -> bool:
    """Return whether a video need not be extracted again.

    Its journal entry must name the same source file (by its stamp), part and settings, and its track must
    read back with the rows that were written. What was read in part only is tried again.
    """
    wanted = (item.video_id, source, item.start_s, item.end_s, job.key, True)
    if entry is None or wanted != (
        *(entry.video_id, entry.source, entry.start_s, entry.end_s, entry.settings, entry.complete),
    ):
        return False
    try:
        track = read_track(track_file)
    except (FeatureFileError, MissingFeaturesError, ValueError):
        return False
    is_same = digest_rows(track.features, track.centers_s) == entry.rows_sha256
    return is_same and track.record.video_id == item.video_id and job.fits(track)


def read_entry(path: Path) -> JournalEntry | None:
    """Read an entry; `None` if it is not there or damaged, and the video is done again."""
    content = read_json(path)
    try:
        return JournalEntry(**content) if content is not None else None
    except TypeError:
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a small JSON object; `None` if the file is not there or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
