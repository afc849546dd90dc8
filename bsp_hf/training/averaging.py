"""An exponential moving average of the weights of a model in training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that follows it, parameters and statistics, by its `update_parameters`.

    Make it before accelerate wraps the model. Of the average, `1 - decay` is replaced a step; more at the
    start, when the weights move far.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_updates: Tensor | int) -> None:
        if not averaged[0].is_floating_point():  # counts of batches
            torch._foreach_copy_(list(averaged), list(current))
            return
        number = float(num_updates)
        kept = min(decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(list(averaged), list(current), 1 - kept)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
