"""Where a run happened: its command, the code's commit, versions of libraries, and the machine."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from bsp_hf.version import __version__

_PACKAGE = Path(__file__).resolve().parent.parent
_LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "av", "numpy")


def describe_command() -> str:
    """Return the command line of this process, fit for a shell.

    Of what stood between `accelerate launch` and the script, only the precision and the number of processes
    are known.
    """
    command = shlex.join(sys.argv)
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION")  # set by the launcher
    if precision is None:
        return f"python {command}"
    num_processes = os.environ.get("WORLD_SIZE", "1")
    return f"accelerate launch --num_processes {num_processes} --mixed_precision {precision} {command}"


def describe_commit() -> str | None:
    """Return the commit of the package's code, with `" (changed)"` if files were changed since.

    It is `None` where the package is installed rather than checked out.
    """
    try:
        # A virtual environment can lie inside of the checkout of something else.
        _run_git("ls-files", "--error-unmatch", "__init__.py")
        commit = _run_git("rev-parse", "HEAD")
        is_changed = bool(_run_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit} (changed)" if is_changed else commit


def describe_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that decide what a run does, by name."""
    versions = {"bsp_hf": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_hardware(device: str) -> dict[str, str | int]:
    """Return `device`, `processor`, `threads` of one process and `processes`; not the machine's name."""
    if device == "cuda":
        device = f"cuda ({torch.cuda.get_device_name()})"
    return {
        "device": device,
        "processor": name_processor(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def _run_git(*arguments: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


def name_processor() -> str:
    """Return the name of the processor as far as the system gives it, and its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()
