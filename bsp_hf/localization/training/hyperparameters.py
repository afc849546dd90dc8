"""Hyper-parameters of a localizer's training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of a training.

    Args:
        learning_rate (`float`): Rate of Adam.
        batch_size (`int`): Samples of one step.
        epochs (`int`): Passes over the training samples.
        weight_decay (`float`, *optional*, defaults to 0.0): Weight decay of Adam (L2, not decoupled).
        max_grad_norm (`float`, *optional*): Gradients are clipped to this norm; not at all by default.
        decay_epochs (`int`, *optional*): The rate is divided by 10 every so many epochs; constant by default.
        plateau_factor (`float`, *optional*): The rate is multiplied by this where the loss of the evaluation
            has rested; 1 or `None` leaves it.
        plateau_patience (`int`, *optional*, defaults to 20): Evaluations that may pass before.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    decay_epochs: int | None = None
    plateau_factor: float | None = None
    plateau_patience: int = 20

    @property
    def watches_loss(self) -> bool:
        """True if the rate depends on the loss of the evaluation."""
        return self.plateau_factor not in (None, 1)
