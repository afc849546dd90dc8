"""Hyper-parameters of a localizer's training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """Published hyper-parameters of a training with Adam."""

    learning_rate: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0  # L2, not decoupled
    max_grad_norm: float | None = None  # gradients are clipped to it
    decay_epochs: int | None = None  # the rate is divided by 10 every so many epochs
    # of the rate, where the loss of the evaluation has rested; 1 or None leaves it
    plateau_factor: float | None = None
    plateau_patience: int = 20  # evaluations that may pass before

    @property
    def watches_loss(self) -> bool:
        """True if the rate depends on the loss of the evaluation."""
        return self.plateau_factor not in (None, 1)
