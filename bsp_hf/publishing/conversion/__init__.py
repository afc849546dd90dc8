"""Foreign checkpoints, read and written."""
