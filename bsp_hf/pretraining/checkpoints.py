"""Interruptible training: where it stands, and checkpoints that are whole or not there."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

logger = logging.getLogger(__name__)

_PREFIX = "step-"


@dataclass
class TrainingProgress:
    """How far a training run has come; saved and restored with every checkpoint.

    Args:
        epoch (`int`): The running epoch.
        batches_done (`int`): Batches of this epoch that this process has consumed.
        steps_done (`int`): Optimizer steps since the start.
        history (`list[dict]`): What was logged, in order.
    """

    epoch: int = 0
    batches_done: int = 0
    steps_done: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Return the fields; called by Accelerate."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the fields; called by Accelerate."""
        for name, value in state.items():
            setattr(self, name, value)


def save_training_state(accelerator: Accelerator, folder: str | Path, steps_done: int, keep: int = 2) -> Path:
    """Write a checkpoint of everything that training needs to go on exactly.

    It is written beside its place and renamed, so a checkpoint that exists is whole. Call it on every
    process, at an optimizer step.

    Args:
        accelerator (`Accelerator`): Holds the model, optimizer, schedule and registered objects.
        folder (`str` or `Path`): Folder of the checkpoints.
        steps_done (`int`): Names the checkpoint.
        keep (`int`, *optional*, defaults to 2): Newest checkpoints to keep.

    Returns:
        `Path`: The checkpoint.
    """
    folder = Path(folder)
    target = folder / f"{_PREFIX}{steps_done:08d}"
    temporary = folder / f"tmp-{steps_done:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / "processes.json").write_text(json.dumps({"num_processes": accelerator.num_processes}))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for old in _checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return target


def resume_training_state(accelerator: Accelerator, folder: str | Path) -> Path | None:
    """Load the newest checkpoint, if there is one.

    Args:
        accelerator (`Accelerator`): As in [`save_training_state`], with the same objects registered.
        folder (`str` or `Path`): Folder of the checkpoints.

    Returns:
        `Path` or `None`: The checkpoint that was loaded.

    Raises:
        ValueError: If it was written by another number of processes, which would change the batches.
    """
    found = _checkpoints(Path(folder))
    if not found:
        return None
    num_processes = json.loads((found[-1] / "processes.json").read_text())["num_processes"]
    if num_processes != accelerator.num_processes:
        raise ValueError(
            f"{found[-1]} was written by {num_processes} processes, "
            f"this run has {accelerator.num_processes}; launch as many, or start over in another output_dir."
        )
    accelerator.load_state(str(found[-1]))
    logger.info("resumed from %s", found[-1])
    return found[-1]


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


__all__ = ["TrainingProgress", "resume_training_state", "save_training_state"]
