"""Rendered clips: scenes, motions and files."""
