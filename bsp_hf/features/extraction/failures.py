"""Videos that failed: an entry for each beside the journal, and the table `failures.csv` of all."""

import csv
import io
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from bsp_hf.files import explain_write_errors

from .folder import JobFolder
from .resume import read_json
from .session import JobSession, digest_of


@dataclass(frozen=True)
class FailedVideo:
    """A video that could not be read, or in part only.

    Args:
        file (`str`): Its file or address.
        reason (`str`): Why.
        video_id (`str`, *optional*): Its id, if it has one.
        is_partial (`bool`, *optional*, defaults to `False`): Whether some of it could be read.
        is_kept (`bool`, *optional*, defaults to `False`): Whether the features of that part were written.
    """

    file: str
    reason: str
    video_id: str | None = None
    is_partial: bool = False
    is_kept: bool = False


def note_failure(job: JobFolder, failure: FailedVideo, session: JobSession) -> None:
    """Enter a failure and write the table anew.

    Args:
        job (`JobFolder`): The job.
        failure (`FailedVideo`): The video.
        session (`JobSession`): This process.
    """
    place = _place(job, failure.video_id or failure.file)
    job.write_text(place, json.dumps(asdict(failure), indent=1) + "\n", session)


def clear_failure(job: JobFolder, video_id: str) -> None:
    """Remove the entry of a video that is done after all.

    Args:
        job (`JobFolder`): The job.
        video_id (`str`): The video.
    """
    with explain_write_errors(job.output):
        _place(job, video_id).unlink(missing_ok=True)


def list_failures(job: JobFolder) -> list[FailedVideo]:
    """Return all failures of a job, those of other processes too.

    Args:
        job (`JobFolder`): The job.

    Returns:
        `list[FailedVideo]`: Sorted by file.
    """
    found = []
    for path in (job.work / "failed").glob("*.json"):
        try:
            found.append(FailedVideo(**(read_json(path) or {})))
        except TypeError:
            continue
    return sorted(found, key=lambda failure: (failure.file, failure.video_id or ""))


def drop_failures_of_missing_files(job: JobFolder, video_ids: Collection[str]) -> None:
    """Forget failures of files that are not asked for and not there any more.

    Args:
        job (`JobFolder`): The job.
        video_ids (`Collection[str]`): The videos that are asked for.
    """
    for failure in list_failures(job):
        is_wanted = failure.video_id is None or failure.video_id in video_ids
        is_path = "://" not in failure.file and "::" not in failure.file
        if not is_wanted and is_path and not os.path.lexists(failure.file):
            clear_failure(job, failure.video_id or failure.file)


def write_failures(job: JobFolder, session: JobSession) -> None:
    """Write `failures.csv`, with the columns file and reason; without a failure there is no such file.

    Args:
        job (`JobFolder`): The job.
        session (`JobSession`): This process.
    """
    while True:
        failures = list_failures(job)
        text = _to_csv(failures)
        if text is None:
            with explain_write_errors(job.output):
                job.failures_file.unlink(missing_ok=True)
        elif _read(job.failures_file) != text:
            job.write_text(job.failures_file, text, session)
        # Another process may have entered a failure meanwhile, and written a table that ours has replaced.
        if list_failures(job) == failures:
            return


def _to_csv(failures: list[FailedVideo]) -> str | None:
    if not failures:
        return None
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "reason"))
    rows.writerows((failure.file, failure.reason) for failure in failures)
    return text.getvalue()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _place(job: JobFolder, key: str) -> Path:
    return job.work / "failed" / f"{digest_of(key)}.json"
