"""Small networks and the state dicts other code bases would save of them, by hand-written rules."""

import re

import torch
from transformers import ResNetConfig, ResNetForImageClassification

RULES = [
    (r"^resnet\.embedder\.embedder\.convolution\.", "conv1."),
    (r"^resnet\.embedder\.embedder\.normalization\.", "bn1."),
    (r"^resnet\.encoder\.stages\.0\.", "layer1."),
    (r"^resnet\.encoder\.stages\.1\.", "layer2."),
    (r"^resnet\.encoder\.stages\.2\.", "layer3."),
    (r"^resnet\.encoder\.stages\.3\.", "layer4."),
    (r"\.?layers\.(\d+)\.", r".\1."),
    (r"\.layer\.0\.convolution\.", ".conv1."),
    (r"\.layer\.1\.convolution\.", ".conv2."),
    (r"\.layer\.2\.convolution\.", ".conv3."),
    (r"\.layer\.0\.normalization\.", ".bn1."),
    (r"\.layer\.1\.normalization\.", ".bn2."),
    (r"\.layer\.2\.normalization\.", ".bn3."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"^classifier\.1\.", "fc."),
]
BASIC = {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 1]}
BOTTLENECK = {"layer_type": "bottleneck", "embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]}


def random_resnet(num_labels=5, **settings):
    """A transformers ResNet whose batch norms have been through something."""
    generator = torch.Generator().manual_seed(7)
    model = ResNetForImageClassification(ResNetConfig(num_labels=num_labels, **settings)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("num_batches_tracked"):
                value.fill_(11)
            elif value.ndim == 1:
                value.copy_((name.endswith("weight")) + 0.2 * torch.randn(value.shape, generator=generator))
            else:
                fan_in = value[0].numel()
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
    return model


def rename_to_torchvision(state_dict):
    renamed = {}
    for key, value in state_dict.items():
        for pattern, name in RULES:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed


def torchvision_weights(**settings):
    return rename_to_torchvision(random_resnet(**settings).state_dict())


def tsm_weights(shift_place="blockres", classifier="new_fc", shifts=lambda block: True, **settings):
    """The network as TSM's own code names it, without `module.`."""
    state_dict = {}
    for key, value in torchvision_weights(**settings).items():
        block = re.match(r"layer\d\.(\d+)", key)
        if block and shifts(int(block[1])):
            if shift_place == "blockres":
                key = re.sub(r"^(layer\d\.\d+\.conv1)\.weight$", r"\1.net.weight", key)
            elif shift_place == "block":
                key = re.sub(r"^(layer\d\.\d+)\.", r"\1.net.", key)
        key = key.replace("fc.", f"{classifier}.") if key.startswith("fc.") else f"base_model.{key}"
        state_dict[key] = value
    return state_dict


def mmaction2_weights(**settings):
    """The network with the shift in its residual branches, as mmaction2 names it."""
    state_dict = {}
    for key, value in torchvision_weights(**settings).items():
        key = re.sub(r"\.downsample\.0\.", ".downsample.conv.", key)
        key = re.sub(r"\.downsample\.1\.", ".downsample.bn.", key)
        key = re.sub(r"^(layer\d\.\d+\.conv1)\.weight$", r"\1.conv.net.weight", key)
        key = re.sub(r"(^|\.)conv(\d)\.weight$", r"\1conv\2.conv.weight", key)
        key = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.bn.", key)
        state_dict[key.replace("fc.", "cls_head.fc_cls.") if key.startswith("fc.") else f"backbone.{key}"] = (
            value
        )
    return state_dict
