"""Videos that failed: an entry for each beside the journal, and the table `failures.csv` of all."""

import csv
import io
import json
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bsp_hf.files import escape_controls, explain_write_errors

from .folder import JobFolder
from .resume import digest_of, read_json

# The table of n failures takes time in proportion to n; written at each failure, to the square of n.
_SECONDS_BETWEEN_TABLES = 10.0


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


class FailureTable:
    """The failures of a job, those of other processes too."""

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._written_s = -float("inf")

    def add(self, failure: FailedVideo) -> None:
        """Enter a failure; the table follows within seconds, and at [`write`]."""
        entry = json.dumps(asdict(failure), indent=1) + "\n"
        self._job.write_text(self._entry_path(failure.video_id or failure.file), entry)
        if time.monotonic() - self._written_s > _SECONDS_BETWEEN_TABLES:
            self.write()
            self._written_s = time.monotonic()

    def clear(self, key: str) -> None:
        """Remove the entry of a video, by its id or file, that is done after all."""
        with explain_write_errors(self._job.places.output):
            self._entry_path(key).unlink(missing_ok=True)

    def clear_missing_files(self, video_ids: Collection[str]) -> None:
        """Remove the entries of files that are neither asked for nor there any more."""
        for failure in self.read():
            is_wanted = failure.video_id is None or failure.video_id in video_ids
            is_path = "://" not in failure.file and "::" not in failure.file
            if not is_wanted and is_path and not os.path.lexists(failure.file):
                self.clear(failure.video_id or failure.file)

    def read(self) -> list[FailedVideo]:
        """Return all failures, sorted by file."""
        found = []
        for path in (self._job.places.work / "failed").glob("*.json"):
            try:
                found.append(FailedVideo(**(read_json(path) or {})))
            except TypeError:
                continue
        return sorted(found, key=lambda failure: (failure.file, failure.video_id or ""))

    def write(self) -> None:
        """Write `failures.csv`, with the columns file and reason; without a failure there is no such file."""
        path, failures = self._job.places.failures_file, self.read()
        while True:
            text = failures_table((failure.file, failure.reason) for failure in failures)
            if not failures:
                with explain_write_errors(self._job.places.output):
                    path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_text(encoding="utf-8") != text:
                self._job.write_text(path, text)
            # Another process may have entered a failure meanwhile, and written a table that ours replaced.
            written, failures = failures, self.read()
            if failures == written:
                return

    def _entry_path(self, key: str) -> Path:
        return self._job.places.work / "failed" / f"{digest_of(key)}.json"


def failures_table(failures: Iterable[tuple[str, str]]) -> str:
    """Return the text of `failures.csv`: the columns file and reason."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "reason"))
    rows.writerows((escape_controls(file), escape_controls(reason)) for file, reason in failures)
    return text.getvalue()
