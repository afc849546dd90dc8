"""Checkpoints are whole or absent, belong to one run, and hold all that training needs to go on exactly."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from bsp_hf.pretraining.run.optimization import build_schedule
from bsp_hf.training import checkpoints as checkpoints_module
from bsp_hf.training.checkpoints import TrainingCheckpoints, TrainingProgress


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

    def checkpoints(self, folder: Path, settings: dict | None = None, keep: int = 2) -> TrainingCheckpoints:
        return TrainingCheckpoints(self.accelerator, folder, self.progress, self.schedule, settings, keep)

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
    saved = first.checkpoints(tmp_path).save()
    assert saved == tmp_path / "step-00000004"
    first.train(2)  # lost with the process

    second = Run()
    torch.manual_seed(99)
    assert second.checkpoints(tmp_path).resume(7) == saved
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
    assert run.checkpoints(tmp_path / "nowhere").resume() is None
    assert run.progress == TrainingProgress()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run = Run()
    for run.progress.steps_done in (2, 10, 4, 100):
        run.checkpoints(tmp_path).save()
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    run.progress.steps_done = 101
    run.checkpoints(tmp_path, keep=1).save()
    assert names(tmp_path) == ["step-00000101"]
    with pytest.raises(ValueError, match="keep=0"):
        run.checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("name", ["save_state", "rename", "_write_run_file"])
def test_a_checkpoint_that_was_never_finished_is_not_there(tmp_path, monkeypatch, name):
    run = Run()
    run.train(1)
    run.checkpoints(tmp_path).save()
    run.train(1)

    def fail(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            {"save_state": run.accelerator, "rename": Path}.get(name, checkpoints_module), name, fail
        )
        with pytest.raises(KeyboardInterrupt):
            run.checkpoints(tmp_path).save()
    assert names(tmp_path) == ["step-00000001"]
    assert Run().checkpoints(tmp_path).resume().name == "step-00000001"
    # The next attempt is not in its way.
    run.checkpoints(tmp_path).save()
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_folders_of_others_beside_the_checkpoints_are_none(tmp_path):
    run = Run()
    for run.progress.steps_done in (1, 2):
        run.checkpoints(tmp_path).save()
        (tmp_path / "step-best").mkdir(exist_ok=True)
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-best"]
    assert run.checkpoints(tmp_path).resume().name == "step-00000002"
    run.checkpoints(tmp_path).clear()
    assert names(tmp_path) == ["step-best"]


def test_another_number_of_processes_is_refused(tmp_path, monkeypatch):
    run = Run()
    with monkeypatch.context() as patch:
        patch.setattr(type(run.accelerator), "num_processes", 2)
        run.checkpoints(tmp_path).save()
    with pytest.raises(ValueError, match="was written by 2 processes, this run has 1"):
        run.checkpoints(tmp_path).resume()


def test_other_settings_are_refused_by_name(tmp_path):
    run = Run()
    settings = {"task": "boundary", "speeds": (2.0, 3.0), "seed": 0}
    run.checkpoints(tmp_path, settings).save()
    assert run.checkpoints(tmp_path, settings).resume() is not None
    assert run.checkpoints(tmp_path, {**settings, "speeds": [2.0, 3.0]}).resume() is not None
    with pytest.raises(
        ValueError, match=r"other settings \(seed was 0, is 1; task was 'boundary', is 'speed'\)"
    ):
        run.checkpoints(tmp_path, {**settings, "seed": 1, "task": "speed"}).resume()
    with pytest.raises(ValueError, match="batch_size was None, is 8"):
        run.checkpoints(tmp_path, {**settings, "batch_size": 8}).resume()


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    run = Run()
    run.train(3)
    run.checkpoints(tmp_path).save()
    assert run.checkpoints(tmp_path).resume(3) is not None
    with pytest.raises(ValueError, match=r"has 3 steps, more than the 2 asked for; ask for more"):
        run.checkpoints(tmp_path).resume(2)


def test_cleared_checkpoints_cannot_come_back(tmp_path):
    run = Run()
    run.progress.steps_done = 1200
    run.checkpoints(tmp_path).save()
    (tmp_path / "notes.txt").touch()
    run.checkpoints(tmp_path).clear()
    assert names(tmp_path) == ["notes.txt"]
    run.progress.steps_done = 100
    run.checkpoints(tmp_path).save()
    assert run.checkpoints(tmp_path).resume().name == "step-00000100"
    run.checkpoints(tmp_path / "nowhere").clear()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = ("model.safetensors", "optimizer.bin", "random_states_0.pkl", "run.json")


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    run = Run()
    for _ in range(2):
        run.train(2)
        run.checkpoints(folder).save()
    assert sorted(names(folder / "step-00000004")) == sorted(FILES)
    return folder


@pytest.mark.parametrize("damage", [cut, flip_bit, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    name, damage, two_checkpoints, tmp_path, caplog
):
    folder = Path(shutil.copytree(two_checkpoints, tmp_path / "checkpoints"))
    damage(folder / "step-00000004" / name)
    resumed = Run()
    assert resumed.checkpoints(folder).resume().name == "step-00000002"
    assert resumed.progress.steps_done == 2
    told = caplog.text.replace(f"{name} has changed", f"{name} is").replace(f"lacks {name}", f"{name} is")
    assert "step-00000004 is damaged and passed over: " in told and f"{name} is" in told


def test_without_one_whole_checkpoint_training_does_not_start_over_by_itself(two_checkpoints, tmp_path):
    folder = Path(shutil.copytree(two_checkpoints, tmp_path / "checkpoints"))
    for checkpoint in folder.iterdir():
        cut(checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* can be used; start over"):
        Run().checkpoints(folder).resume()


class Planted:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "name", ["custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "sampler.bin"]
)
def test_code_in_a_checkpoint_does_not_run(name, two_checkpoints, tmp_path):
    """Neither where it does not belong to the checkpoint, nor where somebody wrote its digest too."""
    folder, proof = Path(shutil.copytree(two_checkpoints, tmp_path / "checkpoints")), tmp_path / "it-ran"
    planted = folder / "step-00000004"
    torch.save({"state": Planted(proof)}, planted / name)
    assert Run().checkpoints(folder).resume().name == "step-00000002"
    run = json.loads((planted / "run.json").read_text())
    del run["digest"]
    checkpoints_module._write_run_file(planted, **run)
    with contextlib.suppress(Exception):  # whatever refuses it
        Run().checkpoints(folder).resume()
    assert not proof.exists()
    torch.load(planted / name, weights_only=False)
    assert proof.exists()


def test_the_refusal_of_all_checkpoints_says_what_is_wrong_with_the_newest(tmp_path):
    run = Run()
    run.train(2)
    saved = run.checkpoints(tmp_path).save()
    (saved / "optimizer.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"step-00000002: optimizer\.bin has changed"):
        Run().checkpoints(tmp_path).resume()
