"""Whether a boundary classifier is known to be better than chance."""

import json
import logging
from functools import cache
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils import cached_file

logger = logging.getLogger(__name__)

_RECORD = "training_record.json"
# Choice: an accuracy that is no further above chance, of the way to 1, is called near it.
_NEAR = 0.1


def warn_if_untrained(model: PreTrainedModel) -> None:
    """Log a line, once a model, where its accuracy on held-out clips is near chance or not recorded."""
    reason = _find_reason(model.name_or_path or "", len(model.config.id2label or {}))
    if reason:
        _warn(model.name_or_path or type(model).__name__, reason)


@cache
def _warn(name: str, reason: str) -> None:
    logger.warning("%s: %s; only cuts that the pictures show can be trusted.", Path(name).name, reason)


def _find_reason(name: str, num_labels: int) -> str | None:
    accuracies = [entry["eval_accuracy"] for entry in _read_history(name) if "eval_accuracy" in entry]
    if not accuracies:
        return "no accuracy on held-out clips is recorded, as of an encoder that was never trained"
    chance = 1 / max(num_labels, 1)
    if accuracies[-1] >= chance + _NEAR * (1 - chance):
        return None
    return f"its accuracy on held-out clips is {accuracies[-1]:.2f}, near chance ({chance:.2f})"


def _read_history(name: str) -> list[dict[str, float]]:
    """Return what a checkpoint's record holds of its training; nothing where there is none."""
    try:
        path = cached_file(name, _RECORD, _raise_exceptions_for_missing_entries=False) if name else None
        return json.loads(Path(path).read_text(encoding="utf-8"))["history"] if path else []
    except (OSError, ValueError, KeyError, TypeError):  # no Hub, or no record of a pre-training
        return []
