"""Steps that leave a record each: what is recorded is not done again."""

import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch

from bsp_hf.files import atomic_write_text, is_running
from bsp_hf.training.environment import describe_commit, describe_hardware, describe_versions

logger = logging.getLogger("reproduce")

EXAMPLES = Path(__file__).resolve().parents[1]
LOCK = "running.json"
PLAIN = re.compile(r"[\w$./:=+,@%-]+")  # words that need no quotes


@dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Args:
        name (`str`): Name of its record.
        words (`tuple[str, ...]`): The command, or what a function is called with; a record is of this step
            only if it was made by the same words.
        make (`Callable`): Does it and returns what to record, as JSON values.
    """

    name: str
    words: tuple[str, ...]
    make: Callable[[], dict[str, Any]]


class Records:
    """The records of steps, one small JSON file each.

    Args:
        folder (`Path`): Where they lie; a step `a/b` has the file `a/b.json`.
        places (`Mapping[str, str]`): Words of steps that differ from machine to machine, by the name that
            stands in their place in a record.
    """

    def __init__(self, folder: Path, places: Mapping[str, str] | None = None):
        self.folder = folder
        # The longest first: one folder may lie in another.
        self.places = dict(sorted((places or {}).items(), key=lambda item: -len(item[1])))

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        path = self.path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def result(self, name: str) -> dict[str, Any] | None:
        record = self.read(name)
        return None if record is None else record["result"]

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*/**/*.json")):
            yield path.relative_to(self.folder).with_suffix("").as_posix()

    def neutral(self, words: Sequence[str]) -> str:
        """Return a command without what launches it, and without the names of folders of this machine."""
        first = next((place for place, word in enumerate(words) if word.startswith("examples/")), 0)
        found = []
        for word in words[first:]:
            for name, place in self.places.items():
                if place:
                    word = word.replace(place, f"${name}")
            found.append(word if PLAIN.fullmatch(word) else shlex.quote(word))
        return " ".join(found)

    def has(self, step: Step) -> bool:
        """Return whether a step is done; refuse the record of another step of its name."""
        record = self.read(step.name)
        if record is None:
            return False
        wanted = self.neutral(step.words)
        if record["command"] != wanted:
            raise ValueError(
                f"{self.path(step.name)} was made with other settings: {record['command']}; now "
                f"asked for: {wanted}. Choose another --output_dir, or delete the record and "
                "what was made from it."
            )
        return True

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Where and with what code this process runs."""
        return {
            "hardware": describe_hardware("cuda" if torch.cuda.is_available() else "cpu"),
            "commit": describe_commit(),
            "versions": describe_versions(),
        }

    def write(self, step: Step, result: dict[str, Any], seconds: float) -> None:
        record = {"command": self.neutral(step.words), "seconds": round(seconds, 1)}
        record |= self.environment | {"result": result}
        atomic_write_text(self.path(step.name), json.dumps(record, indent=1) + "\n")


@dataclass
class Plan:
    """Steps in the order in which they are done, each once."""

    steps: dict[str, Step] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        known = self.steps.setdefault(step.name, step)
        if known.words != step.words:
            raise ValueError(f"two steps have the name {step.name}: {known.words} and {step.words}.")

    def describe(self, records: Records) -> str:
        """Return the commands, one a line; those that are recorded as comments."""
        lines = []
        for step in self.steps.values():
            done = "# done: " if records.has(step) else ""
            lines.append(f"{done}{shlex.join(step.words)}")
        return "\n".join(lines)

    def run(self, records: Records, work: Path) -> int:
        """Do what is not recorded and return the number of steps done.

        Raises:
            ValueError: If a record is of other settings, before anything is done.
            RuntimeError: If an earlier run in `work` still goes on.
        """
        waiting = [step for step in self.steps.values() if not records.has(step)]
        logger.info("%d steps, %d of them recorded", len(self.steps), len(self.steps) - len(waiting))
        with RunLock(work):
            for number, step in enumerate(waiting, 1):
                logger.info("[%d/%d] %s", number, len(waiting), step.name)
                started = time.perf_counter()
                result = step.make()
                records.write(step, result, time.perf_counter() - started)
        return len(waiting)


class RunLock:
    """Keeps two runs out of one folder, also a command that outlived the run that started it.

    Args:
        work (`Path`): The folder.
    """

    current: "RunLock | None" = None

    def __init__(self, work: Path):
        self.path = work / LOCK

    def __enter__(self) -> "RunLock":
        if self.path.is_file():
            for process in json.loads(self.path.read_text(encoding="utf-8")):
                if process["pid"] != os.getpid() and is_running(process["pid"], process["started_s"]):
                    raise RuntimeError(
                        f"process {process['pid']} of an earlier run still works in {self.path.parent}; wait "
                        "for it, or end it."
                    )
        self.note()
        RunLock.current = self
        return self

    def __exit__(self, *_: object) -> None:
        RunLock.current = None
        self.path.unlink(missing_ok=True)

    def note(self, *pids: int) -> None:
        """Write down this process and those it started."""
        found = [{"pid": pid, "started_s": psutil.Process(pid).create_time()} for pid in (os.getpid(), *pids)]
        atomic_write_text(self.path, json.dumps(found) + "\n")


def run_command(words: Sequence[str], log: Path, good: Sequence[int] = (0,)) -> int:
    """Run a command and return its status; `log` has what it prints.

    Raises:
        RuntimeError: If it ends with a status that is not among `good`; the message has its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(executable_words(words), stdout=file, stderr=subprocess.STDOUT)
        if RunLock.current is not None:
            RunLock.current.note(process.pid)
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status not in good:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:]
        raise RuntimeError(
            f"{shlex.join(words)} ended with status {status}; the end of {log}:\n" + "\n".join(last)
        )
    return status


def executable_words(words: Sequence[str]) -> list[str]:
    """Return words that run whatever the PATH and the current folder are: this Python, these examples."""
    found = list(words)
    if found[:2] == ["accelerate", "launch"]:
        found[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    elif found[0] == "python":
        found[0] = sys.executable
    elif found[0] == "bsp-hf":
        found[:1] = [sys.executable, "-m", "bsp_hf.cli"]
    return [
        str(EXAMPLES / word.partition("/")[2]) if word.startswith("examples/") else word for word in found
    ]


def read_json(path: Path) -> Any:  # Any: parsed JSON
    return json.loads(path.read_text(encoding="utf-8"))
