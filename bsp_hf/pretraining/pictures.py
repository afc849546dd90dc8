"""Pictures of a training run, beside what it saved."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


__all__ = ["save_training_pictures"]
