"""Small encoders for the tests: the real architecture, a few channels wide."""

from typing import Any

import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextV2Config,
    MobileNetV2Config,
    PreTrainedConfig,
    PreTrainedModel,
    RegNetConfig,
    ResNetConfig,
    TimesformerConfig,
    VideoMAEConfig,
    VivitConfig,
    VJEPA2Config,
)

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPForBoundaryRegression,
    BSPModel,
    EfficientNetLiteConfig,
)

MODEL_CLASSES = [BSPModel, BSPForBoundaryClassification, BSPForBoundaryRegression]

IMAGE_FAMILIES = ["resnet", "regnet", "convnext", "convnextv2", "mobilenet_v2", "efficientnet-lite"]
VIDEO_FAMILIES = ["videomae", "timesformer", "vivit", "vjepa2"]
FAMILIES = IMAGE_FAMILIES + VIDEO_FAMILIES

# Five blocks with a shortcut, kernels and strides of all kinds, one stage without expansion.
LITE: dict[str, Any] = {
    "stem_size": 16,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 3, 3, 2],
    "kernel_sizes": [3, 3, 5, 5],
    "strides": [1, 2, 2, 2],
    "expand_ratios": [1, 2, 3, 2],
    "feature_size": 48,
}


def tiny_backbone(family: str, **fields: Any) -> PreTrainedConfig:
    """Config of a small backbone; the video models take 8 frames of 32 x 32 pixels, in patches of 16 x 16."""
    stages = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
    layers = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    clips = {"image_size": 32, "num_frames": 8, "intermediate_size": 32}
    narrow = {"depth_multiplier": 0.25, "min_depth": 8, "finegrained_output": False, "expand_ratio": 2.0}
    makers: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
        "resnet": (ResNetConfig, {"embedding_size": 8, "layer_type": "basic", **stages}),
        "regnet": (RegNetConfig, {"embedding_size": 8, "groups_width": 8, **stages}),
        "convnext": (ConvNextConfig, {"layer_scale_init_value": 0.5, **stages}),
        "convnextv2": (ConvNextV2Config, stages),
        "mobilenet_v2": (MobileNetV2Config, narrow),
        "efficientnet-lite": (EfficientNetLiteConfig, LITE),
        "videomae": (VideoMAEConfig, {**layers, **clips, "tubelet_size": 2}),
        "timesformer": (TimesformerConfig, {**layers, **clips}),
        "vivit": (VivitConfig, {**layers, **clips, "tubelet_size": [2, 16, 16]}),
        "vjepa2": (
            VJEPA2Config,
            {
                **layers,
                "crop_size": 32,
                "frames_per_clip": 8,
                "mlp_ratio": 2.0,
                "num_pooler_layers": 1,
                "pred_hidden_size": 24,
                "pred_num_attention_heads": 2,
                "pred_num_hidden_layers": 1,
            },
        ),
    }
    config_class, defaults = makers[family]
    return config_class(**{**defaults, **fields})


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

    def draw(tensor: torch.Tensor, deviation: float, mean: float = 0.0) -> None:
        tensor.copy_(mean + deviation * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                is_weight = name == "weight"
                if is_weight and isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                    draw(parameter, 0.2, mean=1.0)
                elif is_weight and isinstance(module, nn.Linear):
                    draw(parameter, 0.3)
                elif is_weight and isinstance(module, (nn.Conv2d, nn.Conv3d)):
                    draw(parameter, parameter[0].numel() ** -0.5)
                else:  # biases, tokens, positions, scales
                    draw(parameter, 0.1 if isinstance(module, nn.Linear) else 0.2)
            if isinstance(module, nn.BatchNorm2d):
                draw(module.running_mean, 0.2)
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return model


def tiny_model(model_class: type[PreTrainedModel] = BSPModel, **fields: Any) -> PreTrainedModel:
    """A model of a class, with numbers that matter, in evaluation mode."""
    return randomize(model_class(tiny_config(**fields))).eval()


def random_clips(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal pixels `(batch, num_frames, 3, height, width)`, the same on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
