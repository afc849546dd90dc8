"""Interruptible training: how far it is, and checkpoints that are whole or absent, verified before use."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from bsp_hf.files import atomic_folder, atomic_write_text, hash_file

logger = logging.getLogger(__name__)

_PREFIX = "step-"
_DIGITS = "[0-9]" * 8
_RUN_FILE = "run.json"


@dataclass
class TrainingProgress:
    """How far a training run has come; saved and restored with every checkpoint."""

    epoch: int = 0
    batches_done: int = 0  # of this epoch, by this process
    steps_done: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON values
    clips_drawn: int = 0
    clips_replaced: int = 0  # of them, those whose videos do not decode
    # Two runs are the same whatever time they took. Interruptions, and what they undid, are left out.
    wall_s: float = field(default=0.0, compare=False)
    cpu_s: float = field(default=0.0, compare=False)  # of the main process and its finished children

    def __post_init__(self) -> None:
        self._measured_at = _read_clocks()

    def measure_time(self) -> dict[str, float]:
        """Add the time since the last call to `wall_s` and `cpu_s`, and return both."""
        now = _read_clocks()
        self.wall_s += now[0] - self._measured_at[0]
        self.cpu_s += now[1] - self._measured_at[1]
        self._measured_at = now
        return {"wall_s": round(self.wall_s, 1), "cpu_s": round(self.cpu_s, 1)}

    def state_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON."""
        self.measure_time()
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the fields; those that an older checkpoint lacks stay."""
        for item in fields(self):
            setattr(self, item.name, state.get(item.name, getattr(self, item.name)))


class _Stateful(Protocol):
    """A schedule: that of torch, or one of the package's own. Its state must be fit for JSON."""

    def state_dict(self) -> dict[str, Any]: ...  # Any: JSON values

    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # Any: as above


class DamagedCheckpointError(ValueError):
    """A checkpoint whose files are not those that were written."""


