"""Preparation of videos for training: re-encoded once, small and quick to read at random."""
