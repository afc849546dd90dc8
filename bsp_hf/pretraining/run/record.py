"""The record of a pre-training run: what it read, how it went, on what; saved beside the weights."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.training.checkpoints import TrainingProgress
from bsp_hf.training.command_line import settings_to_dict
from bsp_hf.training.environment import (
    describe_command,
    describe_commit,
    describe_hardware,
    describe_versions,
)

from .settings import PretrainingSettings


def describe_run(
    settings: PretrainingSettings,
    train_clips: PretextClips,
    eval_clips: PretextClips,
    history: Sequence[dict[str, Any]],
    clips_seen: int,
    device: str,
    progress: TrainingProgress | None = None,
) -> dict[str, Any]:
    """Describe a finished run.

    Args:
        settings (`PretrainingSettings`): What the run was asked for.
        train_clips (`PretextClips`): What it was trained on.
        eval_clips (`PretextClips`): What was held out.
        history (`Sequence[dict]`): What it logged, in order.
        clips_seen (`int`): Clips that it was shown, repetitions counted.
        device (`str`): Type of the device, such as `"cpu"`.
        progress (`TrainingProgress`, *optional*): Tells how long it took, interruptions left out.

    Returns:
        `dict`: The record, fit for JSON. Cards are rendered from it; set `energy_kwh` if it was measured.
    """
    return {
        "task": settings.task,
        "arguments": settings_to_dict(settings),
        "synthesis": train_clips.pretext.synthesis.to_dict(),
        "num_sources": {"training": len(train_clips.catalog), "held_out": len(eval_clips.catalog)},
        "clips_seen": clips_seen,
        "history": list(history),
        "command": describe_command(),
        "commit": describe_commit(),
        "versions": describe_versions(),
        "hardware": describe_hardware(device),
        "time": progress.measure_time() if progress else {},
        "energy_kwh": None,
    }


logger = logging.getLogger(__name__)


def save_training_pictures(
    folder: str | Path, history: Sequence[Mapping[str, Any]], label_names: Sequence[str]
) -> None:
    """Write `training_curves.png` and, for a classification, `confusion_matrix.png`.

    Without matplotlib it says so and writes nothing: a training shall not fail for a picture.

    Args:
        folder (`str` or `Path`): The checkpoint folder.
        history (`Sequence[Mapping]`): What the training logged.
        label_names (`Sequence[str]`): Names of the classes; empty for a regression.
    """
    try:
        from bsp_hf.visualization import plot_confusion_matrix, plot_training_curves
    except ImportError:
        logger.warning('no pictures of the training: pip install "bsp_hf[plot]" for them')
        return
    folder = Path(folder)
    if any("loss" in entry for entry in history):
        chance = 1 / len(label_names) if label_names else None
        metrics = ["eval_accuracy"] if label_names else None
        plot_training_curves(history, metrics=metrics, chance=chance).savefig(folder / "training_curves.png")
    evaluations = [entry for entry in history if "eval_confusion" in entry]
    if evaluations:
        matrix = evaluations[-1]["eval_confusion"]
        plot_confusion_matrix(matrix, label_names).savefig(folder / "confusion_matrix.png")
