"""What a training loop logs: means between two entries, scores, and no time that evaluation took."""

from types import SimpleNamespace

import pytest
import torch

from bsp_hf.training import log as log_module
from bsp_hf.training.checkpoints import TrainingProgress
from bsp_hf.training.finite import NotFiniteError
from bsp_hf.training.log import BrokenDataError, TrainingLog


class TwoProcesses(SimpleNamespace):
    """An accelerator whose other process always has a loss that is larger by 2."""

    num_processes, is_main_process = 2, True

    def gather(self, losses):
        return torch.cat([losses, losses + 2])

    def log(self, values, step):
        self.tracked.append((step, values))


def log_of(total_steps):
    progress = TrainingProgress()
    return TrainingLog(TwoProcesses(tracked=[]), progress, total_steps, "training"), progress


def run_step(log, progress, *losses, **options):
    for loss in losses:
        log.add_batch(torch.tensor(loss, requires_grad=True), 4)
    progress.steps_done += 1
    log.end_step(0.5, **options)


def test_a_mean_covers_all_batches_since_the_last_one_on_every_process():
    log, progress = log_of(total_steps=60)  # every third step
    run_step(log, progress, 1.0, 2.0)
    run_step(log, progress, 3.0, 6.0)
    assert progress.history == []
    run_step(log, progress, 0.0, 0.0)
    run_step(log, progress, 7.0, ends_mean=True)
    run_step(log, progress, 8.0)
    run_step(log, progress, 10.0)
    assert [(entry["step"], entry["loss"]) for entry in progress.history] == [(3, 3.0), (4, 8.0), (6, 10.0)]
    assert list(progress.history[0]) == ["step", "loss", "learning_rate", "clips_per_s"]
    assert progress.history[0]["learning_rate"] == 0.5
    assert [step for step, _ in log.accelerator.tracked] == [3, 4, 6]


def test_other_losses_have_means_of_their_own():
    log, progress = log_of(total_steps=2)
    for loss, other in ((1.0, 4.0), (3.0, 8.0)):
        log.add_batch(torch.tensor(loss), 4, held=torch.tensor(other))
    progress.steps_done += 1
    log.end_step(0.5)
    run_step(log, progress, 5.0)
    # The other process has 2 more in each.
    assert [(entry["loss"], entry.get("held")) for entry in progress.history] == [(3.0, 7.0), (6.0, None)]


@pytest.mark.parametrize(("total_steps", "every"), [(2, 1), (39, 1), (100, 5), (5000, 50)])
def test_about_twenty_means_are_logged_and_none_is_later_than_fifty_steps(total_steps, every):
    assert log_of(total_steps)[0].log_every == every


def test_the_last_step_is_always_logged():
    log, progress = log_of(total_steps=50)  # every second step
    progress.steps_done = 48
    run_step(log, progress, 1.0)
    run_step(log, progress, 3.0)
    assert [(entry["step"], entry["loss"]) for entry in progress.history] == [(50, 3.0)]


def test_scores_are_kept_whole_and_trackers_get_their_numbers():
    log, progress = log_of(total_steps=2)
    progress.steps_done = 1
    log.write_scores({"eval_accuracy": 0.5, "eval_num_clips": 8, "eval_recall": [0.1, 0.9]})
    log.close()
    kept = {"step": 1, "eval_accuracy": 0.5, "eval_num_clips": 8, "eval_recall": [0.1, 0.9]}
    assert progress.history == [kept]
    assert log.accelerator.tracked == [(1, {"eval_accuracy": 0.5})]


def test_scores_are_looked_for_at_the_step_of_the_run():
    log, progress = log_of(total_steps=3)
    run_step(log, progress, 1.0)
    assert not log.has_scores
    log.write_scores({"eval_loss": 0.5})
    assert log.has_scores
    run_step(log, progress, 1.0)
    assert not log.has_scores


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_not_logged(value):
    log, progress = log_of(total_steps=2)
    with pytest.raises(NotFiniteError, match=f"eval_loss is {value} at step 0"):
        log.write_scores({"eval_loss": value})
    assert progress.history == []


def test_the_rate_counts_the_clips_of_all_processes_and_no_evaluation(monkeypatch):
    seconds = iter([0.0, 100.0, 102.0, 102.0])
    monkeypatch.setattr("bsp_hf.training.log.time.perf_counter", lambda: next(seconds))
    log, progress = log_of(total_steps=60)
    log.add_batch(torch.tensor(1.0), 4)
    log.write_scores({})  # ends at 100 s, and what came before is not counted
    run_step(log, progress, 1.0, 1.0, ends_mean=True)  # 2 batches of 4 clips, 2 processes, 2 seconds
    assert progress.history[-1]["clips_per_s"] == 8.0


class Alone(TwoProcesses):
    num_processes = 1

    def gather(self, values):
        return values


def test_replaced_clips_are_counted_and_too_many_stop_the_run(caplog):
    progress = TrainingProgress()
    log = TrainingLog(Alone(tracked=[]), progress, 400, "training", most_replaced_share=0.05)
    for number in range(300):
        replaced = torch.zeros(10, dtype=torch.bool)
        replaced[: 1 if number < 100 else 0] = True  # a tenth of the first thousand
        log.add_batch(torch.tensor(1.0), 10, replaced)
        progress.steps_done += 1
        if number == 59:
            with pytest.raises(
                BrokenDataError, match=r"60 of 600 clips .* more than --max_replaced_share 0.05"
            ):
                log.end_step(0.5)
            assert "60 of 600 clips were replaced" in caplog.text
            break
        log.end_step(0.5)
    # 50 of 1000 are the share itself, however few clips there were.
    assert (progress.clips_drawn, progress.clips_replaced) == (600, 60)
    other = TrainingProgress()
    other.load_state_dict(progress.state_dict())
    assert other == progress
    other.load_state_dict({"epoch": 3})  # of before they were counted
    assert (other.epoch, other.clips_replaced) == (3, 60)


def test_replaced_clips_of_all_processes_are_added():
    log, progress = log_of(total_steps=20)
    log.add_batch(torch.tensor(1.0), 4, torch.tensor([True, False, False, False]))
    progress.steps_done += 1
    log.end_step(0.5)
    assert (progress.clips_drawn, progress.clips_replaced) == (8, 4)  # 1 here, 1 + 2 there


def test_a_run_without_a_bar_says_once_how_long_it_will_take(monkeypatch, caplog):
    monkeypatch.setattr(log_module, "shows_progress", lambda accelerator: False)
    monkeypatch.setattr(log_module, "_FIRST_ESTIMATE_S", 0.0)
    caplog.set_level("INFO")
    progress = TrainingProgress()
    log = TrainingLog(Alone(tracked=[]), progress, 400, "training")
    for _ in range(3):
        run_step(log, progress, 1.0)
    assert [" left, at " in line for line in caplog.messages].count(True) == 1
