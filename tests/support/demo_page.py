"""The demo page as a process of its own, and how its visitors reach it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SPACE = Path(__file__).resolve().parents[2] / "examples" / "space"


@dataclass(frozen=True)
class DemoPage:
    """Where a running page is, and what it leaves."""

    address: str
    port: int
    pid: int
    scratch: Path
    log: Path

    @property
    def files(self) -> list[Path]:
        """What visitors brought and the page made of it."""
        return [path for path in self.scratch.rglob("gradio/**/*") if path.is_file()]


def wait_for(condition, what: str, timeout_s: float = 120.0):
    """Return the first true value of `condition`."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.25)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def run_page(folder: Path, model: str, **settings: str) -> Iterator[DemoPage]:
    """Serve the page; when it stops, its temporary folder must be empty and its log without a traceback."""
    scratch, log, port = folder / "scratch", folder / "page.log", free_port()
    scratch.mkdir()
    environment = os.environ | {
        "BSP_MODEL": model,
        "BSP_MAX_MINUTES": "0.75",
        "BSP_MAX_MB": "1",
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",
        **settings,
    }
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(SPACE / "app.py")], env=environment, stdout=said, stderr=subprocess.STDOUT
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers, "the page", 240)
        yield DemoPage(f"http://127.0.0.1:{port}", port, process.pid, scratch, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert list(scratch.iterdir()) == [], "the page left files behind"
    assert "Traceback" not in log.read_text(), log.read_text()
