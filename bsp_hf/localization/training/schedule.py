"""The learning rate of a localizer's training: lowered by epochs, on a plateau, or never."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from .hyperparameters import Hyperparameters

STEP_FACTOR = 0.1


class LocalizerSchedule:
    """Lowers the rate as [`Hyperparameters`] say; its state makes a resumed run exact.

    `optimizer` is the optimizer itself, not Accelerate's wrapper: one schedule is stepped for all processes.
    """

    def __init__(self, optimizer: Optimizer, hyperparameters: Hyperparameters, steps_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._by_epochs = self._on_plateau = None
        if hyperparameters.decay_epochs is not None:
            num_steps = hyperparameters.decay_epochs * steps_per_epoch
            self._by_epochs = StepLR(optimizer, num_steps, STEP_FACTOR)
        if hyperparameters.watches_loss:
            factor = float(hyperparameters.plateau_factor or 1)
            self._on_plateau = ReduceLROnPlateau(optimizer, "min", factor, hyperparameters.plateau_patience)

    @property
    def learning_rate(self) -> float:
        """Rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Count an optimizer step."""
        if self._by_epochs is not None:
            self._by_epochs.step()

    def after_evaluation(self, loss: float | None) -> None:
        """Lower the rate where the mean loss of the evaluation samples asks for it."""
        if self._on_plateau is None:
            return
        if loss is None:
            raise ValueError(
                "plateau_factor watches the loss of the evaluation, which this localizer does not have; use "
                "decay_epochs."
            )
        # As published: the loss is negated and its minimum waited for, so the rate goes down unless the loss
        # goes up, and not the other way round.
        self._on_plateau.step(-loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, fit for JSON."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; the rate itself is the optimizer's."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:  # Any: torch's schedulers have no common type that loads
        parts = {"by_epochs": self._by_epochs, "on_plateau": self._on_plateau}
        return {name: part for name, part in parts.items() if part is not None}
