"""Moved to `bsp_hf.training.sampler`; the old name stays for the scripts that import it."""

from bsp_hf.training.sampler import EpochSampler

__all__ = ["EpochSampler"]
