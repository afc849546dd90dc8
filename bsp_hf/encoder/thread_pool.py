"""Threads that take turns at one source and work side by side; results come in the order of the source."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Of the caller: for Ctrl-C where waiting cannot be interrupted, and for a source that hangs.
_SECONDS_BETWEEN_CHECKS = 0.5
_SHUTDOWN_S = 5.0


@dataclass
class PoolClock:
    """Seconds, summed over the threads of a pool, spent waiting for a turn, in the source and in the work."""

    waiting_s: float = 0.0
    reading_s: float = 0.0
    working_s: float = 0.0


@dataclass
class _Shared(Generic[_Item, _Result]):
    """What the threads of one run share; `changed` guards all but the source, which `turn` guards."""

    source: Iterator[_Item]
    turn: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Condition = field(default_factory=threading.Condition)
    results: dict[int, Sequence[_Result]] = field(default_factory=dict)
    failure: BaseException | None = None
    num_read: int = 0
    num_running: int = 0
    is_over: bool = False
    reading_since_s: float | None = None


def map_in_threads(
    source: Iterator[_Item],
    work: Callable[[list[_Item]], Sequence[_Result]],
    *,
    num_threads: int,
    batch_size: int,
    clock: PoolClock | None = None,
    check_time: Callable[[float], None] | None = None,
) -> Generator[_Result, None, None]:
    """Apply `work` to batches of a source in several threads, each of which computes on one core.

    A thread that is free takes the next batch from the source, while the others wait for their turn or work.
    So nothing is read ahead: at most `num_threads` batches exist. An exception in a thread ends the others
    and is raised here at once.

    Args:
        source (`Iterator`): Read by one thread at a time. If it has `close`, it is closed in the end.
        work (`Callable`): Maps a list of items to as many results; runs in several threads.
        num_threads (`int`): Threads.
        batch_size (`int`): Items of a batch; the last may have fewer.
        clock (`PoolClock`, *optional*): Filled in on the way.
        check_time (`Callable`, *optional*): Called every half second with the seconds for which the source
            has been read in vain; raises when it is time to give up. The thread that hangs is abandoned.

    Yields:
        The results, in the order of the source.
    """
    shared: _Shared[_Item, _Result] = _Shared(source, num_running=num_threads)
    clock = clock or PoolClock()
    arguments = (shared, work, batch_size, clock)
    threads = [
        threading.Thread(target=_run, args=arguments, name=f"features-{k}", daemon=True)
        for k in range(num_threads)
    ]
    # torch keeps the number for each thread, and what was set last for threads to come.
    cores = torch.get_num_threads()
    try:
        for thread in threads:
            thread.start()
        yield from _collect(shared, check_time)
    finally:
        _shutdown(shared, threads)
        torch.set_num_threads(cores)


def _collect(
    shared: _Shared[_Item, _Result], check_time: Callable[[float], None] | None
) -> Iterator[_Result]:
    num_given = 0
    while True:
        with shared.changed:
            while num_given not in shared.results and shared.failure is None and shared.num_running:
                shared.changed.wait(_SECONDS_BETWEEN_CHECKS)
                since_s = shared.reading_since_s
                if check_time is not None and since_s is not None:
                    check_time(time.monotonic() - since_s)
            if shared.failure is not None:
                raise shared.failure
            if num_given not in shared.results:
                return
            batch = shared.results.pop(num_given)
        num_given += 1
        yield from batch


def _run(
    shared: _Shared[_Item, _Result],
    work: Callable[[list[_Item]], Sequence[_Result]],
    batch_size: int,
    clock: PoolClock,
) -> None:
    torch.set_num_threads(1)
    try:
        while True:
            began_s = time.monotonic()
            with shared.turn:
                entered_s = time.monotonic()
                number, batch = _read_batch(shared, batch_size)
            left_s = time.monotonic()
            results = work(batch) if batch else ()
            with shared.changed:
                clock.waiting_s += entered_s - began_s
                clock.reading_s += left_s - entered_s
                clock.working_s += time.monotonic() - left_s
                if not batch:
                    return
                shared.results[number] = results
                shared.changed.notify()
    except BaseException as failure:
        with shared.changed:
            shared.failure = shared.failure or failure
            shared.is_over = True
    finally:
        with shared.changed:
            shared.num_running -= 1
            shared.changed.notify()


def _read_batch(shared: _Shared[_Item, _Result], batch_size: int) -> tuple[int, list[_Item]]:
    """Return the next batch and its number; an empty one means that there is no more."""
    batch: list[_Item] = []
    number = shared.num_read
    try:
        while len(batch) < batch_size and not shared.is_over:
            shared.reading_since_s = time.monotonic()
            batch.append(next(shared.source))
        shared.num_read += 1
    except StopIteration:
        shared.is_over = True
    finally:
        shared.reading_since_s = None
    return number, batch


def _shutdown(shared: _Shared[_Item, _Result], threads: list[threading.Thread]) -> None:
    with shared.changed:
        shared.is_over = True
    until_s = time.monotonic() + _SHUTDOWN_S
    if shared.turn.acquire(timeout=0.1 if shared.reading_since_s is not None else _SHUTDOWN_S):
        try:
            close = getattr(shared.source, "close", None)
            if close is not None:
                close()
        finally:
            shared.turn.release()
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.monotonic()))
