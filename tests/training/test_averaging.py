"""The moving average of weights: its values, what it does with counts, and that it resumes exactly."""

import copy

import torch
from torch import nn

from bsp_hf.training.averaging import average_weights


def model_with(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    return set_to(model, value)


@torch.no_grad()
def set_to(model: nn.Module, value: float) -> nn.Module:
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.fill_(value)
    return model


def test_the_average_forgets_fast_at_first_and_then_at_its_rate():
    model = model_with(8.0)
    average = average_weights(model, 0.3)
    seen = []
    for value in (8.0, 0.0, 1.0):
        average.update_parameters(set_to(model, value))
        seen.append(average.module[0].weight[0, 0].item())
        assert average.module[1].num_batches_tracked == int(value)
        assert torch.all(average.module[1].running_var == average.module[0].bias)
    # The first is taken as it is; then (1 + 1) / (10 + 1) is kept, then (1 + 2) / (10 + 2).
    torch.testing.assert_close(seen, [8.0, 8 * 2 / 11, 8 * 2 / 11 / 4 + 3 / 4])
    for _ in range(50):
        average.update_parameters(set_to(model, 0.0))
    before = average.module[0].weight[0, 0].item()
    average.update_parameters(set_to(model, 1.0))
    torch.testing.assert_close(average.module[0].weight[0, 0].item(), 0.3 * before + 0.7)


def test_an_average_that_was_saved_goes_on_to_the_same_bits():
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    average = average_weights(model, 0.9)
    other = average_weights(copy.deepcopy(model), 0.9)
    for step in range(6):
        with torch.no_grad():
            model.weight += torch.randn(3, 3)
        average.update_parameters(model)
        if step < 3:
            other.update_parameters(model)
            state = copy.deepcopy(other.state_dict())
        else:
            if step == 3:
                other = average_weights(nn.Linear(3, 3), 0.9)
                other.load_state_dict(state)
            other.update_parameters(model)
    assert torch.equal(average.module.weight, other.module.weight)
    assert not torch.equal(average.module.weight, model.weight)
