"""Workers whose encoders are actors of a Ray cluster, on whatever machines it has."""

import logging
import os
import socket
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from bsp_hf.features.track import FeatureTrack
from bsp_hf.videos.items import VideoItem

from .resume import JobRecord
from .settings import ExtractionSettings
from .workers import (
    JobConnection,
    ShutdownError,
    Worker,
    WorkerSetup,
    extract_item,
    make_engine,
    picklable,
    serve_items,
)

_SECONDS_BETWEEN_LOOKS = 1.0
# An actor that computes may take so long to answer how far it is.
_SLOWEST_ANSWER_S = 10.0
_connecting = threading.Lock()


class _EncoderActor:
    """An encoder on some machine of the cluster, which extracts one video at a time."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._settings, self._num_batches = setup.settings, 0
        self._engine: Any = None
        self._record: JobRecord | Exception
        try:
            self._engine, self._record = make_engine(setup)
        except Exception as error:  # whatever it is, the job raises it
            self._record = picklable(error)

    def record(self) -> JobRecord | Exception:
        """Return the record of the job as this encoder decides it, or why it cannot be loaded."""
        return self._record

    def extract(self, item: VideoItem) -> FeatureTrack | str:
        """Return the features of a video, or why there are none."""
        return extract_item(self._engine, self._settings, item, self._note_progress)

    def _note_progress(self, *_: Any) -> None:  # Any: the engine's progress
        self._num_batches += 1

    def num_batches(self) -> int:
        """Return what grows as long as a video is read; another thread answers."""
        return self._num_batches


class _ActorLostError(BaseException):
    """An actor has ended, or its machine; no handler of one video's errors may catch it."""


class RayWorker(Worker):
    """A worker whose encoder is an actor; a thread of this process speaks for it."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.connection, theirs = Pipe()
        self.is_process, self.is_replaceable, self.may_be_lost = False, True, True
        self.item, self.source = None, ""
        self.last_message_s = time.monotonic()
        self._thread = threading.Thread(
            target=_serve_by_actor, args=(theirs, setup), name="bsp-hf-extract-ray", daemon=True
        )
        self._thread.start()

    def explain_end(self) -> str:
        """Return how it ended."""
        return "its actor, or the machine of it, was lost"


def connect_to_ray(address: str) -> Any:  # Any: the module, which need not be installed
    """Connect to the cluster at an address, `auto` for the running one, or start one here for `local`."""
    try:
        import ray
    except ImportError as error:
        raise ImportError('--ray needs Ray: pip install "bsp_hf[ray]"') from error
    with _connecting:
        if not ray.is_initialized():
            is_local = {"include_dashboard": False} if address == "local" else {}
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                _check_answers(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **is_local)
            except (OSError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"--ray {address}: no cluster answers ({error}); start one with `ray start --head`, or "
                    "pass local."
                ) from error
    return ray


def _check_answers(address: str) -> None:
    """Raise an error if nothing listens at HOST:PORT, for which Ray itself would wait many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), _SLOWEST_ANSWER_S).close()


def count_actors(settings: ExtractionSettings) -> int:
    """Return how many actors a cluster has room for."""
    resources = connect_to_ray(settings.ray or "auto").cluster_resources()
    kind, amount = _choose_resource(settings, resources)
    return max(1, int(resources.get(kind, 0) // amount))


def _choose_resource(settings: ExtractionSettings, resources: dict[str, float]) -> tuple[str, int]:
    """Return what an actor reserves: a GPU where there are some and none is refused, else its threads."""
    if resources.get("GPU") and not (settings.device or "").startswith("cpu"):
        return "GPU", 1
    return "CPU", settings.num_threads or 1


def _serve_by_actor(connection: Connection, setup: WorkerSetup) -> None:
    job = JobConnection(connection)
    actor: Any = None
    ray: Any = None
    try:
        try:
            ray = connect_to_ray(setup.settings.ray or "auto")
            kind, amount = _choose_resource(setup.settings, ray.cluster_resources())
            needs = {"num_gpus" if kind == "GPU" else "num_cpus": amount}
            # Two threads: one extracts, one answers how far it is. What is lost, the job assigns anew.
            remote = ray.remote(max_concurrency=2, max_restarts=0, **needs)(_EncoderActor)
            actor = remote.remote(setup)
            record = _await(ray, actor, actor.record.remote(), job, is_starting=True)
            if isinstance(record, Exception):
                raise record
        except Exception as error:  # whatever it is, the job raises it
            job.send("fatal", picklable(error))
            return
        job.send("ready", record)

        def extract(item: VideoItem) -> FeatureTrack | str:
            return _await(ray, actor, actor.extract.remote(item), job)

        serve_items(job, extract)
    except (_ActorLostError, ShutdownError):
        return
    finally:
        if actor is not None:
            ray.kill(actor)
        connection.close()  # the end of an actor is the end of the connection


def _await(ray: Any, actor: Any, result: Any, job: JobConnection, is_starting: bool = False) -> Any:
    """Return a result of an actor, and send progress meanwhile, as long as there is some."""
    num_batches = 0
    try:
        while not ray.wait([result], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
            job.check_wanted()
            if is_starting:  # it may wait for a machine
                continue
            try:
                found = ray.get(actor.num_batches.remote(), timeout=_SLOWEST_ANSWER_S)
            except ray.exceptions.GetTimeoutError:
                continue
            if found != num_batches:
                num_batches = found
                job.send_progress()
        return ray.get(result)
    except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
        raise _ActorLostError from error
