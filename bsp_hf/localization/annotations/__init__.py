"""Annotation files: their types, layouts and readers."""
