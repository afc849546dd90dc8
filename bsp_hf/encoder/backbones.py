"""The backbones that the encoder knows, by the `model_type` of their configs."""

from typing import Any, TypeVar

import torch
from torch import nn

from .backbone_family import BackboneFamily
from .image_backbones import ConvNextFamily, EfficientNetLiteFamily, MobileNetV2Family, ResNetFamily
from .video_backbones import TimesformerFamily, VideoMAEFamily, VivitFamily, VJEPA2Family

_Module = TypeVar("_Module", bound=nn.Module)

# To add one, write its family and name it here.
BACKBONES: dict[str, BackboneFamily] = {
    "resnet": ResNetFamily(),
    "regnet": ResNetFamily(),
    "convnext": ConvNextFamily(),
    "convnextv2": ConvNextFamily(),
    "mobilenet_v2": MobileNetV2Family(),
    "efficientnet-lite": EfficientNetLiteFamily(),
    "videomae": VideoMAEFamily(),
    "timesformer": TimesformerFamily(),
    "vivit": VivitFamily(),
    "vjepa2": VJEPA2Family(),
}


def find_family(config: Any) -> BackboneFamily:  # Any: a field may hold a dict until it is resolved
    """Return how the encoder runs the backbone that has this config; an unknown one is a `ValueError`."""
    if config.model_type not in BACKBONES:
        raise ValueError(
            f"A backbone of model_type {config.model_type!r} is neither a network with residual stages to "
            f"shift frames in front of nor a video model that is known here; take one of "
            f"{', '.join(BACKBONES)}."
        )
    return BACKBONES[config.model_type]


def to_channels_last(model: _Module) -> _Module:
    """Store the weights of 2-D convolutions with channels last, in place.

    `model.to(memory_format=torch.channels_last)` does the same, but fails where there are 3-D convolutions.
    """
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return model
