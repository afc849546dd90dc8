"""What every training loop of the package shares: whole checkpoints, the order of samples, the log."""
