"""Whether a checkpoint of another code base has the tensors of a network."""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedConfig, PreTrainedModel

StateDict = dict[str, torch.Tensor]


def check_state_dict(
    state_dict: Mapping[str, torch.Tensor],
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    name: str,
    unused: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Check that a checkpoint has the keys and shapes of a network, and of `unused` tensors beside it."""
    with torch.device("meta"):
        model = model_class(config)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    check_tensors(
        state_dict,
        {**expected, **(unused or {})},
        f"{name} with this config",
        "Check the preset and the widths in the config, and strip any wrapper prefix.",
    )


def check_tensors(
    found: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], what: str, advice: str
) -> None:
    """Check that tensors have exactly the expected keys and shapes; the error names those that differ."""
    misshapen = [
        f"{key} is {tuple(found[key].shape)}, expected {shape}"
        for key, shape in expected.items()
        if key in found and tuple(found[key].shape) != shape
    ]
    faults = {
        "missing": [key for key in expected if key not in found],
        "unknown": [key for key in found if key not in expected],
        "of another shape": misshapen,
    }
    texts = [f"{len(keys)} {fault} ({shorten_names(keys)})" for fault, keys in faults.items() if keys]
    if texts:
        raise ValueError(f"the checkpoint is not {what}: {'; '.join(texts)}. {advice}")


def shorten_names(names: Sequence[str], most: int = 6) -> str:
    """Join names for a message, such as `"a, b and 3 more"`; empty without names."""
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text
