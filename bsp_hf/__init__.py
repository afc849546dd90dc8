"""Boundary-sensitive pre-training (BSP) for temporal localization in videos."""

__version__ = "0.1.0"
