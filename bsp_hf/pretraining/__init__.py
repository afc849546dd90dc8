"""Trimmed clips in, a trained encoder out."""
