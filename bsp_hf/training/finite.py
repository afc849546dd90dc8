"""Stops a training at the first number that is not finite, before it reaches a weight or a file."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_MOST_NAMES = 4


class NotFiniteError(ValueError):
    """A loss, gradient or score that is NaN or infinite."""


def check_finite(
    values: Tensor | float, what: str, step: int, name_samples: Callable[[], Sequence[str]] | None = None
) -> None:
    """Raise [`NotFiniteError`] if a value is NaN or infinite; `name_samples` says what it was computed of."""
    values = torch.as_tensor(values)
    wrong = values[~torch.isfinite(values)]
    if not len(wrong):
        return
    names = list(name_samples()) if name_samples is not None else []
    hidden = len(names) - _MOST_NAMES
    shown = [*names[:_MOST_NAMES], f"{hidden} more"] if hidden > 0 else names
    place = f", of {', '.join(shown[:-1])}{' and ' if shown[1:] else ''}{shown[-1]}" if shown else ""
    raise NotFiniteError(
        f"{what} is {wrong[0].item()} at step {step}{place}. Training stops; its checkpoints hold an earlier "
        "state. Lower --learning_rate, leave out bad samples, or train without --mixed_precision."
    )
