"""Workers of a folder job, threads or child processes: each extracts one video after the other."""

import logging
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from bsp_hf.encoder.video_source import PartialVideoWarning
from bsp_hf.features.resampling import rescale
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import check_checkpoint_files
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.videos.datasets import DatasetCell
from bsp_hf.videos.items import VideoBytes, VideoItem

from .resume import JobRecord
from .settings import ExtractionSettings

logger = logging.getLogger(__name__)

# A batch on a slow processor: a second or two.
_SHUTDOWN_S = 10.0
_SECONDS_BETWEEN_PROGRESS = 1.0


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker makes its engine of, as given to `extract_features`; picklable."""

    model: Any  # Any: a model is imported only where it is used
    extractor: Any
    settings: ExtractionSettings


@dataclass(frozen=True)
class Message:
    """What a worker sends.

    Its kind is `"ready"` (with the job's record), `"stamp"` (of a file), `"progress"`, `"track"`, `"failed"`
    (a reason) or `"fatal"` (an exception).
    """

    kind: str
    content: Any = None


class UnreadableCellError(Exception):
    """The bytes of a video in a data set cannot be read."""


class Worker:
    """Extracts one video at a time, and can be abandoned in the middle of it.

    A process may crash and be killed; a thread of this process is left behind if it hangs.
    """

    def __init__(self, setup: WorkerSetup, is_process: bool) -> None:
        self.connection, theirs = Pipe()
        self.is_process = self.is_replaceable = is_process
        self.may_be_lost = False  # with its machine, for which no video is to blame
        self.item: VideoItem | None = None
        self.source = ""
        self.last_message_s = time.monotonic()
        if is_process:
            self._process = get_context("spawn").Process(target=_serve_in_process, args=(theirs, setup))
            self._process.start()
            theirs.close()  # so that the end of the child is the end of the connection
        else:
            self._thread = threading.Thread(
                target=_serve, args=(theirs, setup), name="bsp-hf-extract", daemon=True
            )
            self._thread.start()

    def assign(self, item: VideoItem) -> None:
        """Send it a video, to which it sends the stamp of the file; raise an `OSError` if it has ended.

        A video of a data set that cannot be read raises an [`UnreadableCellError`].
        """
        sent = item
        if isinstance(item.origin, DatasetCell):  # would bring the whole data set along
            try:
                sent = replace(item, origin=VideoBytes(item.origin.read()))
            except Exception as error:  # of Arrow, whatever is wrong with the file
                raise UnreadableCellError(_describe(error)) from error
        self.connection.send(sent)
        self.item, self.source, self.last_message_s = item, "", time.monotonic()

    def reply(self, is_wanted: bool) -> None:
        """Send whether the video whose stamp came is to be extracted."""
        self.last_message_s = time.monotonic()
        with suppress(OSError):  # it has ended, which the next `receive` returns
            self.connection.send(is_wanted)

    def receive(self) -> Message | None:
        """Return its next message; `None` if it has ended."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        self.last_message_s = time.monotonic()
        return message

    def explain_end(self) -> str:
        """Return how it ended."""
        if not self.is_process:
            return "its thread ended"
        self._process.join(5)
        code = self._process.exitcode or 0
        how = f"signal {-code} ({_signal_name(-code)})" if code < 0 else f"exit status {code}"
        return f"the process that read it ended with {how}"

    def shutdown(self, hangs: bool = False) -> None:
        """End it, in the middle of a video if it has one; a thread that `hangs` stays behind."""
        if self.connection.closed:
            return
        with suppress(OSError):
            self.connection.send(None)
        self.connection.close()  # a track that nobody receives any more is not waited for
        if self.is_process:
            self._process.join(5 if self.item is None else 0)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        else:
            # A thread that is inside torch when Python ends brings the process down.
            self._thread.join(0 if hangs else _SHUTDOWN_S)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


class ShutdownError(BaseException):
    """The job has ended or abandoned this worker; no handler of errors may catch it."""


class JobConnection:
    """The job as a worker sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last_progress_s = 0.0

    def send(self, kind: str, content: Any = None) -> None:
        """Send a message."""
        try:
            self._connection.send(Message(kind, content))
        except OSError as error:
            raise ShutdownError from error

    def receive(self) -> Any:
        """Return what the job sends next."""
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ShutdownError from error

    def check_wanted(self) -> None:
        """Raise a [`ShutdownError`] if the job has ended or abandoned this worker."""
        if self._connection.poll():  # in the middle of a video the job sends nothing else
            raise ShutdownError

    def send_progress(self, *_: Any) -> None:  # Any: the engine's progress, which does not matter here
        """Send a sign of progress now and then."""
        self.check_wanted()
        if time.monotonic() - self._last_progress_s > _SECONDS_BETWEEN_PROGRESS:
            self._last_progress_s = time.monotonic()
            self.send("progress")


def _serve_in_process(connection: Connection, setup: WorkerSetup) -> None:
    from transformers.utils import logging as transformers_logging

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and ends us
    transformers_logging.disable_progress_bar()  # the job has one of its own
    keep_freed_memory()
    _serve(connection, setup)


def _serve(connection: Connection, setup: WorkerSetup) -> None:
    job = JobConnection(connection)
    try:
        try:
            engine, record = make_engine(setup)
        except Exception as error:  # whatever it is, the job raises it
            job.send("fatal", picklable(error))
            return
        job.send("ready", record)
        serve_items(job, lambda item: extract_item(engine, setup.settings, item, job.send_progress))
    except ShutdownError:
        return


def serve_items(job: JobConnection, extract: Callable[[VideoItem], FeatureTrack | str]) -> None:
    """Send what `extract` returns of each video that the job sends, a track or a reason, until it ends."""
    while (item := job.receive()) is not None:
        try:
            job.send("stamp", item.origin.stamp())
        except Exception as error:  # one video, whatever is wrong with it, stops no other
            job.send("failed", _describe(error))
            continue
        if not job.receive():
            continue
        found = extract(item)
        job.send("failed" if isinstance(found, str) else "track", found)


def extract_item(
    engine: Any,  # Any: an ExtractionEngine, whose module is slow to import
    settings: ExtractionSettings,
    item: VideoItem,
    progress: Callable[..., None],
) -> FeatureTrack | str:
    """Return the features of a video, or in one line why there are none."""
    try:
        with item.origin.open() as video, warnings.catch_warnings():
            # The record has the same reason, and the job reports it.
            warnings.simplefilter("ignore", PartialVideoWarning)
            track: FeatureTrack = engine.extract(
                video,
                video_id=item.video_id,
                stride_frames=settings.stride_frames,
                fps=settings.fps,
                padding=settings.padding,
                start_s=item.start_s,
                end_s=item.end_s,
                timeout_s=settings.timeout_s,
                progress=progress,
            )
        if track.num_snippets and settings.rescale_to is not None:
            track = rescale(track, settings.rescale_to)
    except Exception as error:  # one video, whatever is wrong with it, stops no other
        logger.debug("%s", item.name, exc_info=True)
        return _describe(error)
    return track if track.num_snippets else track.record.error or _explain_no_snippet(track)


def _explain_no_snippet(track: FeatureTrack) -> str:
    record = track.record
    return (
        f"no snippet fits: there are {record.num_frames} frames, a snippet has {record.snippet_frames}; "
        "padding='repeat' keeps what is shorter"
    )


def _describe(error: Exception) -> str:
    """Return what is wrong in one line, without the file, which is reported beside it."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    text = " ".join(str(reason or error).split())
    is_plain = isinstance(error, (OSError, ValueError, ImportError))
    return text if text and is_plain else f"{type(error).__name__}: {text}"


def picklable(error: Exception) -> Exception:
    """Return an exception that another process can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # an exception of any package, with any constructor
        return RuntimeError(f"{type(error).__name__}: {error}")


def make_engine(setup: WorkerSetup) -> tuple[Any, JobRecord]:
    """Load an encoder; return its engine, and the record with what the checkpoint decides."""
    from bsp_hf.features.engine.engine import ExtractionEngine

    model, extractor = _load(setup.model, setup.extractor)
    settings = setup.settings
    engine = ExtractionEngine(
        model,
        extractor,
        dtype=settings.dtype,
        device=settings.device,
        num_threads=settings.num_threads,
        batch_size=settings.batch_size,
    )

    def choose(*values: Any) -> Any:  # Any: settings of any type
        return next((value for value in values if value is not None), None)

    snippet_frames = choose(
        getattr(extractor, "num_frames", None), getattr(model.config, "num_frames", None), 8
    )
    resolved = replace(
        settings,
        stride_frames=choose(
            settings.stride_frames, getattr(extractor, "stride_frames", None), snippet_frames
        ),
        fps=choose(settings.fps, getattr(extractor, "fps", None)),
        padding=choose(settings.padding, getattr(extractor, "padding", None), "repeat"),
        dtype=engine.encoder.dtype,
    )
    return engine, JobRecord(engine.encoder, snippet_frames, resolved)


def _load(model: Any, extractor: Any) -> tuple[Any, Any]:  # Any: of transformers, ours or others
    if not isinstance(model, (str, os.PathLike)):
        if extractor is None:
            raise ValueError("a model that is given as an object needs extractor=, its preprocessing.")
        return model, extractor
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoFeatureExtractor, pipeline

    from bsp_hf.encoder.registration import register_encoders

    register_encoders()  # the command has not done it
    check_checkpoint_files(Path(model))
    load: Any = pipeline  # Any: its signature lists the tasks of transformers only
    try:
        loaded = load("video-feature-extraction", model=str(model))
    except StrictDataclassError as error:
        raise ValueError(f"{model}/config.json: {error.__cause__ or error}") from error
    beside = loaded.feature_extractor if loaded.feature_extractor is not None else loaded.image_processor
    if extractor is None and beside is None:
        try:
            AutoFeatureExtractor.from_pretrained(str(model))
        except Exception as error:  # which a pipeline keeps to itself
            raise ValueError(f"{model}: preprocessor_config.json cannot be read: {error}") from error
        raise ValueError(f"{model} has no preprocessing beside it; pass extractor=.")
    return loaded.model, beside if extractor is None else extractor
