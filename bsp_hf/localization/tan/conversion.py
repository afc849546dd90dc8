"""Published 2D-TAN checkpoints to state dicts of this package."""

from collections.abc import Mapping

import torch

from bsp_hf.localization.localizer.state_dicts import StateDict, check_state_dict

from .configuration_tan import TANConfig
from .modeling_tan import TANForVideoGrounding

# 1x1 convolutions of the published network that are linear layers here, with the axes behind the matrix.
TAN_POINTWISE = {"frame_layer.vis_conv.weight": 1, "fusion_layer.vis_conv.weight": 2, "pred_layer.weight": 2}


def convert_tan_state_dict(state_dict: Mapping[str, torch.Tensor], config: TANConfig) -> StateDict:
    """Convert a published 2D-TAN checkpoint, which is a bare state dict; tensors share memory."""
    converted = {
        key: value.flatten(1) if key in TAN_POINTWISE and value.ndim == 2 + TAN_POINTWISE[key] else value
        for key, value in state_dict.items()
    }
    check_state_dict(converted, TANForVideoGrounding, config, "2D-TAN")
    return converted
