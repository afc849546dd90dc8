"""Published 2D-TAN and LGI checkpoints to this package's state dicts and back; pure functions."""

import torch
from transformers import PreTrainedModel

from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.tan.configuration_tan import TANConfig

StateDict = dict[str, torch.Tensor]


def expected_shapes(
    model_class: type[PreTrainedModel], config: TANConfig | LGIConfig
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a model of this config holds, by key."""
    with torch.device("meta"):
        model = model_class(config)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def check_fit(state_dict: StateDict, expected: dict[str, tuple[int, ...]], name: str) -> None:
    """Check that a state dict has the keys and shapes of a network."""
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
                f"{name} checkpoint: {key} has shape {tuple(state_dict[key].shape)}, "
                f"the config asks for {shape}."
            )
