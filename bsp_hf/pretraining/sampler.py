"""The order of clips: a fresh permutation every epoch, the same for any number of workers and processes."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Permutes the indices by `(seed, epoch)`.

    Args:
        num_clips (`int`): Length of the data set.
        seed (`int`, *optional*, defaults to 0): Seed of the order.
    """

    def __init__(self, num_clips: int, seed: int = 0):
        self.num_clips = num_clips
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, self.epoch]).permutation(self.num_clips).tolist()

    def __len__(self) -> int:
        return self.num_clips


__all__ = ["EpochSampler"]
