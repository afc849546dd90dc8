"""What every training loop of the package shares: checkpoints that are whole, and the order of samples."""
