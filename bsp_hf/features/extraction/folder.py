"""The folder of an extraction job: what lies where, and what it must not mix."""

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bsp_hf.features.storage.formats import read_track, write_track
from bsp_hf.features.storage.h5 import OWN_GROUP
from bsp_hf.features.storage.sidecar import sidecar_path
from bsp_hf.features.storage.suffixes import BARE_SUFFIXES, H5_SUFFIXES
from bsp_hf.features.track import FeatureTrack, digest_rows
from bsp_hf.files import (
    FeatureFileError,
    OutputError,
    atomic_write_text,
    explain_write_errors,
    path_in_folder,
)
from bsp_hf.videos.items import VideoItem

from .lock import JobLock
from .resume import (
    JobConflictError,
    JobRecord,
    JournalEntry,
    Standing,
    compare_entry,
    digest_of,
    read_entry,
    read_json,
)


@dataclass(frozen=True)
class JobPlaces:
    """Where a job writes: a folder with a file for each video, or a single file or data set of all.

    The features lie where their format has them; everything else lies in a hidden work folder: `job.json` (a
    [`JobRecord`]), `journal/` (an entry for each video that is done and was read back), `failed/` (an entry
    for each that failed), for single files `tracks/` (the videos that they are packed of), and `running/`
    ([`JobLock`]). No file states a time of day, so what is finished does not depend on how often the job was
    interrupted.
    """

    output: Path
    file_format: str
    may_have_failures_video: bool = False
    """`bool`: Whether a video may be called "failures"; as CSV, its features lie where the table would."""

    def __post_init__(self) -> None:
        if self.is_one_file and self.file_format != "h5":
            raise ValueError(
                f"{self.output} is an HDF5 file by its name; pass a folder for {self.file_format}."
            )

    @property
    def is_one_file(self) -> bool:
        """Whether the output is one HDF5 file of all videos."""
        return self.output.suffix in H5_SUFFIXES

    @property
    def is_packed(self) -> bool:
        """Whether the output is one file or data set of all videos."""
        return self.is_one_file or self.file_format == "arrow"

    @property
    def work(self) -> Path:
        """`Path`: The hidden work folder."""
        return (
            self.output.with_name(f".{self.output.name}.bsp_hf")
            if self.is_one_file
            else self.output / ".bsp_hf"
        )

    @property
    def failures_file(self) -> Path:
        """`Path`: The table of the videos that failed."""
        if self.is_one_file:
            return self.output.with_name(f"{self.output.name}.failures.csv")
        path = self.output / "failures.csv"
        is_taken = self.file_format == "csv" and (self.may_have_failures_video or sidecar_path(path).exists())
        return self.work / "failures.csv" if is_taken else path

    def track_path(self, video_id: str) -> Path:
        """Return the file of a video's track."""
        if self.is_packed:
            return self.work / "tracks" / f"{digest_of(video_id)}.safetensors"
        return path_in_folder(self.output, video_id, f".{self.file_format}")

    def entry_path(self, video_id: str) -> Path:
        """Return the file of a video's entry in the journal."""
        return self.work / "journal" / f"{digest_of(video_id)}.json"

    def find_problem(self, video_id: str) -> str | None:
        """Return why the features of a video cannot be written under its name; `None` if they can."""
        if self.file_format in ("h5", "arrow") and not _is_unicode(video_id):
            return f"its name is not UTF-8, as names in {self.file_format} files must be; rename it"
        if self.file_format == "h5" and video_id.split("/")[0] == OWN_GROUP:
            return f"ids in HDF5 files must not begin with {OWN_GROUP}/; rename its folder"
        path = self.track_path(video_id)
        for file in (path, sidecar_path(path)) if path.suffix in BARE_SUFFIXES else (path,):
            try:
                if stat.S_ISDIR(os.lstat(file).st_mode):
                    return f"its features cannot be written: {file} is a folder"
            except FileNotFoundError:
                continue
            except (OSError, UnicodeError) as error:  # too long, or with a file for a folder
                reason = getattr(error, "strerror", None) or str(error)
                return f"its features cannot be written ({reason}): {file.name}"
        return None

    def make_folders(self) -> None:
        """Make the folders, or raise an `OutputError`."""
        with explain_write_errors(self.output):
            if self.output.exists() and self.output.is_dir() == self.is_one_file:
                kind = "a folder" if self.is_one_file else "a file"
                raise FileExistsError(f"{self.output} is {kind}; pass another output")
            for folder in ("journal", "failed"):
                (self.work / folder).mkdir(parents=True, exist_ok=True)


