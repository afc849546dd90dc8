"""Who extracts one video after the other for a folder job: a thread, or a child process."""

import logging
import os
import pickle
import signal
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from typing import Any

from bsp_hf.encoder.video_source import PartialVideoWarning
from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.resampling import rescale
from bsp_hf.features.track import FeatureTrack
from bsp_hf.videos.datasets import DatasetCell
from bsp_hf.videos.items import VideoBytes, VideoItem

logger = logging.getLogger(__name__)

# A batch takes a second or two where it takes long.
_LONGEST_FAREWELL_S = 10.0


@dataclass(frozen=True)
class EngineSettings:
    """What a worker makes its engine of, and how it is to be used; picklable.

    Args:
        model (`str`, `Path` or `PreTrainedModel`): The encoder.
        extractor (`BSPFeatureExtractor`, *optional*): Its preprocessing; by default what lies beside it.
        dtype (`str`, *optional*, defaults to `"auto"`): Number type of the encoder.
        device (`str`, *optional*): Where it runs.
        num_threads (`int`, *optional*): Threads of the processor that it may use.
        batch_size (`int`, *optional*): Snippets that go through it together.
        stride_frames (`int`, *optional*): Frames between the starts of two snippets.
        fps (`float`, *optional*): Rate that videos are resampled to.
        padding (`str`, *optional*): What becomes of a last snippet that is not full.
        rescale_to (`int`, *optional*): Rows that each track is rescaled to.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds after which a silent file is abandoned.
    """

    model: Any  # Any: a model is imported only where it is used
    extractor: Any = None
    dtype: str = "auto"
    device: str | None = None
    num_threads: int | None = None
    batch_size: int | None = None
    stride_frames: int | None = None
    fps: float | None = None
    padding: str | None = None
    rescale_to: int | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True)
class EngineFacts:
    """What an engine turned out to be.

    Args:
        encoder (`EncoderRecord`): Its encoder, with the number type that it computes in.
        snippet_frames (`int`): Frames of a snippet.
        stride_frames (`int`): Frames between the starts of two snippets.
        fps (`float`, *optional*): Rate that videos are resampled to.
        padding (`str`): What becomes of a last snippet that is not full.
    """

    encoder: EncoderRecord
    snippet_frames: int
    stride_frames: int
    fps: float | None
    padding: str


@dataclass(frozen=True)
class Message:
    """What a worker says.

    Args:
        kind (`str`): `"ready"`, `"stamp"`, `"progress"`, `"track"`, `"failed"` or `"fatal"`.
        content: The facts, the stamp of a file, a track, a reason, or an exception.
    """

    kind: str
    content: Any = None


