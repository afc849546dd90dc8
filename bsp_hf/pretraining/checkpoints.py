"""Moved to `bsp_hf.training.checkpoints`; the old name stays for the scripts that import it."""

from bsp_hf.training.checkpoints import (
    TrainingProgress,
    clear_training_states,
    resume_training_state,
    save_training_state,
)

__all__ = ["TrainingProgress", "clear_training_states", "resume_training_state", "save_training_state"]
