"""Boundaries from the encoder's own response."""
