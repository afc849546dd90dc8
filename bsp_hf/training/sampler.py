"""The order of samples: a fresh permutation every epoch, the same for any number of workers and processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from accelerate import skip_first_batches
from torch.utils.data import Sampler

from .checkpoints import TrainingProgress


class EpochSampler(Sampler[int]):
    """Permutes the indices by `(seed, epoch)`.

    The epoch is cut to a multiple of `multiple_of`. With the samples of one optimizer step, every step sees
    as many, however they are spread over processes and accumulated batches.
    """

    def __init__(self, num_samples: int, seed: int = 0, multiple_of: int = 1):
        if multiple_of < 1:
            raise ValueError(f"multiple_of={multiple_of} must be at least 1.")
        self.num_samples = num_samples
        self.multiple_of = multiple_of
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)
        yield from order[: len(self)].tolist()

    def __len__(self) -> int:
        return self.num_samples // self.multiple_of * self.multiple_of


# Any: a loader of Accelerate, whose class depends on what was prepared.
def continue_epoch(loader: Any, sampler: EpochSampler, progress: TrainingProgress) -> Any:
    """Return the batches of the running epoch that are still to come, in its order.

    `loader` is what Accelerate made of one with `sampler`. Such loaders count their own iterations, which
    would be another number after resuming; so the epoch of both is set.
    """
    if progress.batches_done:
        loader = skip_first_batches(loader, progress.batches_done)
    sampler.set_epoch(progress.epoch)
    loader.set_epoch(progress.epoch)
    return loader
