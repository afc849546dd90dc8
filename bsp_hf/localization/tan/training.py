"""2D-TAN as it is trained and evaluated: published settings, samples, decoding."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from bsp_hf.localization.grounding.network import GroundingNetwork
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.hyperparameters import Hyperparameters

from .configuration_tan import TANConfig
from .decoding import decode_tan
from .loss import tan_loss
from .modeling_tan import TANForVideoGrounding, TANOutput
from .proposal_map import proposal_layout
from .samples import make_tan_sample

PUBLISHED = Hyperparameters(1e-4, 32, 100, max_grad_norm=10.0)
# The published schedule acts only where there is a validation split beside the test split; Charades-STA has
# none. Choice: what is evaluated on is taken for the validation split.
WITH_PLATEAU = replace(PUBLISHED, plateau_factor=0.8, plateau_patience=20)


def _decode(
    config: TANConfig, output: TANOutput, durations_s: Sequence[float], max_segments: int
) -> list[Detections]:
    maps = output["probabilities"].float().cpu().numpy()
    return decode_tan(maps, durations_s, float(config.nms_threshold), max_segments)


def _measure_losses(config: TANConfig, output: TANOutput, labels: torch.Tensor) -> list[float]:
    mask = torch.from_numpy(proposal_layout(config.num_clips, config.scale_layers).mask)
    bounds = [float(bound) for bound in (config.min_iou, config.max_iou, config.target_bias)]
    rows = zip(output["logits"].float().cpu(), labels.cpu(), strict=True)
    return [tan_loss(logits, mask, ious, *bounds).item() for logits, ious in rows]


TAN = GroundingNetwork(
    config_class=TANConfig,
    model_class=TANForVideoGrounding,
    presets={"charades": PUBLISHED, "activitynet_captions": WITH_PLATEAU, "tacos": WITH_PLATEAU},
    rule="2d-tan",
    make_sample=make_tan_sample,
    decode=_decode,
    measure_losses=_measure_losses,
)
