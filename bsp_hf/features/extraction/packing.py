"""Packs the tracks of a finished job into one HDF5 file or one Arrow data set."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bsp_hf.features.storage.arrow import write_arrow
from bsp_hf.features.storage.formats import read_track
from bsp_hf.features.storage.h5 import write_h5
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import explain_write_errors

from .folder import JobFolder
from .resume import JournalEntry
from .session import JobSession

# The last names the data set: without it, nothing takes the folder for one.
_ARROW_LAST = "state.json"


def pack_tracks(job: JobFolder, session: JobSession) -> bool:
    """Write the one file or data set of all videos that are done, in the order of their ids.

    Done when every video of the list is settled, by whichever process finds that first. What is packed stays
    in the work folder too, so that a later run need not do it again.

    Args:
        job (`JobFolder`): A job whose format has one file or data set.
        session (`JobSession`): This process.

    Returns:
        `bool`: Whether there was anything to pack.

    Raises:
        OutputError: If it cannot be written.
    """
    entries = job.entries()
    if not entries:
        return False
    stamp_file, stamp = job.work / "packed.txt", _stamp_of(entries)
    if _read_text(stamp_file) == stamp and _is_there(job):
        return True
    with explain_write_errors(job.output):
        stamp_file.unlink(missing_ok=True)
        folder = session.new_folder()
        tracks = _read_all(job, entries)
        if job.is_one_file:
            with write_h5(folder / "t.h5") as file:
                for track in tracks:
                    file.add(track)
            os.replace(folder / "t.h5", job.output)
        else:
            write_arrow(tracks, folder / "t")
            _move_arrow(folder / "t", job.output)
            (folder / "t").rmdir()
        folder.rmdir()
    job.write_text(stamp_file, stamp, session)
    return True


def check_ids_fit_one_file(job: JobFolder, video_ids: Iterable[str]) -> None:
    """Refuse ids of which one would be the folder of another inside one HDF5 file.

    Args:
        job (`JobFolder`): The job.
        video_ids (`Iterable[str]`): The ids.

    Raises:
        ValueError: If `"a"` and `"a/b"` are both ids; it names them.
    """
    if not job.is_one_file:
        return
    known = set(video_ids)
    for video_id in sorted(known):
        parents = video_id.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            parent = "/".join(parents[:depth])
            if parent in known:
                raise ValueError(
                    f"{parent!r} and {video_id!r} cannot both be in one HDF5 file; pass a folder as output."
                )


def _read_all(job: JobFolder, entries: list[JournalEntry]) -> Iterator[FeatureTrack]:
    for entry in entries:
        yield read_track(job.track_path(entry.video_id))


def _move_arrow(source: Path, target: Path) -> None:
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


def _is_there(job: JobFolder) -> bool:
    return job.output.is_file() if job.is_one_file else (job.output / _ARROW_LAST).is_file()


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
