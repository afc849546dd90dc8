"""Whether a published checkpoint has the tensors of a network."""

from collections.abc import Mapping

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
    expected.update(unused or {})
    missing = [key for key in expected if key not in state_dict]
    unknown = [key for key in state_dict if key not in expected]
    if missing or unknown:
        raise ValueError(
            f"not a {name} checkpoint of this config: {len(missing)} keys missing {missing[:5]}, "
            f"{len(unknown)} unknown {unknown[:5]}. Check the preset and strip any wrapper prefix."
        )
    for key, shape in expected.items():
        if tuple(state_dict[key].shape) != shape:
            raise ValueError(
                f"{name} checkpoint: {key} has the shape {tuple(state_dict[key].shape)}, the config asks for "
                f"{shape}. Check the preset and the widths in the config."
            )
