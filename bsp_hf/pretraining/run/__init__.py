"""One pre-training run: arguments, set-up, optimization, record."""
