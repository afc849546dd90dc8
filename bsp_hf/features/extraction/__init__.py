"""Folder jobs: what is extracted, resumed, counted and reported."""
