"""The rule by which a video need not be extracted again, and the records that it compares."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bsp_hf.encoder.video_records import Completeness
from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.storage.formats import read_track
from bsp_hf.features.track import FeatureTrack, digest_rows
from bsp_hf.files import FeatureFileError, MissingFeaturesError
from bsp_hf.videos.items import VideoItem

from .settings import ExtractionSettings

_JOB_VERSION = 1


class JobConflictError(ValueError):
    """A folder holds features of another encoder or of other settings, or another job extracts into it."""


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
    complete: Completeness
    rows_sha256: str

    def to_text(self) -> str:
        """Return the entry as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


Standing = Literal["nothing", "finished", "another part", "another file"]


def compare_entry(
    item: VideoItem, source: str, job: JobRecord, entry: JournalEntry | None, track_file: Path
) -> Standing:
    """Return what there is of a video whose file has the stamp `source`; all but `"finished"` is redone.

    The track must read back with the rows that its journal entry names. Then the entry says whether they are
    of the same source file and part. What was read in part only is tried again.
    """
    if entry is None or (entry.video_id, entry.settings) != (item.video_id, job.key):
        return "nothing"
    try:
        track = read_track(track_file)
    except (FeatureFileError, MissingFeaturesError, ValueError):
        return "nothing"
    is_same = digest_rows(track.features, track.centers_s) == entry.rows_sha256
    if not (is_same and track.record.video_id == item.video_id and job.fits(track)):
        return "nothing"
    if (entry.start_s, entry.end_s) != (item.start_s, item.end_s):
        return "another part"
    if entry.source != source:
        return "another file"
    return "finished" if entry.complete else "nothing"


def digest_of(key: str) -> str:
    """Return 32 hexadecimal digits that name a file for any id, however long."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


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
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
