"""The order of clips: a permutation that only (seed, epoch) decides, cut to whole optimizer steps."""

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from bsp_hf.training.checkpoints import TrainingProgress
from bsp_hf.training.sampler import EpochSampler, continue_epoch


def order(*arguments, epoch: int = 0, **fields) -> list[int]:
    sampler = EpochSampler(*arguments, **fields)
    sampler.set_epoch(epoch)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


def test_every_clip_comes_once_an_epoch():
    for epoch in range(3):
        assert sorted(order(50, epoch=epoch)) == list(range(50))


def test_seed_and_epoch_decide_the_order_and_nothing_else():
    assert order(50, 1, epoch=2) == order(50, 1, epoch=2)
    orders = {tuple(order(50, seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    sampler = EpochSampler(50, 1)
    sampler.set_epoch(5)
    list(sampler)
    sampler.set_epoch(2)
    assert list(sampler) == order(50, 1, epoch=2)


@pytest.mark.parametrize(
    ("num_clips", "multiple", "length"), [(50, 8, 48), (48, 8, 48), (7, 8, 0), (50, 1, 50)]
)
def test_an_epoch_holds_whole_steps_only(num_clips, multiple, length):
    cut = order(num_clips, 3, multiple_of=multiple)
    assert cut == order(num_clips, 3)[:length]


def test_clips_left_over_in_one_epoch_come_in_another():
    seen = {clip for epoch in range(6) for clip in order(50, multiple_of=32, epoch=epoch)}
    assert seen == set(range(50))


def test_multiple_of_nothing_is_refused():
    with pytest.raises(ValueError, match="multiple_of=0"):
        EpochSampler(10, multiple_of=0)


@pytest.mark.parametrize("batches_done", [0, 3])
def test_an_interrupted_epoch_goes_on_with_the_batches_that_are_left(batches_done):
    sampler = EpochSampler(20, seed=1)
    loader = Accelerator(cpu=True).prepare(DataLoader(range(20), 4, sampler=sampler))
    list(loader)  # Accelerate has counted one iteration, and this is no epoch of ours
    rest = continue_epoch(loader, sampler, TrainingProgress(epoch=5, batches_done=batches_done))
    assert torch.cat(list(rest)).tolist() == order(20, 1, epoch=5)[4 * batches_done :]
