"""The learning rate of a localizer's training: lowered by epochs, on a plateau, or never."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from .settings import Hyperparameters

STEP_FACTOR = 0.1


class LocalizerSchedule:
    """Lowers the rate as [`Hyperparameters`] say; register it with Accelerate, and a resumed run is exact.

    Args:
        optimizer (`Optimizer`): The optimizer itself, not Accelerate's wrapper: the schedule is stepped once
            for all processes.
        hyperparameters (`Hyperparameters`): Those of the training.
        steps_per_epoch (`int`): Optimizer steps of an epoch.
    """

    def __init__(self, optimizer: Optimizer, hyperparameters: Hyperparameters, steps_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._by_epochs: StepLR | None = None
        self._on_plateau: ReduceLROnPlateau | None = None
        if hyperparameters.decay_epochs is not None:
            self._by_epochs = StepLR(optimizer, hyperparameters.decay_epochs * steps_per_epoch, STEP_FACTOR)
        if hyperparameters.watches_loss:
            self._on_plateau = ReduceLROnPlateau(
                optimizer, "min", float(hyperparameters.plateau_factor or 1), hyperparameters.plateau_patience
            )

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
        """Return where it stands, fit for JSON."""
        parts = {"by_epochs": self._by_epochs, "on_plateau": self._on_plateau}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; the rate itself is the optimizer's."""
        if self._by_epochs is not None:
            self._by_epochs.load_state_dict(state["by_epochs"])
        if self._on_plateau is not None:
            self._on_plateau.load_state_dict(state["on_plateau"])
