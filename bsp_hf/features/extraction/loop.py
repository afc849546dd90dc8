"""Hands videos to workers, watches them, and settles what each of them gave."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait

from bsp_hf.features.track import FeatureTrack
from bsp_hf.videos.items import UnusableVideo, VideoItem

from .failures import FailedVideo, clear_failure, note_failure, write_failures
from .folder import JobFolder
from .report import JobProgress
from .session import JobSession
from .workers import EngineFacts, EngineSettings, Message, Worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
# Beyond what a file may take: a batch that goes through a large model on a slow processor.
GRACE_S = 30.0


class ExtractionLoop:
    """One process's part of a folder job.

    Args:
        job (`JobFolder`): The folder, whose settings are settled.
        session (`JobSession`): This process.
        engine_settings (`EngineSettings`): What workers are made of.
        first_worker (`Worker`): A worker that is ready.
        facts (`EngineFacts`): What its engine turned out to be.
        num_processes (`int`): Child processes; 0 works in a thread of this one.
        keep_partial (`bool`): Whether to write what could be read of damaged videos.
        progress (`JobProgress`): Hears of every video.
    """

    def __init__(
        self,
        job: JobFolder,
        session: JobSession,
        engine_settings: EngineSettings,
        first_worker: Worker,
        facts: EngineFacts,
        num_processes: int,
        keep_partial: bool,
        progress: JobProgress,
    ) -> None:
        self._job, self._session, self._progress = job, session, progress
        # All workers compute in the type that the first one chose.
        self._settings = replace(engine_settings, dtype=facts.encoder.dtype)
        self._num_processes, self._keep_partial = num_processes, keep_partial
        self._idle, self._busy, self._starting = [first_worker], list[Worker](), list[Worker]()
        self._postponed: deque[VideoItem] = deque()
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failures: list[FailedVideo] = []

    def run(self, found: Iterator[VideoItem | UnusableVideo]) -> None:
        """Settle all videos.

        Args:
            found (`Iterator`): The videos, looked at as workers are free.

        Raises:
            OutputError: If the output cannot be written.
        """
        ahead: VideoItem | None = None
        is_exhausted = False
        try:
            while True:
                while self._idle and (ahead or not is_exhausted):
                    ahead = ahead or self._next(found)
                    if ahead is None:
                        is_exhausted = True
                        break
                    self._begin(ahead)
                    ahead = None
                if is_exhausted:
                    self._try_postponed()
                    if not self._busy and not self._postponed:
                        return
                elif not self._idle and self._can_grow():
                    ahead = self._next(found)
                    if ahead is not None:
                        self._starting.append(Worker(self._settings, True))
                self._listen()
        finally:
            for worker in (*self._idle, *self._busy, *self._starting):
                worker.stop()

    def _can_grow(self) -> bool:
        return len(self._idle) + len(self._busy) + len(self._starting) < self._num_processes

    def _next(self, found: Iterator[VideoItem | UnusableVideo]) -> VideoItem | None:
        """The next video that no other process has."""
        for item in found:
            if isinstance(item, UnusableVideo):
                self._fail(FailedVideo(item.name, item.reason))
                self._progress.settle(has_failed=True)
            elif self._session.claim(item.video_id):
                return item
            else:
                self._postponed.append(item)
        return None

    def _try_postponed(self) -> None:
        """Take over what another process had claimed and has let go of, done or not."""
        for _ in range(len(self._postponed)):
            if not self._idle:
                return
            item = self._postponed.popleft()
            if self._session.claim(item.video_id):
                self._begin(item)
            else:
                self._postponed.append(item)

    def _begin(self, item: VideoItem) -> None:
        worker = self._idle.pop()
        self._busy.append(worker)
        worker.begin(item)

    def _listen(self) -> None:
        workers = {id(worker.connection): worker for worker in (*self._busy, *self._starting)}
        heard = wait([worker.connection for worker in workers.values()], _SECONDS_BETWEEN_LOOKS)
        for connection in heard:
            worker = workers[id(connection)]
            message = worker.hear()
            if message is None:
                self._bury(worker)
            elif worker in self._starting:
                self._welcome(worker, message)
            else:
                self._take(worker, message)
        limit_s = self._settings.timeout_s + GRACE_S
        for worker in list(self._busy):
            if time.monotonic() - worker.last_sign_s > limit_s:
                reason = f"it gave nothing for {limit_s:g} s and was abandoned"
                self._replace(worker, reason)

    def _welcome(self, worker: Worker, message: Message) -> None:
        if message.kind == "fatal":
            raise message.content
        self._starting.remove(worker)
        self._idle.append(worker)

    def _bury(self, worker: Worker) -> None:
        if worker in self._starting or not worker.is_process:
            raise RuntimeError(f"a worker could not start: {worker.explain_death()}.")
        self._replace(worker, worker.explain_death())

    def _replace(self, worker: Worker, reason: str) -> None:
        """Give up a worker and the video that it was at."""
        self._busy.remove(worker)
        item = worker.item
        worker.stop(hangs=True)
        if item is not None:
            self._settle_failure(item, reason)
        self._starting.append(Worker(self._settings, worker.is_process))

    def _take(self, worker: Worker, message: Message) -> None:
        item = worker.item
        if item is None or message.kind == "progress":
            return
        if message.kind == "stamp":
            worker.source = message.content
            is_wanted = not self._job.verified(item, worker.source)
            worker.answer(is_wanted)
            if is_wanted:
                return
            self.skipped.append(item.video_id)
            clear_failure(self._job, item.video_id)
            self._progress.settle()
        elif message.kind == "failed":
            self._settle_failure(item, message.content)
        else:
            self._settle_track(item, message.content, worker.source)
        self._session.release(item.video_id)
        worker.item = None
        self._busy.remove(worker)
        self._idle.append(worker)

    def _settle_track(self, item: VideoItem, track: FeatureTrack, source: str) -> None:
        record = track.record
        if record.complete or self._keep_partial:
            self._job.keep(track, item, source, self._session)
        if record.complete:
            self.done.append(item.video_id)
            clear_failure(self._job, item.video_id)
        else:
            if not self._keep_partial:
                self._job.forget(item.video_id)
            reason = f"partial: {record.error or 'not all of it could be read'}"
            self._fail(FailedVideo(item.name, reason, item.video_id, True, self._keep_partial))
        num_rows = record.rescaled_from or track.num_snippets
        covered_s = max(0.0, record.duration_s - item.start_s)
        self._progress.settle(num_rows, covered_s, not record.complete)

    def _settle_failure(self, item: VideoItem, reason: str) -> None:
        self._job.forget(item.video_id)
        self._fail(FailedVideo(item.name, reason, item.video_id))
        self._session.release(item.video_id)
        self._progress.settle(has_failed=True)

    def _fail(self, failure: FailedVideo) -> None:
        self.failures.append(failure)
        note_failure(self._job, failure, self._session)
        write_failures(self._job, self._session)
        self._progress.note(f"{failure.file}: {failure.reason}")
