"""Parameter groups, optimizers and learning-rate schedules of TSM training, and AdamW for small data."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bsp_hf.pretraining.choices import OPTIMIZERS, SCHEDULES

_BACKBONE = "backbone "  # in front of the names of groups of the backbone's own rate
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def tsm_parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    head_multiplier: float = 5.0,
    backbone_multiplier: float = 1.0,
) -> list[dict]:
    """Group the trainable parameters as the published TSM training does, each into exactly one group.

    Convolution and linear weights learn at the base rate and decay; their biases learn twice as fast without
    decay; normalisation layers do not decay; a classifier learns `head_multiplier` times as fast, its
    bias twice that (SPEC of TSM, Sec. 2.6). Empty groups are left out; `name` says what a group holds. With a
    `backbone_multiplier` other than 1, the groups of the backbone stand first and by themselves.
    """
    # name: (rate, decay) over the base
    inner = {"weight": (1.0, 1.0), "bias": (2.0, 0.0), "normalization": (1.0, 0.0)}
    scaled = {f"{_BACKBONE}{name}": (backbone_multiplier * r, d) for name, (r, d) in inner.items()}
    multipliers = {
        **(scaled if backbone_multiplier != 1 else {}),
        **inner,
        "classifier weight": (head_multiplier, 1.0),
        "classifier bias": (2 * head_multiplier, 0.0),
    }
    members: dict[str, list[nn.Parameter]] = {name: [] for name in multipliers}
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            parts = module_name.split(".")
            kind = "bias" if name == "bias" else "weight"
            if isinstance(module, NORMS):
                kind = "normalization"
            elif parts[0].endswith("classifier"):
                kind = f"classifier {kind}"
            if backbone_multiplier != 1 and "backbone" in parts:
                kind = f"{_BACKBONE}{kind}"
            members[kind].append(parameter)
    return [
        {
            "name": name,
            "params": members[name],
            "lr": learning_rate * rate,
            "weight_decay": weight_decay * decay,
        }
        for name, (rate, decay) in multipliers.items()
        if members[name]
    ]


def default_learning_rate(name: str, clips_per_step: int) -> float:
    """Return 1e-3 for `"adamw"`; for `"sgd"` TSM's 0.02 for 128 clips a step, in proportion to theirs."""
    return 0.02 * clips_per_step / 128 if name == "sgd" else 1e-3


def build_optimizer(
    name: str,
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    momentum: float = 0.9,
    backbone_lr_scale: float = 1.0,
) -> Optimizer:
    """Build the optimizer: `"sgd"` with momentum and the groups of [`tsm_parameter_groups`], or `"adamw"`.

    The groups of AdamW differ in weight decay only: adaptive steps make TSM's rate multipliers pointless. The
    backbone learns `backbone_lr_scale` times as fast as the rest.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {name!r} is unknown; choose one of {', '.join(OPTIMIZERS)}.")
    groups = tsm_parameter_groups(model, learning_rate, weight_decay, backbone_multiplier=backbone_lr_scale)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    for group in groups:
        group["lr"] = learning_rate * (backbone_lr_scale if group["name"].startswith(_BACKBONE) else 1.0)
    return torch.optim.AdamW(groups, lr=learning_rate)


def build_schedule(
    name: str,
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int = 0,
    milestones: Sequence[float] = (0.4, 0.8),
) -> LambdaLR:
    """Build the learning-rate schedule, to be stepped once an optimizer step.

    `"step"` divides the rate by ten at each milestone, a share of the training (by default TSM's epochs 20
    and 40 of 50), `"cosine"` lowers it to zero, `"constant"` leaves it. It rises linearly in the warm-up.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r} is unknown; choose one of {', '.join(SCHEDULES)}.")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must be between 0 and total_steps={total_steps}.")

    def rate_factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if name == "step":
            return 0.1 ** sum(step >= share * total_steps for share in milestones)
        if name == "cosine":
            progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return 1.0

    return LambdaLR(optimizer, rate_factor)
