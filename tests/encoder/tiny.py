"""Small encoders for the tests: the real architecture, a few channels wide."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, ResNetConfig

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPForBoundaryRegression,
    BSPModel,
)

MODEL_CLASSES = [BSPModel, BSPForBoundaryClassification, BSPForBoundaryRegression]


def tiny_config(**fields: Any) -> BSPConfig:
    """Four stages of one basic block; 32 features a frame."""
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic"
    )
    return BSPConfig(backbone_config=backbone, **fields)


def tiny_extractor(**settings: Any) -> BSPFeatureExtractor:
    """Frames of 32 x 32 pixels, so that four halvings leave something."""
    settings = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}} | settings
    return BSPFeatureExtractor(**settings)


def randomize(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Fill every parameter and every batch-norm statistic with numbers that matter.

    As initialised, batch norms are the identity in evaluation and the head is almost zero, which would let
    many mistakes pass.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(1 + 0.2 * torch.randn(module.weight.shape, generator=generator))
                module.bias.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
                module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
            elif isinstance(module, nn.Linear):
                module.weight.copy_(0.3 * torch.randn(module.weight.shape, generator=generator))
                module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
            elif isinstance(module, nn.Conv2d):
                deviation = module.weight[0].numel() ** -0.5
                module.weight.copy_(deviation * torch.randn(module.weight.shape, generator=generator))
    return model


def tiny_model(model_class: type[PreTrainedModel] = BSPModel, **fields: Any) -> PreTrainedModel:
    """A model of a class, with numbers that matter, in evaluation mode."""
    return randomize(model_class(tiny_config(**fields))).eval()


def random_clips(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal pixels `(batch, num_frames, 3, height, width)`, the same on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
