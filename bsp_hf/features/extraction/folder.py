"""The folder of an extraction job: what is verified in it, how a track gets there, what it must not mix."""

import json
import os
from pathlib import Path

from bsp_hf.features.storage.folders import TRACK_FORMATS
from bsp_hf.features.storage.formats import BARE_SUFFIXES, H5_SUFFIXES, read_track, write_track
from bsp_hf.features.storage.sidecar import sidecar_path
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import (
    FeatureFileError,
    MissingFeaturesError,
    OutputError,
    explain_write_errors,
    path_in_folder,
)
from bsp_hf.videos.items import VideoItem

from .resume import JobConflictError, JobSettings, JournalEntry, digest_rows, read_entry, read_json
from .session import JobSession, digest_of


class JobFolder:
    """Where a job writes. A folder of one file a video, or a single file or data set of all.

    The features lie where their format has them; everything else lies in a hidden work folder: `job.json`
    (the settings), `journal/` (an entry for each video that is done and was read back), `failed/` (an entry
    for each that failed), for single files `tracks/` (the videos that they are packed of). No file states a
    time of day, so what is finished does not depend on how often the job was interrupted.

    Args:
        output (`Path`): A folder, or a name that ends in `.h5` or `.hdf5`.
        file_format (`str`): One of `TRACK_FORMATS`.

    Raises:
        ValueError: If the format is unknown or does not go with the name.
    """

    def __init__(self, output: Path, file_format: str) -> None:
        if file_format not in TRACK_FORMATS:
            raise ValueError(f"file_format={file_format!r} is none of {', '.join(TRACK_FORMATS)}.")
        self.is_one_file = output.suffix in H5_SUFFIXES
        if self.is_one_file and file_format != "h5":
            raise ValueError(f"{output} is an HDF5 file by its name; give a folder for {file_format}.")
        self.output, self.file_format = output, file_format
        self.is_packed = self.is_one_file or file_format == "arrow"
        if self.is_one_file:
            self.work = output.with_name(f".{output.name}.bsp_hf")
            self.failures_file = output.with_name(f"{output.name}.failures.csv")
        else:
            self.work, self.failures_file = output / ".bsp_hf", output / "failures.csv"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            OutputError: If they cannot be made or written to.
        """
        with explain_write_errors(self.output):
            if self.output.exists() and self.output.is_dir() == self.is_one_file:
                kind = "a folder" if self.is_one_file else "a file"
                raise FileExistsError(f"{self.output} is {kind}; pass another output")
            for folder in ("journal", "failed", "sessions", "claims"):
                (self.work / folder).mkdir(parents=True, exist_ok=True)

    def track_path(self, video_id: str) -> Path:
        """Return where the track of a video lies.

        Args:
            video_id (`str`): The video.

        Returns:
            `Path`: Its file.
        """
        if self.is_packed:
            return self.work / "tracks" / f"{digest_of(video_id)}.safetensors"
        return path_in_folder(self.output, video_id, f".{self.file_format}")

    def settle(
        self, settings: JobSettings, items: tuple[VideoItem, ...], session: JobSession, overwrite: bool
    ) -> None:
        """Make sure that the folder holds features of these settings and of no others.

        Args:
            settings (`JobSettings`): What is asked for now.
            items (`tuple[VideoItem, ...]`): Videos whose places must not be taken by features of others.
            session (`JobSession`): This process.
            overwrite (`bool`): Whether to delete features of other settings.

        Raises:
            JobConflictError: If the folder holds features of another encoder or of other settings.
        """
        self.settings = settings
        job_file = self.work / "job.json"
        known = read_json(job_file)
        conflict = settings.differences(known) if known is not None else self._strangers(items, settings)
        if conflict and not overwrite:
            raise JobConflictError(
                f"{self.output} holds features that were made differently: {'; '.join(conflict)}. Pass "
                "another output, or overwrite to delete them."
            )
        if conflict:
            self._delete_all_but(settings.key, items)
        if known is None or conflict:
            content = json.dumps(settings.to_dict(), indent=1, sort_keys=True) + "\n"
            self.write_text(job_file, content, session)

    def _strangers(self, items: tuple[VideoItem, ...], settings: JobSettings) -> tuple[str, ...]:
        """Look, in a folder without a job, at what stands where tracks will be written."""
        for path in (
            [self.track_path(item.video_id) for item in items] if not self.is_packed else [self.output]
        ):
            if not path.is_file() and not (path.is_dir() and (path / "state.json").exists()):
                continue
            try:
                record = read_track(path).record
            except (FeatureFileError, ValueError):
                return (f"{path} is there and was not written by such a job",)
            if record.encoder.differences(settings.encoder):
                return (f"the encoder {record.encoder} in {path}, {settings.encoder} now",)
        return ()

    def _delete_all_but(self, key: str, items: tuple[VideoItem, ...]) -> None:
        for entry_file in sorted((self.work / "journal").glob("*.json")):
            entry = read_entry(entry_file)
            if entry is None or entry.settings != key:
                if entry is not None:
                    self._remove_track(entry.video_id)
                entry_file.unlink(missing_ok=True)
        for item in items:
            if self._entry_of(item.video_id) is None:
                self._remove_track(item.video_id)
        for failure in (self.work / "failed").glob("*.json"):
            failure.unlink(missing_ok=True)
        if self.is_one_file:
            self.output.unlink(missing_ok=True)

    def verified(self, item: VideoItem, source: str) -> bool:
        """Say whether a video needs not be done again.

        Its journal entry must name the same source file, part and settings, and its track must read back
        with the same rows. What was read in part only is tried again.

        Args:
            item (`VideoItem`): The video.
            source (`str`): Stamp of its file as it is now.

        Returns:
            `bool`: Whether its features are whole and up to date.
        """
        entry = self._entry_of(item.video_id)
        wanted = (item.video_id, source, item.start_s, item.end_s, self.settings.key, True)
        if entry is None or wanted != (
            entry.video_id,
            entry.source,
            entry.start_s,
            entry.end_s,
            entry.settings,
            entry.complete,
        ):
            return False
        try:
            track = read_track(self.track_path(item.video_id))
        except (FeatureFileError, MissingFeaturesError, ValueError):
            return False
        return self._fits(track, item.video_id) and digest_rows(track) == entry.rows_sha256

    def _fits(self, track: FeatureTrack, video_id: str) -> bool:
        record, settings = track.record, self.settings
        return (
            record.video_id == video_id
            and not record.encoder.differences(settings.encoder)
            and (record.snippet_frames, record.stride_frames)
            == (settings.snippet_frames, settings.stride_frames)
            and settings.fps in (None, record.fps)
        )

    def keep(self, track: FeatureTrack, item: VideoItem, source: str, session: JobSession) -> None:
        """Write a track, read it back, and enter it in the journal.

        Args:
            track (`FeatureTrack`): The track.
            item (`VideoItem`): Its video.
            source (`str`): Stamp of the file that was read.
            session (`JobSession`): This process.

        Raises:
            OutputError: If it cannot be written, or does not read back as it was.
        """
        target = self.track_path(item.video_id)
        with explain_write_errors(self.output):
            self._entry_file(item.video_id).unlink(missing_ok=True)
            scratch = session.new_folder()
            written = write_track(track, scratch / f"t{target.suffix}")
            if read_track(written) != track:
                raise OutputError(f"{target} does not read back as it was written; check the disk.")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(written, target)
            if target.suffix in BARE_SUFFIXES:
                os.replace(sidecar_path(written), sidecar_path(target))
            scratch.rmdir()
        entry = JournalEntry(
            item.video_id,
            source,
            item.start_s,
            item.end_s,
            self.settings.key,
            track.record.complete,
            digest_rows(track),
        )
        # Last: an entry says that all before it is whole.
        self.write_text(self._entry_file(item.video_id), entry.to_text(), session)

    def forget(self, video_id: str) -> None:
        """Remove what an earlier run kept of a video that now fails.

        Args:
            video_id (`str`): The video.
        """
        with explain_write_errors(self.output):
            self._entry_file(video_id).unlink(missing_ok=True)
            self._remove_track(video_id)

    def entries(self) -> list[JournalEntry]:
        """Return the journal's entries of the present settings.

        Returns:
            `list[JournalEntry]`: In the order of their ids.
        """
        found = (read_entry(path) for path in (self.work / "journal").glob("*.json"))
        mine = [entry for entry in found if entry is not None and entry.settings == self.settings.key]
        return sorted(mine, key=lambda entry: entry.video_id)

    def write_text(self, target: Path, text: str, session: JobSession) -> None:
        """Write a small file in one step.

        Args:
            target (`Path`): The file.
            text (`str`): Its content.
            session (`JobSession`): This process.

        Raises:
            OutputError: If it cannot be written.
        """
        with explain_write_errors(self.output):
            folder = session.new_folder()
            (folder / "t").write_text(text, encoding="utf-8")
            os.replace(folder / "t", target)
            folder.rmdir()

    def _entry_file(self, video_id: str) -> Path:
        return self.work / "journal" / f"{digest_of(video_id)}.json"

    def _entry_of(self, video_id: str) -> JournalEntry | None:
        return read_entry(self._entry_file(video_id))

    def _remove_track(self, video_id: str) -> None:
        path = self.track_path(video_id)
        path.unlink(missing_ok=True)
        if path.suffix in BARE_SUFFIXES:
            sidecar_path(path).unlink(missing_ok=True)
