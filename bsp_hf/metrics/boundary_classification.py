"""Classification of boundary types: accuracy, recall of each class and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# In the paper's order (Sec. 3.2), as the label names of every BSP config.
BOUNDARY_TYPE_NAMES: tuple[str, ...] = ("diff-class", "same-class", "diff-speed", "same-speed")


@dataclass(frozen=True, eq=False)
class BoundaryClassificationScores:
    """How often the type of a boundary is predicted right.

    Args:
        accuracy (`float`): Share of clips predicted right, in 0 to 1.
        class_recall (`np.ndarray`): `(num_classes,)`, share of each true class predicted right (its
            accuracy); NaN for a class that does not occur.
        mean_class_recall (`float`): Mean of `class_recall` over the classes that occur.
        confusion (`np.ndarray`): int64, `(num_classes, num_classes)`, clips by true class (row) and
            predicted one (column).
        class_names (`tuple`): Name of each class.
        num_clips (`int`): Clips scored.
    """

    accuracy: float
    class_recall: np.ndarray
    mean_class_recall: float
    confusion: np.ndarray
    class_names: tuple[str, ...]
    num_clips: int

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON; `class_recall` by name, `None` without clips."""
        recall = [None if np.isnan(value) else value for value in self.class_recall.tolist()]
        return {
            "accuracy": self.accuracy,
            "mean_class_recall": self.mean_class_recall,
            "class_recall": dict(zip(self.class_names, recall, strict=True)),
            "confusion": self.confusion.tolist(),
            "num_clips": self.num_clips,
        }


def evaluate_boundary_classification(
    predictions: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    class_names: Sequence[str] = BOUNDARY_TYPE_NAMES,
) -> BoundaryClassificationScores:
    """Compare predicted classes with true ones.

    Args:
        predictions (`ArrayLike`): Class number of each clip, `(num_clips,)`.
        labels (`ArrayLike`): True class number of each clip, `(num_clips,)`.
        class_names (`Sequence[str]`): Name of each class, in the order of the numbers. Defaults to the four
            boundary types of the paper.

    Returns:
        `BoundaryClassificationScores`: Accuracy, recall of each class, confusion matrix.

    Raises:
        ValueError: If there is no clip, lengths differ, a number is not whole or names no class, or names
            repeat.

    Example:
    ```python
    >>> from bsp_hf.metrics import evaluate_boundary_classification
    >>> scores = evaluate_boundary_classification([0, 1, 1, 3], [0, 1, 2, 3])
    >>> scores.accuracy, scores.class_recall.tolist()
    (0.75, [1.0, 1.0, 0.0, 1.0])

    ```
    """
    names = tuple(class_names)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"class_names is {names}; expected one or more different names.")
    predicted, true = _as_classes(predictions, "predictions", names), _as_classes(labels, "labels", names)
    if len(predicted) != len(true) or not len(true):
        raise ValueError(
            f"There are {len(predicted)} predictions and {len(true)} labels; expected one or more of each."
        )
    confusion = np.bincount(true * len(names) + predicted, minlength=len(names) ** 2).reshape(
        len(names), len(names)
    )
    totals, right = confusion.sum(axis=1), np.diag(confusion)
    class_recall = np.where(totals > 0, right / np.maximum(totals, 1), np.nan)
    return BoundaryClassificationScores(
        accuracy=float(right.sum() / len(true)),
        class_recall=class_recall,
        mean_class_recall=float(class_recall[totals > 0].mean()),
        confusion=confusion.astype(np.int64),
        class_names=names,
        num_clips=len(true),
    )


def _as_classes(values: npt.ArrayLike, name: str, class_names: tuple[str, ...]) -> np.ndarray:
    """Return class numbers as int64, each of them one of the names'."""
    numbers = np.asarray(values)
    if numbers.size == 0:
        numbers = numbers.astype(np.int64)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(
            f"{name} has shape {numbers.shape} and type {numbers.dtype}; expected whole class numbers "
            "of shape (num_clips,). Take the argmax of logits first."
        )
    outside = (numbers < 0) | (numbers >= len(class_names))
    if outside.any():
        clip = int(np.argmax(outside))
        raise ValueError(
            f"{name}[{clip}] is {int(numbers[clip])}; "
            f"expected 0 to {len(class_names) - 1}, for {class_names}."
        )
    return numbers.astype(np.int64)
