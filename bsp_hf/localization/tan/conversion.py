"""Published 2D-TAN and LGI checkpoints to this package's state dicts and back; pure functions."""

from collections.abc import Mapping

import torch

from bsp_hf.localization.localizer.state_dicts import StateDict, check_fit, expected_shapes

from .configuration_tan import TANConfig
from .modeling_tan import TANForVideoGrounding

# 1x1 convolutions of the published network that are linear layers here, with the axes behind the matrix.
TAN_POINTWISE = {"frame_layer.vis_conv.weight": 1, "fusion_layer.vis_conv.weight": 2, "pred_layer.weight": 2}


def convert_tan_state_dict(state_dict: Mapping[str, torch.Tensor], config: TANConfig) -> StateDict:
    """Convert a published 2D-TAN checkpoint, which is a bare state dict.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): What the `.pkl` file holds.
        config (`TANConfig`): The setting it was trained with, for instance `TANConfig.charades()`.

    Returns:
        `dict`: State dict for [`TANForVideoGrounding`]. Tensors share memory with the input.

    Raises:
        ValueError: If a key is missing or unknown, or a shape does not fit the config.
    """
    converted = {
        key: value.flatten(1) if key in TAN_POINTWISE and value.ndim == 2 + TAN_POINTWISE[key] else value
        for key, value in state_dict.items()
    }
    check_fit(converted, expected_shapes(TANForVideoGrounding, config), "2D-TAN")
    return converted


def export_tan_state_dict(state_dict: Mapping[str, torch.Tensor]) -> StateDict:
    """Convert a state dict of [`TANForVideoGrounding`] to the published layout.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): `model.state_dict()`.

    Returns:
        `dict`: A bare state dict that the published 2D-TAN code loads. Tensors share memory with the input.
    """
    return {
        key: value.reshape(*value.shape, *[1] * TAN_POINTWISE[key]) if key in TAN_POINTWISE else value
        for key, value in state_dict.items()
    }
