"""Long work in small steps, so that it ends when the visitor who asked for it has left."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
Report = Callable[[float, str], None]


class StoppedError(Exception):
    """Nobody waits for the work any more."""


def run_in_steps(
    work: Callable[[Report], T], slots: threading.Semaphore, every_s: float = 0.5
) -> Generator[tuple[float, str], None, T]:
    """Run `work` in a thread, yield its last report (share and text) now and then, and return its result.

    It begins when one of the `slots` is free. When the generator is closed, the next report of the work
    raises, and the slot is free again.
    """
    stop, last, result = threading.Event(), [(0.0, "waiting for others")], Future()

    def report(share: float, text: str) -> None:
        if stop.is_set():
            raise StoppedError
        last[0] = (share, text)

    def run() -> None:
        try:
            while not slots.acquire(timeout=every_s):
                report(*last[0])
            try:
                result.set_result(work(report))
            finally:
                slots.release()
        except BaseException as error:  # raised again where the result is taken
            result.set_exception(error)

    threading.Thread(target=run, name="work", daemon=True).start()
    try:
        while not wait([result], every_s).done:
            yield last[0]
        return result.result()
    finally:
        stop.set()
