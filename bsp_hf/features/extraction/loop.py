"""Assigns videos to workers, watches them, and settles what each of them sends."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait

from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import OutputError
from bsp_hf.videos.items import UnusableVideo, VideoItem

from .failures import FailedVideo, FailureTable
from .folder import JobFolder
from .ray_workers import RayWorker
from .report import JobProgress
from .resume import JobRecord
from .workers import Message, UnreadableCellError, Worker, WorkerSetup

_SECONDS_BETWEEN_CHECKS = 0.5
# In addition to the time for a file: a batch in a large model on a slow processor.
GRACE_S = 30.0
# Workers that end with no video to blame, one after the other: the system lacks memory, or they cannot run.
_MOST_DEATHS = 3
_ANOTHER_PART = (
    "its features here are of another part of it (start_s, end_s); pass another output, or overwrite to "
    "replace them"
)


def _start_worker(setup: WorkerSetup) -> Worker:
    if setup.settings.ray:
        return RayWorker(setup)
    return Worker(setup, setup.settings.num_workers > 0)


def start_first_worker(setup: WorkerSetup) -> tuple[Worker, JobRecord]:
    """Return a worker that is ready, and the record of the job as its encoder decides it."""
    for _ in range(_MOST_DEATHS):
        worker = _start_worker(setup)
        try:
            message = worker.receive()
        except BaseException:
            worker.shutdown()
            raise
        if message is not None and message.kind != "fatal":
            return worker, message.content
        worker.shutdown()
        if message is not None:
            raise message.content
    raise RuntimeError(f"the encoder could not be loaded: {worker.explain_end()}.")


class ExtractionLoop:
    """One process's part of a folder job, begun with one worker that is ready."""

    def __init__(
        self,
        job: JobFolder,
        failures: FailureTable,
        setup: WorkerSetup,
        first_worker: Worker,
        progress: JobProgress,
    ) -> None:
        self._job, self._table, self._progress = job, failures, progress
        # All workers compute as the first one chose.
        self._settings = replace(setup.settings, dtype=job.record.settings.dtype)
        self._setup = replace(setup, settings=self._settings)
        self._idle, self._busy, self._starting = [first_worker], list[Worker](), list[Worker]()
        self._most_workers = max(1, self._settings.num_workers)
        self._num_deaths = 0
        self._waiting: deque[VideoItem] = deque()
        self._tried_again, self._changed = set[str](), set[str]()
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.replaced: list[str] = []
        self.unknown: list[str] = []
        self.failures: list[FailedVideo] = []

    def run(self, found: Iterator[VideoItem | UnusableVideo]) -> None:
        """Settle all videos, which are looked at as workers are free."""
        try:
            while True:
                is_free = self._idle or self._can_grow()
                if is_free and not self._find_next(found) and not self._busy:
                    return
                if self._waiting and self._idle:
                    self._assign()
                else:
                    if self._waiting and self._can_grow():
                        self._starting.append(_start_worker(self._setup))
                    self._receive()
        finally:
            for worker in (*self._idle, *self._busy, *self._starting):
                worker.shutdown()

    def _num_workers(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._starting)

    def _can_grow(self) -> bool:
        return self._num_workers() < self._most_workers and self._num_deaths <= _MOST_DEATHS

    def _find_next(self, found: Iterator[VideoItem | UnusableVideo]) -> bool:
        """Have a video waiting, unless all are settled or assigned; return whether one is."""
        while not self._waiting:
            item = next(found, None)
            if item is None:
                return False
            if isinstance(item, UnusableVideo):
                self._fail(FailedVideo(item.name, item.reason))
            elif problem := self._job.places.find_problem(item.video_id):
                self._fail(FailedVideo(item.name, problem, item.video_id))
            else:
                self._waiting.append(item)
        return True

    def _assign(self) -> None:
        worker = self._idle.pop()
        try:
            worker.assign(self._waiting[0])
        except UnreadableCellError as error:
            self._idle.append(worker)
            self._settle_failure(self._waiting.popleft(), str(error))
        except OSError:  # it has ended while it was idle
            self._note_death(worker)
        else:
            self._waiting.popleft()
            self._busy.append(worker)

    def _receive(self) -> None:
        workers = {worker.connection: worker for worker in (*self._busy, *self._starting)}
        for connection in wait(list(workers), _SECONDS_BETWEEN_CHECKS):
            worker = workers[connection]  # type: ignore[index]  # what was waited for
            message = worker.receive()
            if worker in self._starting:
                self._starting.remove(worker)
                if message is not None and message.kind != "fatal":
                    self._idle.append(worker)
                elif message is None:
                    self._note_death(worker)
                elif not self._num_workers():
                    raise message.content
                else:  # such as a second encoder for which a device has no memory
                    self._most_workers = self._num_workers()
                    self._progress.note(
                        f"{self._most_workers} workers go on without another: {message.content}"
                    )
                    worker.shutdown()
            elif message is None:
                self._settle_end(worker)
            else:
                self._settle(worker, message)
        limit_s = self._settings.timeout_s + GRACE_S
        for worker in list(self._busy):
            if worker.item is not None and time.monotonic() - worker.last_message_s > limit_s:
                self._busy.remove(worker)
                worker.shutdown(hangs=True)
                self._settle_failure(worker.item, f"it gave nothing for {limit_s:g} s and was abandoned")

    def _note_death(self, worker: Worker) -> None:
        """Count a worker that has ended with no video to blame; raise if none is left after several."""
        self._num_deaths += 1
        if not self._num_workers() and (self._num_deaths > _MOST_DEATHS or not worker.is_replaceable):
            raise RuntimeError(
                f"workers keep ending before they extract; of the last, {worker.explain_end()}."
            )
        worker.shutdown()

    def _settle_end(self, worker: Worker) -> None:
        """Settle a busy worker's end: its video fails, unless something else may have ended it."""
        item = worker.item
        self._busy.remove(worker)
        is_innocent = not worker.source or worker.may_be_lost
        if item is None or (is_innocent and item.video_id not in self._tried_again):
            if item is not None:
                self._tried_again.add(item.video_id)
                self._waiting.appendleft(item)
            self._note_death(worker)
        else:
            reason = worker.explain_end()
            worker.shutdown()
            self._settle_failure(item, reason)

    def _settle(self, worker: Worker, message: Message) -> None:
        item = worker.item
        if item is None or message.kind == "progress":
            return
        if message.kind == "stamp":
            worker.source = message.content
            standing = self._job.compare(item, worker.source)
            is_wanted = standing in ("nothing", "another file") or (
                standing == "another part" and self._settings.overwrite
            )
            worker.reply(is_wanted)
            if standing == "another file":
                self._changed.add(item.video_id)
            if is_wanted:
                return
            if standing == "finished":
                self.skipped.append(item.video_id)
                self._table.clear(item.video_id)
                self._progress.settle()
            else:
                self._fail(FailedVideo(item.name, _ANOTHER_PART, item.video_id))
        elif message.kind == "failed":
            self._settle_failure(item, message.content)
        else:
            self._settle_track(item, message.content, worker.source)
        self._num_deaths = 0
        worker.item = None
        self._busy.remove(worker)
        self._idle.append(worker)

    def _settle_track(self, item: VideoItem, track: FeatureTrack, source: str) -> None:
        record = track.record
        is_kept = bool(record.complete) or self._settings.keep_partial
        try:
            if is_kept:
                self._job.keep(track, item, source)
            else:
                self._job.remove(item.video_id)
        except OutputError:
            problem = self._job.places.find_problem(item.video_id)
            if problem is None:
                raise
            self._fail(FailedVideo(item.name, problem, item.video_id))  # of this video, not of the disk
            return
        num_rows = record.rescaled_from or track.num_snippets
        covered_s = max(0.0, record.duration_s - item.start_s)
        if record.complete:
            self.done.append(item.video_id)
            if record.complete == "unknown":
                self.unknown.append(item.video_id)
            self._table.clear(item.video_id)
            self._progress.settle(num_rows, covered_s)
        else:
            reason = f"partial: {record.error or 'not all of it could be read'}"
            failure = FailedVideo(item.name, reason, item.video_id, is_partial=True, is_kept=is_kept)
            self._fail(failure, num_rows, covered_s)
        if is_kept and item.video_id in self._changed:
            self.replaced.append(item.video_id)
            self._progress.note(f"{item.name}: it has changed, and so have its features")

    def _settle_failure(self, item: VideoItem, reason: str) -> None:
        self._job.remove(item.video_id)
        self._fail(FailedVideo(item.name, reason, item.video_id))

    def _fail(self, failure: FailedVideo, num_rows: int = 0, covered_s: float = 0.0) -> None:
        self.failures.append(failure)
        self._table.add(failure)
        self._progress.settle(num_rows, covered_s, has_failed=True)
        self._progress.note(f"{failure.file}: {failure.reason}")
