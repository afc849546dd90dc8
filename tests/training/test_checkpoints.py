"""Checkpoints are whole or not there, belong to one run, and bring back all that training needs."""

import json
import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from bsp_hf.pretraining.run.optimization import build_schedule
from bsp_hf.training.checkpoints import (
    TrainingProgress,
    clear_training_states,
    resume_training_state,
    save_training_state,
)


@pytest.fixture(autouse=True)
def own_state():
    """Accelerate's process-wide state ends with the test."""
    yield
    for state in (GradientState, AcceleratorState, PartialState):
        state._reset_state()


class Run:
    """A tiny training with dropout, momentum and a schedule."""

    def __init__(self):
        torch.manual_seed(0)
        self.accelerator = Accelerator(cpu=True)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = build_schedule("cosine", self.optimizer.optimizer, 10)
        self.progress = TrainingProgress()
        self.accelerator.register_for_checkpointing(self.schedule, self.progress)

    def train(self, num_steps: int) -> None:
        for _ in range(num_steps):
            step = self.progress.steps_done
            inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
            loss = self.model(inputs).square().mean()
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            self.progress.steps_done += 1
            self.progress.batches_done += 1
            self.progress.history.append({"step": step, "loss": loss.item()})

    def state(self) -> tuple:
        progress = self.progress.state_dict()
        assert progress.pop("wall_s") > 0 and progress.pop("cpu_s") >= 0
        return (
            {name: value.tolist() for name, value in self.model.state_dict().items()},
            progress,
            self.schedule.get_last_lr(),
            torch.rand(1).item(),
        )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_resumed_training_is_that_which_was_never_interrupted(tmp_path):
    straight = Run()
    straight.train(7)
    expected = straight.state()

    first = Run()
    first.train(4)
    saved = save_training_state(first.accelerator, tmp_path, 4)
    assert saved == tmp_path / "step-00000004"
    first.train(2)  # lost with the process

    second = Run()
    torch.manual_seed(99)
    assert resume_training_state(second.accelerator, tmp_path) == saved
    assert second.progress.steps_done == 4 and len(second.progress.history) == 4
    second.train(3)
    assert second.state() == expected


def test_time_adds_up_over_interruptions_and_leaves_them_out(monkeypatch):
    clock = iter([(100.0, 5.0), (130.0, 9.0), (1000.0, 0.5), (1010.0, 2.5)])
    monkeypatch.setattr("bsp_hf.training.checkpoints._read_clocks", lambda: next(clock))
    saved = TrainingProgress(steps_done=3).state_dict()
    resumed = TrainingProgress()
    resumed.load_state_dict(saved)
    assert resumed.measure_time() == {"wall_s": 40.0, "cpu_s": 6.0}


def test_nothing_to_resume_is_not_an_error(tmp_path):
    run = Run()
    assert resume_training_state(run.accelerator, tmp_path / "nowhere") is None
    assert run.progress == TrainingProgress()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run = Run()
    for step in (2, 10, 4, 100):
        save_training_state(run.accelerator, tmp_path, step)
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    save_training_state(run.accelerator, tmp_path, 101, keep=1)
    assert names(tmp_path) == ["step-00000101"]
    with pytest.raises(ValueError, match="keep=0"):
        save_training_state(run.accelerator, tmp_path, 102, keep=0)


def test_checkpoint_that_was_never_finished_is_not_taken(tmp_path, monkeypatch):
    run = Run()
    run.train(1)
    save_training_state(run.accelerator, tmp_path, 1)
    run.train(1)

    def fail(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            save_training_state(run.accelerator, tmp_path, 2)
    assert names(tmp_path) == ["step-00000001", "tmp-00000002"]
    other = Run()
    assert resume_training_state(other.accelerator, tmp_path).name == "step-00000001"
    # What is left of it does not get into the way of the next attempt.
    (tmp_path / "tmp-00000002" / "stale").touch()
    saved = save_training_state(run.accelerator, tmp_path, 2)
    assert names(tmp_path) == ["step-00000001", "step-00000002"] and "stale" not in os.listdir(saved)


def test_another_number_of_processes_is_refused(tmp_path):
    run = Run()
    saved = save_training_state(run.accelerator, tmp_path, 1)
    record = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps({**record, "num_processes": 2}))
    with pytest.raises(ValueError, match="was written by 2 processes, this run has 1"):
        resume_training_state(run.accelerator, tmp_path)


def test_other_settings_are_refused_by_name(tmp_path):
    run = Run()
    settings = {"task": "boundary", "speeds": (2.0, 3.0), "seed": 0}
    save_training_state(run.accelerator, tmp_path, 1, settings)
    assert resume_training_state(run.accelerator, tmp_path, settings) is not None
    assert resume_training_state(run.accelerator, tmp_path, {**settings, "speeds": [2.0, 3.0]}) is not None
    with pytest.raises(
        ValueError, match=r"other settings \(seed was 0, is 1; task was 'boundary', is 'speed'\)"
    ):
        resume_training_state(run.accelerator, tmp_path, {**settings, "seed": 1, "task": "speed"})
    with pytest.raises(ValueError, match="batch_size was None, is 8"):
        resume_training_state(run.accelerator, tmp_path, {**settings, "batch_size": 8})


def test_cleared_checkpoints_cannot_come_back(tmp_path):
    run = Run()
    save_training_state(run.accelerator, tmp_path, 1200)
    (tmp_path / "notes.txt").touch()
    clear_training_states(run.accelerator, tmp_path)
    assert names(tmp_path) == ["notes.txt"]
    save_training_state(run.accelerator, tmp_path, 100)
    assert resume_training_state(run.accelerator, tmp_path).name == "step-00000100"
    clear_training_states(run.accelerator, tmp_path / "nowhere")
