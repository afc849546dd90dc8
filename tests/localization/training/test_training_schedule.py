"""The learning rate falls by epochs and on a plateau as published, and goes on where it was."""

import pytest
import torch

from bsp_hf.localization.training.hyperparameters import Hyperparameters
from bsp_hf.localization.training.schedule import LocalizerSchedule


def make(**settings):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1.0)
    return optimizer, LocalizerSchedule(optimizer, Hyperparameters(1.0, 1, 1, **settings), 3)


def run(optimizer, schedule, losses):
    rates = []
    for loss in losses:
        for _ in range(3):
            optimizer.step()
            schedule.after_step()
        schedule.after_evaluation(loss)
        rates.append(schedule.learning_rate)
    return rates


def test_the_rate_is_divided_by_ten_every_so_many_epochs():
    assert run(*make(decay_epochs=2), [None] * 5) == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_without_a_schedule_the_rate_stays():
    for factor in (None, 1):
        assert run(*make(plateau_factor=factor), [1.0, 2.0, 2.0, 2.0]) == [1, 1, 1, 1]


def test_as_published_the_rate_falls_unless_the_loss_rises():
    # The negated loss, whose minimum is waited for: -0.9 and -0.8 are no better than -1.
    settings = {"plateau_factor": 0.8, "plateau_patience": 1}
    assert run(*make(**settings), [1.0, 0.9, 0.8, 0.7, 0.6]) == pytest.approx([1, 1, 0.8, 0.8, 0.64])
    assert run(*make(**settings), [1.0, 1.1, 1.2, 1.3, 1.4]) == [1, 1, 1, 1, 1]


def test_a_resumed_schedule_is_an_uninterrupted_one():
    settings = {"plateau_factor": 0.5, "plateau_patience": 2, "decay_epochs": 3}
    losses = [1.0, 0.9, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7]
    whole = run(*make(**settings), losses)
    optimizer, schedule = make(**settings)
    first = run(optimizer, schedule, losses[:4])
    resumed_optimizer, resumed = make(**settings)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert first + run(resumed_optimizer, resumed, losses[4:]) == whole
    assert whole[-1] == pytest.approx(0.005)  # both have acted, the plateau after the interruption


def test_a_watched_loss_must_be_there():
    _, schedule = make(plateau_factor=0.5)
    with pytest.raises(ValueError, match="decay_epochs"):
        schedule.after_evaluation(None)
