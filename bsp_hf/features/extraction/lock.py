"""The lock of a running job on its output folder, which names the process that holds it."""

import errno
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from bsp_hf.files import explain_write_errors

from .resume import JobConflictError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_TRIES = 0.05
_LOCKED_BYTE = 1 << 30  # far behind the holder's name: on Windows nobody can read a byte that is locked
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class JobLock:
    """The lock of a job, or of one shard of it; the system releases it however the process ends.

    Every shard locks a file of its own, and a job without shards is shard 0 of 1. While one runs, shards of
    another division are refused: they would write the same files. Use all but [`step`] inside
    `step("start")`, which keeps processes that start together apart.

    Args:
        output (`Path`): What messages call the job.
        work (`Path`): Its work folder.
        shard (`tuple[int, int]`): Index and number of shards.
    """

    def __init__(self, output: Path, work: Path, shard: tuple[int, int]) -> None:
        self._output, self._folder = output, work / "running"
        self._division = f"-of-{shard[1]}.lock"
        self._file = self._folder / f"{shard[0]}{self._division}"
        self.scratch = _scratch_of(self._file)
        """`Path`: A folder on the disk of the output, for files that are renamed into place."""

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock, or raise a [`JobConflictError`] that names the process which has; make a scratch folder."""
        for file in self._folder.glob("*-of-*.lock"):
            if not file.name.endswith(self._division):
                self._clear(file, self._lock(file))
        descriptor = self._lock(self._file)
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)  # of a process that was killed
            self.scratch.mkdir()
            yield
        finally:
            self._clear(self._file, descriptor)

    def check_free(self) -> None:
        """Raise a [`JobConflictError`] if [`hold`] would."""
        with self.step("start"), self.hold():
            pass

    def check_alone(self) -> None:
        """Raise a [`JobConflictError`] if another shard runs."""
        for file in self._folder.glob("*-of-*.lock"):
            if file != self._file:
                self._clear(file, self._lock(file))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Wait until no other process of the job is at this step, and keep them waiting."""
        file = self._folder / f"{name}.lock"
        with explain_write_errors(self._output):
            self._folder.mkdir(parents=True, exist_ok=True)
            while (descriptor := _try_lock(file)) is None:
                time.sleep(_SECONDS_BETWEEN_TRIES)
        try:
            yield
        finally:
            _release(descriptor, file)

    def _lock(self, file: Path) -> int:
        with explain_write_errors(self._output):
            descriptor = _try_lock(file)
            if descriptor is not None:
                os.write(descriptor, f"process {os.getpid()} on host {socket.gethostname()}".encode())
                return descriptor
        holder = ""
        with suppress(OSError):
            holder = file.read_text(encoding="utf-8")
        raise JobConflictError(
            f"{self._output} is in use: {holder or 'another process'} extracts features into it (shard "
            f"{file.stem.replace('-of-', '/')}). Wait until it ends, or pass another output."
        )

    def _clear(self, file: Path, descriptor: int) -> None:
        shutil.rmtree(_scratch_of(file), ignore_errors=True)
        _release(descriptor, file)


@contextmanager
def lock_file(file: Path, conflict: str) -> Iterator[None]:
    """Lock a file, which is made for it, or raise a [`JobConflictError`] that says `conflict`."""
    descriptor = _try_lock(file)
    if descriptor is None:
        raise JobConflictError(conflict)
    try:
        yield
    finally:
        _release(descriptor, file)


def _scratch_of(file: Path) -> Path:
    return file.with_suffix("")


def _try_lock(file: Path) -> int | None:
    """Return a descriptor that locks a file, which is made and emptied; `None` if another one does."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock_descriptor(descriptor):
                os.close(descriptor)
                return None
            # Whoever held it may have removed the file after we opened it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                    os.ftruncate(descriptor, 0)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock_descriptor(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            return False
        _warn_of_no_locks()
    return True


@cache
def _warn_of_no_locks() -> None:
    logger.warning("The disk of the output has no locks: start no second job on it beside this one.")


def _release(descriptor: int, file: Path) -> None:
    if sys.platform == "win32":  # which removes no open file
        os.close(descriptor)
        with suppress(OSError):
            file.unlink()
    else:
        file.unlink(missing_ok=True)
        os.close(descriptor)