class JobFolder:
    """The folder of a job for this process: it holds features of the job's record and of no others.

    Features that were made differently, also where those of `items` will lie in a folder without a job, are
    deleted with `overwrite`, and else a [`JobConflictError`].
    """

    def __init__(
        self,
        places: JobPlaces,
        record: JobRecord,
        items: Iterable[VideoItem],
        lock: JobLock,
        overwrite: bool,
    ) -> None:
        self.places, self.record, self.lock = places, record, lock
        items = tuple(items)
        job_file = places.work / "job.json"
        known = read_json(job_file)
        conflict = record.differences(known) if known is not None else self._unexpected_outputs(items)
        if conflict and not overwrite:
            raise JobConflictError(
                f"{places.output} holds features that were made differently: {'; '.join(conflict)}. Pass "
                "another output, or overwrite to delete them."
            )
        if conflict:
            lock.check_alone()
            self._delete_all_but_current(items)
        if known is None or conflict:
            self.write_text(job_file, json.dumps(record.to_dict(), indent=1, sort_keys=True) + "\n")

    def _unexpected_outputs(self, items: tuple[VideoItem, ...]) -> tuple[str, ...]:
        """Return a phrase for the first file, in a folder without a job, where a track will be written."""
        places = self.places
        paths = [places.output] if places.is_packed else [places.track_path(item.video_id) for item in items]
        for path in paths:
            # Of os.path: those of Path raise for names that are too long.
            if not os.path.isfile(path) and not os.path.exists(path / "state.json"):
                continue
            try:
                encoder = read_track(path).record.encoder
            except (FeatureFileError, ValueError):
                return (f"{path} is there and was not written by such a job",)
            if encoder.differences(self.record.encoder):
                return (f"the encoder {encoder} in {path}, {self.record.encoder} now",)
        return ()

    def _delete_all_but_current(self, items: tuple[VideoItem, ...]) -> None:
        for entry_file in sorted((self.places.work / "journal").glob("*.json")):
            entry = read_entry(entry_file)
            if entry is None or entry.settings != self.record.key:
                if entry is not None:
                    self._remove_track(entry.video_id)
                entry_file.unlink(missing_ok=True)
        for item in items:
            if read_entry(self.places.entry_path(item.video_id)) is None:
                self._remove_track(item.video_id)
        for failure in (self.places.work / "failed").glob("*.json"):
            failure.unlink(missing_ok=True)
        if self.places.is_one_file:
            self.places.output.unlink(missing_ok=True)

    def compare(self, item: VideoItem, source: str) -> Standing:
        """Return what there is of a video whose file has the stamp `source`, as [`compare_entry`] does."""
        entry = read_entry(self.places.entry_path(item.video_id))
        return compare_entry(item, source, self.record, entry, self.places.track_path(item.video_id))

    def keep(self, track: FeatureTrack, item: VideoItem, source: str) -> None:
        """Write a track, read it back, and enter it in the journal with the stamp of its source file."""
        target, entry_file = self.places.track_path(item.video_id), self.places.entry_path(item.video_id)
        with explain_write_errors(self.places.output):
            entry_file.unlink(missing_ok=True)
            write_track(track, target, scratch=self.lock.scratch)
            if read_track(target) != track:
                self._remove_track(item.video_id)
                raise OutputError(f"{target} does not read back as it was written; check the disk.")
        entry = JournalEntry(
            item.video_id,
            source,
            item.start_s,
            item.end_s,
            self.record.key,
            track.record.complete,
            digest_rows(track.features, track.centers_s),
        )
        # Last: an entry means that all before it is whole.
        self.write_text(entry_file, entry.to_text())

    def remove(self, video_id: str) -> None:
        """Remove what an earlier run kept of a video that now fails."""
        with explain_write_errors(self.places.output):
            self.places.entry_path(video_id).unlink(missing_ok=True)
            self._remove_track(video_id)

    def entries(self) -> list[JournalEntry]:
        """Return the journal's entries of this record, in the order of their ids."""
        found = (read_entry(path) for path in (self.places.work / "journal").glob("*.json"))
        mine = [entry for entry in found if entry is not None and entry.settings == self.record.key]
        return sorted(mine, key=lambda entry: entry.video_id)

    def write_text(self, target: Path, text: str) -> None:
        """Write a small file in one step, or raise an `OutputError`."""
        with explain_write_errors(self.places.output):
            atomic_write_text(target, text, self.lock.scratch)

    def _remove_track(self, video_id: str) -> None:
        if self.places.find_problem(video_id) is not None:
            return  # nothing of it was ever written
        path = self.places.track_path(video_id)
        path.unlink(missing_ok=True)
        if path.suffix in BARE_SUFFIXES:
            sidecar_path(path).unlink(missing_ok=True)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False
