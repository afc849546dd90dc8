"""LSTMs of the grounding networks, in float32 where a processor has none in half precision."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

_Words = TypeVar("_Words", Tensor, PackedSequence)


def run_lstm(lstm: nn.LSTM, words: _Words) -> _Words:
    """Return the state of an LSTM at every word, computed on a CPU in float32 at least.

    Which processors have an LSTM in bfloat16 or float16 depends on their instructions, and autocast asks for
    one wherever it is switched on.
    """
    weight = lstm.get_parameter("weight_ih_l0")
    dtype = weight.dtype
    if weight.device.type != "cpu":
        return lstm(words.to(dtype))[0]
    computed = torch.promote_types(dtype, torch.float32)
    weights = {name: weight.to(computed) for name, weight in lstm.named_parameters()}
    with torch.autocast("cpu", enabled=False):
        if computed == dtype:
            return lstm(words.to(computed))[0]
        return torch.func.functional_call(lstm, weights, (words.to(computed),))[0].to(dtype)
