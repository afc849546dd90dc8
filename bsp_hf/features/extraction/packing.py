"""Packs the tracks of a finished job into one HDF5 file or one Arrow data set."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bsp_hf.features.storage.arrow import write_arrow
from bsp_hf.features.storage.formats import read_track
from bsp_hf.features.storage.h5 import write_h5
from bsp_hf.files import explain_write_errors

from .folder import JobFolder, JobPlaces
from .resume import JournalEntry

# Moved last: without this file, the folder is not recognized as a data set.
_ARROW_LAST = "state.json"


def pack_tracks(job: JobFolder) -> None:
    """Write the one file or data set of all videos that are done, in the order of their ids.

    What is packed stays in the work folder too, so that a later run need not do it again.
    """
    entries, places, scratch = job.entries(), job.places, job.lock.scratch
    stamp_file, stamp = places.work / "packed.txt", _stamp_of(entries)
    is_there = places.output.is_file() if places.is_one_file else (places.output / _ARROW_LAST).is_file()
    if not entries or (is_there and stamp_file.is_file() and stamp_file.read_text(encoding="utf-8") == stamp):
        return
    with explain_write_errors(places.output):
        stamp_file.unlink(missing_ok=True)
        tracks = (read_track(places.track_path(entry.video_id)) for entry in entries)
        if places.is_one_file:
            with write_h5(places.output, scratch) as file:
                for track in tracks:
                    file.add(track)
        else:
            write_arrow(tracks, scratch / "arrow")
            _move_arrow(scratch / "arrow", places.output)
            shutil.rmtree(scratch / "arrow")
    job.write_text(stamp_file, stamp)


def check_ids_fit_one_file(places: JobPlaces, video_ids: Iterable[str]) -> None:
    """Raise a `ValueError` if one id would be the folder of another inside one HDF5 file."""
    known = set(video_ids) if places.is_one_file else set()
    for video_id in sorted(known):
        parts = video_id.split("/")
        for parent in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
            if parent in known:
                raise ValueError(
                    f"{parent!r} and {video_id!r} cannot both be in one HDF5 file; pass a folder as output."
                )


def _move_arrow(source: Path, target: Path) -> None:
    """Move the files of a data set into the job's folder, which holds other things too."""
    (target / _ARROW_LAST).unlink(missing_ok=True)
    for old in target.glob("data-*.arrow"):
        old.unlink()
    for path in sorted(source.iterdir(), key=lambda path: path.name == _ARROW_LAST):
        os.replace(path, target / path.name)


def _stamp_of(entries: list[JournalEntry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.video_id}\0{entry.rows_sha256}\0{entry.complete}\n".encode())
    return digest.hexdigest()
