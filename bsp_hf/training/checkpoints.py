"""Interruptible training: where it stands, and checkpoints that are whole or not there."""

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

logger = logging.getLogger(__name__)

_PREFIX = "step-"
_RUN_FILE = "run.json"


@dataclass
class TrainingProgress:
    """How far a training run has come; saved and restored with every checkpoint.

    Args:
        epoch (`int`): The running epoch.
        batches_done (`int`): Batches of this epoch that this process has consumed.
        steps_done (`int`): Optimizer steps since the start.
        history (`list[dict]`): What was logged, in order.
        wall_s (`float`): Seconds it took, interruptions and what they undid left out.
        cpu_s (`float`): Processor seconds of the main process and its finished children.
    """

    epoch: int = 0
    batches_done: int = 0
    steps_done: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    # Two runs are the same whatever time they took.
    wall_s: float = field(default=0.0, compare=False)
    cpu_s: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        self._measured_at = _read_clocks()

    def measure_time(self) -> dict[str, float]:
        """Add the time since the last call to the fields.

        Returns:
            `dict[str, float]`: `wall_s` and `cpu_s` as they now are.
        """
        now = _read_clocks()
        self.wall_s += now[0] - self._measured_at[0]
        self.cpu_s += now[1] - self._measured_at[1]
        self._measured_at = now
        return {"wall_s": round(self.wall_s, 1), "cpu_s": round(self.cpu_s, 1)}

    def state_dict(self) -> dict[str, Any]:
        """Return the fields; called by Accelerate."""
        self.measure_time()
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the fields; called by Accelerate."""
        for name, value in state.items():
            setattr(self, name, value)


def save_training_state(
    accelerator: Accelerator,
    folder: str | Path,
    steps_done: int,
    settings: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint of everything that training needs to go on exactly.

    It is written beside its place and renamed, so a checkpoint that exists is whole. Call it on every
    process, at an optimizer step.

    Args:
        accelerator (`Accelerator`): Holds the model, optimizer, schedule and registered objects.
        folder (`str` or `Path`): Folder of the checkpoints.
        steps_done (`int`): Names the checkpoint.
        settings (`Mapping`, *optional*): What the run must not change when it goes on; JSON values.
        keep (`int`, *optional*, defaults to 2): Newest checkpoints to keep, at least 1.

    Returns:
        `Path`: The checkpoint.

    Raises:
        ValueError: If `keep` is less than 1.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1, or nothing is left to go on from.")
    folder = Path(folder)
    target = folder / f"{_PREFIX}{steps_done:08d}"
    temporary = folder / f"tmp-{steps_done:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run = {"num_processes": accelerator.num_processes, "settings": dict(settings or {})}
        (temporary / _RUN_FILE).write_text(json.dumps(run))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for old in _checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return target


def resume_training_state(
    accelerator: Accelerator, folder: str | Path, settings: Mapping[str, Any] | None = None
) -> Path | None:
    """Load the newest checkpoint, if there is one.

    Args:
        accelerator (`Accelerator`): As in [`save_training_state`], with the same objects registered.
        folder (`str` or `Path`): Folder of the checkpoints.
        settings (`Mapping`, *optional*): As in [`save_training_state`].

    Returns:
        `Path` or `None`: The checkpoint that was loaded.

    Raises:
        ValueError: If it was written by another number of processes, which would change the batches, or with
            other settings.
    """
    found = _checkpoints(Path(folder))
    if not found:
        return None
    run = json.loads((found[-1] / _RUN_FILE).read_text())
    num_processes = run["num_processes"]
    if num_processes != accelerator.num_processes:
        raise ValueError(
            f"{found[-1]} was written by {num_processes} processes, "
            f"this run has {accelerator.num_processes}; launch as many, or start over in another output_dir."
        )
    now = json.loads(json.dumps(dict(settings or {})))
    changes = [
        f"{name} was {run['settings'].get(name)!r}, is {now.get(name)!r}"
        for name in sorted(run["settings"].keys() | now.keys())
        if run["settings"].get(name) != now.get(name)
    ]
    if changes:
        raise ValueError(
            f"{found[-1]} belongs to a run with other settings ({'; '.join(changes)}); repeat those, "
            "start over, or choose another output_dir."
        )
    accelerator.load_state(str(found[-1]))
    logger.info("resumed from %s", found[-1])
    return found[-1]


def clear_training_states(accelerator: Accelerator, folder: str | Path) -> None:
    """Delete all checkpoints, so that those of an earlier run are never taken for this one's.

    Args:
        accelerator (`Accelerator`): Tells the process that deletes; call it on every one.
        folder (`str` or `Path`): Folder of the checkpoints.
    """
    if accelerator.is_main_process:
        for checkpoint in _checkpoints(Path(folder)):
            shutil.rmtree(checkpoint)
    accelerator.wait_for_everyone()


def _read_clocks() -> tuple[float, float]:
    spent = os.times()
    return time.monotonic(), spent.user + spent.system + spent.children_user + spent.children_system


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())