class Worker:
    """Extracts one video at a time, and can be abandoned in the middle of it.

    Args:
        settings (`EngineSettings`): What to make the engine of.
        is_process (`bool`): A process of its own, which may crash and be killed; else a thread of this
            process, which is left behind if it hangs.
    """

    def __init__(self, settings: EngineSettings, is_process: bool) -> None:
        self.connection, theirs = Pipe()
        self.is_process = is_process
        self.item: VideoItem | None = None
        self.source = ""
        self.last_sign_s = time.monotonic()
        if is_process:
            self._process = get_context("spawn").Process(target=_serve_in_process, args=(theirs, settings))
            self._process.start()
            theirs.close()  # so that the end of the child is the end of the connection
        else:
            self._thread = threading.Thread(
                target=_serve, args=(theirs, settings), name="bsp-hf-extract", daemon=True
            )
            self._thread.start()

    def begin(self, item: VideoItem) -> None:
        """Give it a video; it answers with the stamp of the file and waits for `answer`."""
        self.item, self.source, self.last_sign_s = item, "", time.monotonic()
        if isinstance(item.origin, DatasetCell):  # would bring the whole data set along
            item = replace(item, origin=VideoBytes(item.origin.read()))
        self.connection.send(item)

    def answer(self, is_wanted: bool) -> None:
        """Say whether the video whose stamp came is to be extracted."""
        self.last_sign_s = time.monotonic()
        self.connection.send(is_wanted)

    def hear(self) -> Message | None:
        """Take what it says; None if it has died."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        self.last_sign_s = time.monotonic()
        return message

    def explain_death(self) -> str:
        """Say how its process ended."""
        self._process.join(5)
        code = self._process.exitcode or 0
        how = f"signal {-code} ({_signal_name(-code)})" if code < 0 else f"exit status {code}"
        return f"the process that read it ended with {how}"

    def stop(self, hangs: bool = False) -> None:
        """End it, in the middle of a video if it has one; what hangs and is no process stays behind.

        Args:
            hangs (`bool`, *optional*, defaults to `False`): Whether it is known not to answer.
        """
        with suppress(OSError):
            self.connection.send(None)
        self.connection.close()  # a track that nobody takes any more is not waited for
        if self.is_process:
            self._process.join(5 if self.item is None else 0)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        else:
            # A thread that is inside torch when Python ends brings the process down.
            self._thread.join(0 if hangs else _LONGEST_FAREWELL_S)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _serve_in_process(connection: Connection, settings: EngineSettings) -> None:
    from transformers.utils import logging as transformers_logging

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends us
    transformers_logging.disable_progress_bar()  # the job has one of its own
    _serve(connection, settings)


def _serve(connection: Connection, settings: EngineSettings) -> None:
    job = _Job(connection)
    try:
        try:
            engine, facts = make_engine(settings)
        except Exception as error:  # whatever it is, the job raises it
            job.tell("fatal", _picklable(error))
            return
        job.tell("ready", facts)
        while (item := job.hear()) is not None:
            _extract(job, engine, settings, item)
    except _GivenUpError:
        return


class _GivenUpError(BaseException):
    """The job has ended, or has given this worker up; no handler of errors on the way may take it for one."""


class _Job:
    """The job as a worker sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def look_up(self) -> None:
        """Raise if this worker has been given up: in the middle of a video the job says nothing else."""
        if self._connection.poll():
            raise _GivenUpError

    def tell(self, kind: str, content: Any = None) -> None:
        try:
            self._connection.send(Message(kind, content))
        except OSError as error:
            raise _GivenUpError from error

    def hear(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise _GivenUpError from error


def _extract(job: _Job, engine: Any, settings: EngineSettings, item: VideoItem) -> None:
    last_s = time.monotonic()

    def show_life(*_: Any) -> None:  # Any: what an engine tells of its progress does not matter here
        nonlocal last_s
        job.look_up()
        if time.monotonic() - last_s > 1:
            last_s = time.monotonic()
            job.tell("progress")

    try:
        job.tell("stamp", item.origin.stamp())
        if not job.hear():
            return
        with item.origin.open() as video, warnings.catch_warnings():
            # The record says the same, and the job reports it.
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
                progress=show_life,
            )
        if track.num_snippets and settings.rescale_to is not None:
            track = rescale(track, settings.rescale_to)
    except Exception as error:  # one video, whatever is wrong with it, stops no other
        logger.debug("%s", item.name, exc_info=True)
        job.tell("failed", _describe(error))
        return
    if track.num_snippets:
        job.tell("track", track)
    else:
        job.tell("failed", track.record.error or _no_snippet(track))


def _no_snippet(track: FeatureTrack) -> str:
    record = track.record
    return (
        f"no snippet fits: there are {record.num_frames} frames, a snippet has {record.snippet_frames}; "
        "padding='repeat' keeps what is shorter"
    )


def _describe(error: Exception) -> str:
    """Say what is wrong in one line, without the file, which stands beside it."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    text = " ".join(str(reason or error).split())
    is_plain = isinstance(error, (OSError, ValueError, ImportError))
    return text if text and is_plain else f"{type(error).__name__}: {text}"


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # an exception of any package, with any constructor
        return RuntimeError(f"{type(error).__name__}: {error}")


def make_engine(settings: EngineSettings) -> tuple[Any, EngineFacts]:
    """Load an encoder and make its engine.

    Args:
        settings (`EngineSettings`): What to make it of.

    Returns:
        `tuple`: The engine, and what it turned out to be.
    """
    from bsp_hf.features.engine.engine import ExtractionEngine

    model, extractor = _load(settings.model, settings.extractor)
    engine = ExtractionEngine(
        model,
        extractor,
        dtype=settings.dtype,
        device=settings.device,
        num_threads=settings.num_threads,
        batch_size=settings.batch_size,
    )
    snippet_frames = _first(
        getattr(extractor, "num_frames", None), getattr(model.config, "num_frames", None), 8
    )
    facts = EngineFacts(
        engine.encoder,
        snippet_frames,
        _first(settings.stride_frames, getattr(extractor, "stride_frames", None), snippet_frames),
        _first(settings.fps, getattr(extractor, "fps", None)),
        _first(settings.padding, getattr(extractor, "padding", None), "repeat"),
    )
    return engine, facts


def _first(*values: Any) -> Any:  # Any: settings of any type
    return next((value for value in values if value is not None), None)


def _load(model: Any, extractor: Any) -> tuple[Any, Any]:  # Any: of transformers, ours or others
    if not isinstance(model, (str, os.PathLike)):
        if extractor is None:
            raise ValueError("a model that is given as an object needs extractor=, its preprocessing.")
        return model, extractor
    from transformers import pipeline

    from bsp_hf.encoder.registration import register_encoders

    register_encoders()  # which the command leaves to whoever needs it
    load: Any = pipeline  # Any: its signature lists the tasks of transformers only
    loaded = load("video-feature-extraction", model=str(model))
    beside = loaded.feature_extractor if loaded.feature_extractor is not None else loaded.image_processor
    if extractor is None and beside is None:
        raise ValueError(f"{model} has no preprocessing beside it; pass extractor=.")
    return loaded.model, beside if extractor is None else extractor
