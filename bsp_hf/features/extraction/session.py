"""One running process in a folder that several may work on: its heartbeat, its claims, its scratch folder."""

import hashlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from pathlib import Path

import psutil

from bsp_hf.files import is_running

_HEARTBEAT_S = 10.0
# Choice: a process on another machine counts as ended when its heartbeat is so old. On the same machine the
# system knows at once.
STALE_S = 120.0


class JobSession:
    """A process at work in a job's folder. Use it in a `with` block.

    Claims keep two processes from doing the same video at the same time. They save work and are never needed
    for correctness: everything is written in the scratch folder and renamed, so the worst that two claims of
    one video can do is the same work twice.

    Args:
        work (`Path`): The job's work folder; made if it is not there.
    """

    def __init__(self, work: Path) -> None:
        self._sessions, self._claims = work / "sessions", work / "claims"
        self.name = uuid.uuid4().hex
        self.scratch = self._sessions / self.name
        """`Path`: A folder on the disk of the output, for files that are renamed into place."""

    def __enter__(self) -> "JobSession":
        self.scratch.mkdir(parents=True)
        self._claims.mkdir(exist_ok=True)
        me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
        }
        _heartbeat_of(self.scratch).write_text(json.dumps(me), encoding="utf-8")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="bsp-hf-heartbeat", daemon=True)
        self._thread.start()
        self._sweep()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        for claim in self._claims.glob("*"):
            if _read_text(claim) == self.name:
                claim.unlink(missing_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._sweep()

    def claim(self, key: str) -> bool:
        """Claim a video, unless another running process has; return whether it is ours now."""
        place = self._claims / digest_of(key)
        for _ in range(2):
            if _create(place, self.name, self.scratch):
                return True
            owner = _read_text(place)
            if owner == self.name:
                return True
            if owner is not None and not self._is_gone(self._sessions / owner):
                return False
            place.unlink(missing_ok=True)
        return False

    def release(self, key: str) -> None:
        """Release a claim."""
        (self._claims / digest_of(key)).unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._is_over.wait(_HEARTBEAT_S):
            try:
                os.utime(_heartbeat_of(self.scratch))
            except OSError:
                continue  # a disk that is away for a moment; the others wait before they believe it

    def _sweep(self) -> None:
        """Remove what processes have left that were killed."""
        for session in self._sessions.glob("*"):
            if session.name != self.name and self._is_gone(session):
                shutil.rmtree(session, ignore_errors=True)
        for claim in self._claims.glob("*"):
            owner = _read_text(claim)
            if owner is not None and not (self._sessions / owner).exists():
                claim.unlink(missing_ok=True)

    def _is_gone(self, session: Path) -> bool:
        text = _read_text(_heartbeat_of(session))
        if not text:
            # Killed before its first heartbeat, or about to write it.
            return not session.exists() or self._now_s(session) - session.stat().st_mtime > STALE_S
        try:
            owner = json.loads(text)
            if owner["host"] == socket.gethostname():
                return not is_running(owner["pid"], owner["started"])
            return self._now_s(session) - _heartbeat_of(session).stat().st_mtime > STALE_S
        except (OSError, ValueError, KeyError, TypeError):
            return True

    def _now_s(self, session: Path) -> float:
        """Return the time as the disk has it: clocks of machines differ."""
        probe = self.scratch if self.scratch.is_dir() else session.parent
        mark = probe / f".{uuid.uuid4().hex}"
        try:
            mark.touch()
            return mark.stat().st_mtime
        except OSError:
            return time.time()
        finally:
            mark.unlink(missing_ok=True)


def digest_of(key: str) -> str:
    """Return 32 hexadecimal digits that name a file for any id, however long."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _heartbeat_of(session: Path) -> Path:
    return session / "heartbeat"


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _create(place: Path, text: str, scratch: Path) -> bool:
    """Make a file with its content in one step, unless it is there; return whether it was made."""
    written = scratch / f"{uuid.uuid4().hex}.claim"
    written.write_text(text, encoding="utf-8")
    try:
        os.link(written, place)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            with place.open("x", encoding="utf-8") as file:
                file.write(text)
            return True
        except FileExistsError:
            return False
    finally:
        written.unlink(missing_ok=True)
