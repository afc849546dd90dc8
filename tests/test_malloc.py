"""Large blocks that are freed and taken again cost no page faults any more, in every thread."""

import os
import platform
import subprocess
import sys

import pytest

from bsp_hf.malloc import keep_freed_memory

FAULTS = """
import resource, sys, threading, torch
from bsp_hf.malloc import keep_freed_memory
print(sys.argv[1] == "keep" and keep_freed_memory())
def count():
    for _ in range(24):  # the heap grows by a block some two to seven times before one is found free
        torch.full((20_000_000,), 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.full((20_000_000,), 1.0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=count)
thread.start(), thread.join()
"""


def count_faults(what: str) -> tuple[str, int]:
    """Return whether memory is kept, and the page faults of taking 80 MB four times in a thread."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment.pop("GLIBC_TUNABLES", None)
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-c", FAULTS, what]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    is_kept, faults = run.stdout.split()
    return is_kept, int(faults)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory as they like")
def test_blocks_are_taken_again_without_page_faults():
    pages = 4 * 20_000_000 * 4 // os.sysconf("SC_PAGE_SIZE")
    is_kept, faults = count_faults("keep")
    assert is_kept == "True" and faults < pages / 20
    is_kept, faults = count_faults("leave")
    assert is_kept == "False" and faults > pages / 20


def test_settings_of_the_user_are_kept(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()
