"""Trains every model three steps in one process and in two; run by `test_every_model.py`.

A step is two batches. One process accumulates their gradients; of two, each has one of them. Running
statistics of batch norms are the first process's own, and in training no loss depends on them.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from support.every_model import EVERY_MODEL, Kind, loss_of

STEPS, BATCH, LEARNING_RATE = 3, 3, 0.05


def losses_of_one_process(kind: Kind) -> list[float]:
    model = kind.build().train()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    losses = []
    for step in range(STEPS):
        for half in range(2):
            loss = loss_of(model(**kind.inputs(BATCH, seed=2 * step + half)))
            (loss / 2).backward()
            losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


def losses_of_two_processes(kind: Kind, rank: int) -> list[float]:
    model = DistributedDataParallel(kind.build().train())
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    losses = []
    for step in range(STEPS):
        loss = loss_of(model(**kind.inputs(BATCH, seed=2 * step + rank)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        both = [torch.zeros(()), torch.zeros(())]
        dist.all_gather(both, loss.detach())
        losses += [one.item() for one in both]
    return losses


def work(rank: int, meeting_point: str, report: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=Path(meeting_point).as_uri(), rank=rank, world_size=2)
    found = {}
    for name, kind in EVERY_MODEL.items():
        two = losses_of_two_processes(kind, rank)
        if rank == 0:
            found[name] = {"one": losses_of_one_process(kind), "two": two}
    if rank == 0:
        Path(report).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (os.path.join(folder, "meeting_point"), sys.argv[1]), nprocs=2)
