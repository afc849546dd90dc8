"""Catalogs of sources that exist on paper only, with looks, for tests of what is drawn."""

import numpy as np

from bsp_hf.pretraining.sources import SourceCatalog

from .clip_folder import unknown_videos


def paper_catalog(*lengths: int, labels: str, seed: int = 0) -> SourceCatalog:
    """Sources whose looks are drawn at random."""
    looks = np.random.default_rng(seed).random((len(lengths), 48)).astype(np.float32)
    return SourceCatalog(unknown_videos(*lengths, labels=labels), looks)
