"""The temporal shift: golden vectors, gradients, memory formats, and blocks that run under checkpointing."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import ResNetConfig, ResNetModel

from bsp_hf.encoder.image_backbones import ResNetFamily
from bsp_hf.encoder.modeling_tsm import (
    _shift_functional,
    checkpoint_block,
    run_residual_block,
    shifted_blocks,
    temporal_shift,
)

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def shift_by_hand(frames: torch.Tensor, num_frames: int, shift_div: int) -> torch.Tensor:
    """SPEC 2.1 frame by frame and channel by channel."""
    fold = frames.shape[1] // shift_div
    shifted = torch.zeros_like(frames)
    for n in range(frames.shape[0]):
        clip, t = divmod(n, num_frames)
        for c in range(frames.shape[1]):
            source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
            if 0 <= source < num_frames:
                shifted[n, c] = frames[clip * num_frames + source, c]
    return shifted


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("number", range(5))
def test_shift_and_its_gradient_equal_the_golden_vectors_bit_for_bit(golden, number, layout):
    case = golden("tsm/temporal_shift_op")
    config = case.meta["config"]["cases"][number]
    x = torch.from_numpy(case.inputs[f"x{number}"]).to(memory_format=LAYOUTS[layout]).requires_grad_()
    shifted = temporal_shift(x, config["num_segments"], config["shift_div"])
    shifted.backward(torch.from_numpy(case.inputs[f"grad_out{number}"]).to(memory_format=LAYOUTS[layout]))
    assert torch.equal(shifted.detach(), torch.from_numpy(case.outputs[f"y{number}"]))
    assert torch.equal(x.grad, torch.from_numpy(case.outputs[f"grad_in{number}"]))


@pytest.mark.parametrize(
    ("batch", "num_frames", "channels", "shift_div"),
    [(2, 8, 16, 8), (1, 3, 17, 8), (3, 1, 8, 4), (2, 2, 9, 3), (1, 5, 6, 2), (2, 4, 7, 8)],
)
def test_shift_equals_a_loop_over_frames_and_channels(batch, num_frames, channels, shift_div):
    x = torch.randn(batch * num_frames, channels, 3, 2)
    assert torch.equal(temporal_shift(x, num_frames, shift_div), shift_by_hand(x, num_frames, shift_div))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_format_survives_the_shift_and_its_gradient(layout):
    x = torch.randn(6, 16, 4, 5).to(memory_format=LAYOUTS[layout]).requires_grad_()
    shifted = temporal_shift(x, 3, 8)
    assert shifted.is_contiguous(memory_format=LAYOUTS[layout])
    shifted.backward(torch.randn(6, 16, 4, 5).to(memory_format=LAYOUTS[layout]))
    assert x.grad.is_contiguous(memory_format=LAYOUTS[layout])


def test_shift_makes_a_new_tensor_and_leaves_its_input_alone():
    x = torch.randn(4, 8, 2, 2)
    before = x.clone()
    shifted = temporal_shift(x, 2, 8)
    shifted.zero_()
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_shift_keeps_the_dtype_and_moves_values_unchanged(dtype):
    x = torch.randn(8, 16, 2, 3).to(dtype)
    shifted = temporal_shift(x, 4, 8)
    assert shifted.dtype == dtype
    assert torch.equal(shifted, shift_by_hand(x, 4, 8))


@pytest.mark.parametrize(
    ("num_frames", "channels", "shift_div"), [(4, 16, 8), (1, 8, 8), (8, 10, 4), (2, 9, 3)]
)
def test_functional_form_equals_the_eager_form_with_its_gradient(num_frames, channels, shift_div):
    x = torch.randn(2 * num_frames, channels, 2, 3)
    gradient = torch.randn_like(x)
    eager_input, functional_input = x.clone().requires_grad_(), x.clone().requires_grad_()
    eager = temporal_shift(eager_input, num_frames, shift_div)
    functional = _shift_functional(functional_input, num_frames, channels // shift_div)
    assert torch.equal(eager, functional)
    eager.backward(gradient)
    functional.backward(gradient)
    assert torch.equal(eager_input.grad, functional_input.grad)


def test_exported_program_shifts_like_eager_mode():
    class Shift(nn.Module):
        def forward(self, x):
            return temporal_shift(x, 4, 8)

    x = torch.randn(8, 16, 2, 2)
    exported = torch.export.export(Shift(), (x,)).module()
    assert torch.equal(exported(x), temporal_shift(x, 4, 8))


def test_first_and_second_derivatives_are_right():
    x = torch.randn(6, 8, 1, 2, dtype=torch.float64, requires_grad=True)

    def shift_squared(t):
        return temporal_shift(t, 3, 4) ** 2  # squared, so that the second derivative is not zero

    assert torch.autograd.gradcheck(shift_squared, (x,))
    assert torch.autograd.gradgradcheck(shift_squared, (x,))


def test_frames_that_do_not_make_whole_clips_are_refused():
    with pytest.raises(ValueError, match="7 frames, which is not a multiple of num_frames=4"):
        temporal_shift(torch.zeros(7, 8, 2, 2), 4, 8)


def test_a_divisor_that_leaves_no_room_for_both_directions_is_refused():
    with pytest.raises(ValueError, match="shift_div=1 must be at least 2"):
        temporal_shift(torch.zeros(4, 8, 2, 2), 4, 1)


def test_fewer_channels_than_the_divisor_move_nothing():
    x = torch.randn(6, 7, 2, 2)
    assert torch.equal(temporal_shift(x, 3, 8), x)


@pytest.mark.parametrize(
    ("depths", "places"),
    [
        ([2, 2, 2, 2], [[0, 1]] * 4),  # ResNet-18
        ([3, 4, 6, 3], [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2]]),  # ResNet-34 and -50
        ([3, 4, 23, 3], [[0, 2], [0, 2], list(range(0, 23, 2)), [0, 2]]),  # ResNet-101
        ([3, 8, 36, 3], [[0, 2], [0, 2, 4, 6], list(range(0, 36, 2)), [0, 2]]),  # ResNet-152
        ([1, 1], [[0], [0]]),
    ],
)
def test_blocks_that_shift(depths, places):
    flags = shifted_blocks(depths)
    assert [len(stage) for stage in flags] == depths
    assert [[block for block, shifts in enumerate(stage) if shifts] for stage in flags] == places


def first_block(layer_type: str = "basic") -> nn.Module:
    config = ResNetConfig(embedding_size=16, hidden_sizes=[16], depths=[1], layer_type=layer_type)
    torch.manual_seed(0)
    block = ResNetModel(config).encoder.stages[0].layers[0]
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return block


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
def test_shift_place_decides_what_the_shortcut_sees(layer_type):
    block = first_block(layer_type).eval()
    x = torch.randn(4, 16, 4, 4)
    shifted = shift_by_hand(x, 4, 8)
    expected = {
        "none": block(x),
        "block": block(shifted),
        "blockres": block.activation(block.layer(shifted) + block.shortcut(x)),
    }
    join = partial(ResNetFamily().join, block)
    for place, value in expected.items():
        assert torch.equal(run_residual_block(x, 4, 8, place, join), value), place
    assert not torch.equal(expected["blockres"], expected["block"])


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointed_block_counts_a_batch_once_and_gives_the_same_gradients(use_reentrant):
    plain, checkpointed = first_block().train(), first_block().train()
    x = torch.randn(4, 16, 4, 4)
    results = []
    for block in (plain, checkpointed):
        join = partial(ResNetFamily().join, block)
        run = partial(run_residual_block, num_frames=2, shift_div=8, shift_place="blockres", join=join)
        block_input = x.clone().requires_grad_()
        if block is checkpointed:
            output = checkpoint_block(
                partial(checkpoint, use_reentrant=use_reentrant), block, run, block_input
            )
        else:
            output = run(block_input)
        output.pow(2).sum().backward()
        results.append((output.detach(), block_input.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=0)
    norms = [m for m in checkpointed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [1, 1]
    for (name, expected), actual in zip(
        plain.state_dict().items(), checkpointed.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, actual), name
    for (name, expected), actual in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(expected.grad, actual.grad), name


def test_checkpointed_block_keeps_its_statistics_when_the_recomputation_fails():
    block = first_block().train()
    calls = []

    def run(x):
        calls.append(len(calls))
        normalized = block.layer[0].normalization(x)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return block(normalized)

    output = checkpoint_block(partial(checkpoint, use_reentrant=False), block, run, torch.randn(2, 16, 4, 4))
    statistics = {name: value.clone() for name, value in block.named_buffers()}
    with pytest.raises(RuntimeError, match="out of memory"):
        output.sum().backward()
    assert calls == [0, 1]
    for name, value in block.named_buffers():
        assert torch.equal(value, statistics[name]), name