class TrainingCheckpoints:
    """The checkpoints of a run: everything that training needs to go on exactly.

    A checkpoint is the folder that Accelerate writes (weights, optimizer, random states) and `run.json`, with
    progress, schedule, settings, and the digest of every file. It appears whole or not at all, and it is
    loaded only if all its files are those that were written; nothing but tensors, numbers and random states
    is ever unpickled. Every process must make and call it alike.

    Model and optimizer are prepared before; the `schedule` has `state_dict` and `load_state_dict`;
    `settings`, of JSON values, are what the run must not change when it goes on. The newest `keep`
    checkpoints are kept.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        folder: str | Path,
        progress: TrainingProgress,
        schedule: _Stateful,
        settings: Mapping[str, Any] | None = None,  # Any: JSON values
        keep: int = 2,
    ):
        if keep < 1:
            raise ValueError(f"keep={keep} must be at least 1, or nothing is left to go on from.")
        self.accelerator, self.folder, self.keep = accelerator, Path(folder), keep
        self._states: dict[str, _Stateful] = {"progress": progress, "schedule": schedule}
        self.progress = progress
        self.settings = json.loads(json.dumps(dict(settings or {})))

    def save(self) -> Path:
        """Write a checkpoint, at an optimizer step, and delete the oldest ones."""
        target = self.folder / f"{_PREFIX}{self.progress.steps_done:08d}"
        is_main = self.accelerator.is_main_process
        with ExitStack() as stack:
            # One process makes the folder in which all of them write.
            place = [str(stack.enter_context(atomic_folder(target))) if is_main else ""]
            broadcast_object_list(place)
            self.accelerator.save_state(place[0])
            self.accelerator.wait_for_everyone()
            if is_main:
                _write_run_file(
                    Path(place[0]),
                    num_processes=self.accelerator.num_processes,
                    settings=self.settings,
                    states={name: part.state_dict() for name, part in self._states.items()},
                )
        if is_main:
            for old in self._list()[: -self.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()
        return target

    def resume(self, total_steps: int | None = None) -> Path | None:
        """Load the newest checkpoint that is whole, and return it; `None` if there is none at all.

        It must not be beyond `total_steps`, nor from another number of processes, which would change the
        batches, or other settings.
        """
        found, reasons = self._list(), []
        for checkpoint in reversed(found):
            try:
                run = _read_run_file(checkpoint)
            except DamagedCheckpointError as error:
                logger.warning("%s is damaged and passed over: %s", checkpoint, error)
                reasons.append(f"{checkpoint.name}: {error}")
                continue
            self._check_same_run(checkpoint, run)
            steps_done = run["states"]["progress"]["steps_done"]
            if total_steps is not None and steps_done > total_steps:
                raise ValueError(
                    f"{checkpoint} has {steps_done} steps, more than the {total_steps} asked for; ask for "
                    "more (--epochs, --max_steps), start over (--restart), or choose another output_dir."
                )
            self.accelerator.load_state(str(checkpoint))
            for name, part in self._states.items():
                part.load_state_dict(run["states"][name])
            logger.info("resumed from %s", checkpoint)
            return checkpoint
        if found:
            raise ValueError(
                f"none of the checkpoints in {self.folder} can be used; start over (--restart), or choose "
                f"another output_dir. {'; '.join(reasons)}."
            )
        return None

    def clear(self) -> None:
        """Delete all checkpoints, so that those of an earlier run are never mistaken for this one's."""
        if self.accelerator.is_main_process:
            for checkpoint in self._list():
                shutil.rmtree(checkpoint)
        self.accelerator.wait_for_everyone()

    def _check_same_run(self, checkpoint: Path, run: Mapping[str, Any]) -> None:  # Any: JSON values
        if run["num_processes"] != self.accelerator.num_processes:
            raise ValueError(
                f"{checkpoint} was written by {run['num_processes']} processes, this run has "
                f"{self.accelerator.num_processes}; launch as many, or start over in another output_dir."
            )
        before, now = run["settings"], self.settings
        changes = [
            f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
        if changes:
            raise ValueError(
                f"{checkpoint} belongs to a run with other settings ({'; '.join(changes)}); repeat those, "
                "start over, or choose another output_dir."
            )

    def _list(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{_PREFIX}{_DIGITS}") if path.is_dir())


def _write_run_file(checkpoint: Path, **run: Any) -> None:  # Any: JSON values
    run["files"] = _digest_files(checkpoint)
    atomic_write_text(checkpoint / _RUN_FILE, json.dumps({**run, "digest": _digest_record(run)}))


def _read_run_file(checkpoint: Path) -> dict[str, Any]:  # Any: JSON values
    """Return the record of a checkpoint, after comparing all its files with their digests."""
    try:
        run = json.loads((checkpoint / _RUN_FILE).read_text(encoding="utf-8"))
        digest, files = run.pop("digest"), run["files"]
    except FileNotFoundError as error:
        raise DamagedCheckpointError(f"it lacks {_RUN_FILE}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{_RUN_FILE} is no record of a checkpoint") from error
    if digest != _digest_record(run):
        raise DamagedCheckpointError(f"{_RUN_FILE} is not what was written")
    found = _digest_files(checkpoint)
    for name in sorted(files.keys() | found.keys()):
        if files.get(name) != found.get(name):
            problem = "has changed" if name in files and name in found else "is missing"
            raise DamagedCheckpointError(f"{name} {problem if name in files else 'does not belong to it'}")
    return run


def _digest_files(checkpoint: Path) -> dict[str, str]:
    return {
        path.relative_to(checkpoint).as_posix(): hash_file(path)
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path != checkpoint / _RUN_FILE
    }


def _digest_record(run: Mapping[str, Any]) -> str:  # Any: JSON values
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()


def _read_clocks() -> tuple[float, float]:
    spent = os.times()
    return time.monotonic(), spent.user + spent.system + spent.children_user + spent.children_system
