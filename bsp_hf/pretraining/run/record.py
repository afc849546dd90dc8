"""The record of a pre-training run: what it read, how it went, on what; saved beside the weights."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from bsp_hf.files import atomic_file
from bsp_hf.training.checkpoints import TrainingProgress
from bsp_hf.training.command_line import settings_to_dict
from bsp_hf.training.environment import (
    describe_command,
    describe_commit,
    describe_hardware,
    describe_versions,
)

from .settings import PretrainingSettings
from .setup import RunData

logger = logging.getLogger(__name__)


def describe_run(
    settings: PretrainingSettings,
    data: RunData,
    progress: TrainingProgress,
    clips_per_step: int,
    accelerator: Accelerator,
) -> dict[str, Any]:  # Any: JSON values
    """Return the record of a finished run, of which cards are rendered; set `energy_kwh` if it is known."""
    return {
        "task": settings.task,
        "arguments": settings_to_dict(settings),
        "mixed_precision": accelerator.mixed_precision,  # in effect, whoever asked for it
        "synthesis": settings.synthesis.to_dict(),
        "num_sources": {
            "training": len(data.train_clips.catalog),
            "held_out": len(data.eval_clips.catalog),
        },
        "steps_done": progress.steps_done,
        "clips_seen": progress.steps_done * clips_per_step,
        "clips_replaced": progress.clips_replaced,
        "history": list(progress.history),
        "command": describe_command(),
        "commit": describe_commit(),
        "versions": describe_versions(),
        "hardware": describe_hardware(accelerator.device.type),
        "time": progress.measure_time(),
        "energy_kwh": None,
    }


def check_unfinished(output_dir: Path, total_steps: int) -> None:
    """Refuse to replace a finished encoder by one that is trained for fewer steps."""
    record = output_dir / "training_record.json"
    if not (output_dir / "model.safetensors").is_file() or not record.is_file():
        return
    steps_done = json.loads(record.read_text(encoding="utf-8")).get("steps_done", 0)
    if steps_done > total_steps:
        raise ValueError(
            f"{output_dir} holds an encoder of {steps_done} steps, more than the {total_steps} asked for; "
            "ask for more (--epochs, --max_steps), start over (--restart), or choose another output_dir."
        )


def save_training_pictures(
    folder: str | Path,
    history: Sequence[Mapping[str, Any]],  # Any: JSON values
    label_names: Sequence[str],
) -> None:
    """Write `training_curves.png` and, for a classification, `confusion_matrix.png`.

    Without matplotlib it warns and writes nothing: a training must not fail for a picture.
    """
    from bsp_hf.visualization import plot_confusion_matrix, plot_training_curves

    try:
        if any("loss" in entry for entry in history):
            chance = 1 / len(label_names) if label_names else None
            metrics = ["eval_accuracy"] if label_names else None
            figure = plot_training_curves(history, metrics=metrics, chance=chance)
            with atomic_file(Path(folder) / "training_curves.png") as temporary:
                figure.savefig(temporary, format="png")
        evaluations = [entry for entry in history if "eval_confusion" in entry]
        if evaluations:
            figure = plot_confusion_matrix(evaluations[-1]["eval_confusion"], label_names)
            with atomic_file(Path(folder) / "confusion_matrix.png") as temporary:
                figure.savefig(temporary, format="png")
    except ImportError as error:
        logger.warning("the pictures of the training are left out. %s", error)
