"""Every model of the encoder package, tiny, with what its loss takes: for properties that all must have."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from bsp_hf import (
    BSPConfig,
    BSPDistilledConfig,
    BSPForBoundaryClassification,
    BSPForBoundaryRegression,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPModel,
    BSPTwoHeadConfig,
    BSPTwoStreamConfig,
    BSPTwoStreamModel,
)
from support.tiny import FAMILIES, random_clips, randomize, tiny_backbone, tiny_config

WIDTH = 32  # of a tiny encoder's feature
NUM_FRAMES = 8


def small_backbone(family: str) -> PreTrainedConfig:
    """As few layers as there are kinds of them, because exporting and compiling take long for each."""
    two_stages = {"hidden_sizes": [8, 16], "depths": [1, 1]}
    fields: dict[str, dict[str, Any]] = {
        "resnet": two_stages,
        "regnet": two_stages,
        "convnext": {"num_stages": 2, **two_stages},
        "convnextv2": {"num_stages": 2, **two_stages},
        "mobilenet_v2": {},  # has as many as it has
        "efficientnet-lite": {
            **two_stages,
            "depths": [1, 2],
            "kernel_sizes": [3, 5],
            "strides": [2, 2],
            "expand_ratios": [1, 2],
        },
    }
    return tiny_backbone(family, **fields.get(family, {"num_hidden_layers": 1}))


def one_encoder(model_class: type[PreTrainedModel], family: str = "resnet", **fields: Any) -> PreTrainedModel:
    return randomize(model_class(BSPConfig(backbone_config=small_backbone(family), **fields))).eval()


def two_head(**fields: Any) -> BSPForTwoHeadClassification:
    fields = {
        "backbone_config": tiny_config().backbone_config,
        "action_names": ["run", "walk", "wave"],
    } | fields
    return randomize(BSPForTwoHeadClassification(BSPTwoHeadConfig(**fields))).eval()


def distilled(**fields: Any) -> BSPForFeatureDistillation:
    fields = {"action_feature_size": 5, "boundary_feature_size": WIDTH, "num_labels": 3} | fields
    fields = {"backbone_config": tiny_config().backbone_config} | fields
    return randomize(BSPForFeatureDistillation(BSPDistilledConfig(**fields))).eval()


def two_stream(first: BSPConfig | None = None) -> BSPTwoStreamModel:
    """The second stream is shallower than the first by default; its features are 16 wide."""
    streams = [first or tiny_config(), BSPConfig(backbone_config=small_backbone("resnet"))]
    return randomize(BSPTwoStreamModel(BSPTwoStreamConfig(stream_configs=streams))).eval()


FUSIONS = {"two-head": two_head, "distilled": distilled, "two-stream": two_stream}


def teacher_features(batch: int = 2, action: int = 5, boundary: int = WIDTH) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "action": torch.randn(batch, action, generator=generator),
        "boundary": torch.randn(batch, boundary, generator=generator),
    }


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Args:
        build: Makes one whose numbers matter, in evaluation mode, without dropout.
        targets: Makes of a batch size what its loss takes beside the clips; nothing where it has no loss.
    """

    build: Callable[[], PreTrainedModel]
    targets: Callable[[int], dict[str, Any]] = lambda batch: {}

    def inputs(self, batch: int, seed: int = 0) -> dict[str, Any]:
        return {"pixel_values": random_clips(batch, NUM_FRAMES, 3, 32, 32, seed=seed), **self.targets(batch)}


def loss_of(output: Any) -> torch.Tensor:
    """The loss; where a model has none, a number that depends on all of its features."""
    loss = output.get("loss")
    return output.pooler_output.square().mean() if loss is None else loss


def _boundaries(batch: int) -> dict[str, Any]:
    return {"labels": torch.arange(batch) % 4}


def _heatmap(batch: int) -> dict[str, Any]:
    return {"labels": torch.linspace(0, 1, batch * NUM_FRAMES).reshape(batch, NUM_FRAMES)}


def _two_labels(batch: int) -> dict[str, Any]:
    # Divided by what an average batch holds, as in training: the first clip of each shows no single action.
    actions = torch.arange(batch) % 3
    actions[0] = -100
    return {**_boundaries(batch), "action_labels": actions, "num_actions_expected": 0.75 * batch}


def _taught(batch: int) -> dict[str, Any]:
    actions = torch.arange(batch) % 3
    actions[0] = -100
    return {
        "labels": actions,
        "num_labels_expected": 0.75 * batch,
        "teacher_features": teacher_features(batch),
    }


_plain: dict[str, Any] = {"classifier_dropout": 0.0}
_small = {"backbone_config": small_backbone("resnet"), **_plain}
EVERY_MODEL = {
    "BSPModel": Kind(partial(one_encoder, BSPModel)),
    "BSPForBoundaryClassification": Kind(
        partial(one_encoder, BSPForBoundaryClassification, **_plain), _boundaries
    ),
    "BSPForBoundaryRegression": Kind(partial(one_encoder, BSPForBoundaryRegression, **_plain), _heatmap),
    **{
        f"BSPForBoundaryClassification-{family}": Kind(
            partial(one_encoder, BSPForBoundaryClassification, family, **_plain), _boundaries
        )
        for family in FAMILIES
        if family != "resnet"
    },
    "BSPTwoStreamModel": Kind(partial(two_stream, BSPConfig(backbone_config=small_backbone("regnet")))),
    "BSPForTwoHeadClassification": Kind(partial(two_head, **_small), _two_labels),
    "BSPForFeatureDistillation": Kind(partial(distilled, **_small), _taught),
}
