"""Assigns videos to workers, watches them, and settles what each of them sends."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait

from bsp_hf.features.track import FeatureTrack
from bsp_hf.videos.items import UnusableVideo, VideoItem

from .failures import FailedVideo, FailureTable
from .folder import JobFolder
from .report import JobProgress
from .workers import Message, Worker, WorkerSetup

_SECONDS_BETWEEN_CHECKS = 0.5
# In addition to the time for a file: a batch in a large model on a slow processor.
GRACE_S = 30.0
_MOST_IDLE_DEATHS = 3


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
        self._postponed: deque[VideoItem] = deque()
        self._num_idle_deaths = 0
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failures: list[FailedVideo] = []

    def run(self, found: Iterator[VideoItem | UnusableVideo]) -> None:
        """Settle all videos, which are looked at as workers are free."""
        ahead: VideoItem | None = None
        is_exhausted = False
        try:
            while True:
                while self._idle and (ahead or not is_exhausted):
                    ahead = ahead or self._next(found)
                    if ahead is None:
                        is_exhausted = True
                    elif self._assign(ahead):
                        ahead = None
                if is_exhausted and ahead is None:
                    self._try_postponed()
                    if not self._busy and not self._postponed:
                        return
                elif not is_exhausted and not self._idle and self._can_grow():
                    ahead = ahead or self._next(found)
                    if ahead is not None:
                        self._starting.append(Worker(self._setup, True))
                self._receive()
        finally:
            for worker in (*self._idle, *self._busy, *self._starting):
                worker.shutdown()

    def _can_grow(self) -> bool:
        num_workers = len(self._idle) + len(self._busy) + len(self._starting)
        return num_workers < self._settings.num_workers

    def _next(self, found: Iterator[VideoItem | UnusableVideo]) -> VideoItem | None:
        """Return the next video that no other process has claimed."""
        for item in found:
            if isinstance(item, UnusableVideo):
                self._fail(FailedVideo(item.name, item.reason))
                self._progress.settle(has_failed=True)
            elif self._job.session.claim(item.video_id):
                return item
            else:
                self._postponed.append(item)
        return None

    def _try_postponed(self) -> None:
        """Assign what another process had claimed and has released, done or not."""
        for _ in range(len(self._postponed)):
            if not self._idle:
                return
            item = self._postponed.popleft()
            if not (self._job.session.claim(item.video_id) and self._assign(item)):
                self._postponed.append(item)

    def _assign(self, item: VideoItem) -> bool:
        """Assign a video to an idle worker; return whether there was one that had not ended meanwhile."""
        worker = self._idle.pop()
        try:
            worker.assign(item)
        except OSError:
            self._num_idle_deaths += 1
            if self._num_idle_deaths > _MOST_IDLE_DEATHS:
                raise RuntimeError(
                    f"workers keep ending while they wait for a video; of the last, {worker.explain_end()}."
                ) from None
            worker.shutdown()
            self._starting.append(Worker(self._setup, worker.is_process))
            return False
        self._busy.append(worker)
        return True

    def _receive(self) -> None:
        workers = {worker.connection: worker for worker in (*self._busy, *self._starting)}
        for connection in wait(list(workers), _SECONDS_BETWEEN_CHECKS):
            worker = workers[connection]  # type: ignore[index]  # what was waited for
            message = worker.receive()
            if message is None and (worker in self._starting or not worker.is_process):
                raise RuntimeError(f"a worker could not start: {worker.explain_end()}.")
            if message is None:
                self._replace(worker, worker.explain_end())
            elif worker in self._starting:
                if message.kind == "fatal":
                    raise message.content
                self._starting.remove(worker)
                self._idle.append(worker)
            else:
                self._settle(worker, message)
        limit_s = self._settings.timeout_s + GRACE_S
        for worker in list(self._busy):
            if time.monotonic() - worker.last_message_s > limit_s:
                self._replace(worker, f"it gave nothing for {limit_s:g} s and was abandoned")

    def _replace(self, worker: Worker, reason: str) -> None:
        """Abandon a worker and the video that was assigned to it."""
        self._busy.remove(worker)
        worker.shutdown(hangs=True)
        if worker.item is not None:
            self._settle_failure(worker.item, reason)
        self._starting.append(Worker(self._setup, worker.is_process))

    def _settle(self, worker: Worker, message: Message) -> None:
        item = worker.item
        if item is None or message.kind == "progress":
            return
        if message.kind == "stamp":
            worker.source = message.content
            is_wanted = not self._job.is_finished(item, worker.source)
            worker.reply(is_wanted)
            if is_wanted:
                return
            self.skipped.append(item.video_id)
            self._table.clear(item.video_id)
            self._progress.settle()
        elif message.kind == "failed":
            self._settle_failure(item, message.content)
        else:
            self._settle_track(item, message.content, worker.source)
        self._job.session.release(item.video_id)
        self._num_idle_deaths = 0
        worker.item = None
        self._busy.remove(worker)
        self._idle.append(worker)

    def _settle_track(self, item: VideoItem, track: FeatureTrack, source: str) -> None:
        record, is_kept = track.record, track.record.complete or self._settings.keep_partial
        if is_kept:
            self._job.keep(track, item, source)
        else:
            self._job.remove(item.video_id)
        if record.complete:
            self.done.append(item.video_id)
            self._table.clear(item.video_id)
        else:
            reason = f"partial: {record.error or 'not all of it could be read'}"
            self._fail(FailedVideo(item.name, reason, item.video_id, is_partial=True, is_kept=is_kept))
        num_rows = record.rescaled_from or track.num_snippets
        covered_s = max(0.0, record.duration_s - item.start_s)
        self._progress.settle(num_rows, covered_s, not record.complete)

    def _settle_failure(self, item: VideoItem, reason: str) -> None:
        self._job.remove(item.video_id)
        self._fail(FailedVideo(item.name, reason, item.video_id))
        self._job.session.release(item.video_id)
        self._progress.settle(has_failed=True)

    def _fail(self, failure: FailedVideo) -> None:
        self.failures.append(failure)
        self._table.add(failure)
        self._progress.note(f"{failure.file}: {failure.reason}")
