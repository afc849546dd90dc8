"""Joins layers: batch norms into convolutions, shortcuts into the last convolution of a block."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import PreTrainedModel

from bsp_hf.encoder.image_backbones import ResNetFamily
from bsp_hf.encoder.modeling_efficientnet_lite import EfficientNetLiteBlock
from bsp_hf.encoder.video_snippets import encode_clips

from .fast_convolutions import PackedConv2d, WinogradConv2d

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@torch.no_grad()
def fold_batch_norms(encoder: PreTrainedModel, pixel_values: Tensor) -> int:
    """Make the batch norms of an encoder part of the convolutions before them.

    Which batch norm follows which convolution is seen in a run on `pixel_values`, so that any architecture
    will do. What else becomes of a convolution's output is not seen: compare the features afterwards. The
    encoder is changed in place; returns how many were folded.
    """
    pairs = find_followers(encoder, pixel_values, BATCH_NORMS)
    for convolution_name, norm_name in pairs:
        # Any: what these names stand for was looked at when they were found
        convolution: Any = encoder.get_submodule(convolution_name)
        norm: Any = encoder.get_submodule(norm_name)
        replace_module(encoder, convolution_name, fuse_conv_bn_eval(convolution, norm))
        replace_module(encoder, norm_name, nn.Identity())
    return len(pairs)


def find_followers(
    encoder: PreTrainedModel, pixel_values: Tensor, kind: type[nn.Module] | tuple[type[nn.Module], ...]
) -> list[tuple[str, str]]:
    """Return the names of convolutions, each with that of the module of a kind whose input is its output.

    They are seen in a run on `pixel_values`; all are used just once, and batch norms keep statistics.
    """
    makers: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no other tensor gets the id of one of them
    pairs: list[tuple[str, str]] = []
    calls: dict[str, int] = {}
    hooks = []

    def watch(name: str, module: nn.Module) -> None:
        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, CONVOLUTIONS):
                makers[id(output)] = name
                kept.append(output)
            elif id(inputs[0]) in makers:
                pairs.append((makers[id(inputs[0])], name))

        hooks.append(module.register_forward_hook(after))

    for name, module in encoder.named_modules():
        lacks_statistics = isinstance(module, BATCH_NORMS) and module.running_mean is None
        if isinstance(module, (kind, *CONVOLUTIONS)) and not lacks_statistics:
            watch(name, module)
    try:
        encode_clips(encoder, pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in dict.fromkeys(pairs) if calls[pair[0]] == calls[pair[1]] == 1]


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Replace the module that `named_modules` calls `name`."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


class JoinedBlock(nn.Module):
    """A residual block of a ResNet or RegNet, of which [`supports`] is true, that writes its output once."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        *before, last = block.layer
        self.before = nn.Sequential(*before)
        self.last = last.convolution
        self.last.rectifies = True
        self.shortcut = block.shortcut

    @staticmethod
    def supports(block: Any) -> bool:
        """Return whether a module is a residual block that ends with a fast convolution, a sum and a ReLU."""
        layer = getattr(block, "layer", None)
        if not (isinstance(layer, nn.Sequential) and len(layer) and hasattr(block, "shortcut")):
            return False
        last: Any = layer[-1]
        return (
            isinstance(getattr(block, "activation", None), nn.ReLU)
            and isinstance(getattr(last, "convolution", None), PackedConv2d | WinogradConv2d)
            and not last.convolution.rectifies
            and all(type(child) is nn.Identity for child in (last.normalization, last.activation))
        )

    def forward(self, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Return the output for what branch and shortcut see, both `(batch, channels, height, width)`."""
        return self.last(self.before(branch_input), self.shortcut(shortcut_input))


class JoinedResNetFamily(ResNetFamily):
    """ResNet and RegNet with a [`JoinedBlock`] in the place of some blocks."""

    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Run a block of either kind."""
        if isinstance(block, JoinedBlock):
            return block(branch_input, shortcut_input)
        return super().join(block, branch_input, shortcut_input)


class JoinedInvertedResidual(nn.Module):
    """A block of an EfficientNet-Lite, of which [`supports`] is true, that adds in its last convolution."""

    has_shortcut = True

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.before = nn.Sequential(block.expand, block.depthwise)
        self.last = block.project.convolution

    @staticmethod
    def supports(block: Any) -> bool:
        """Return whether a module is an inverted residual that ends with a packed convolution and a sum."""
        return (
            type(block) is EfficientNetLiteBlock
            and block.has_shortcut
            and type(block.project.convolution) is PackedConv2d
            and type(block.project.normalization) is nn.Identity
        )

    def forward(self, hidden_states: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return the output for `(batch, channels, height, width)`; adds `shortcut` in its stead if given."""
        return self.last(self.before(hidden_states), hidden_states if shortcut is None else shortcut)


_JOINED = (JoinedBlock, JoinedInvertedResidual)


def join_blocks(encoder: nn.Module) -> int:
    """Replace every residual block that can add the shortcut in its last convolution by one that does.

    Returns how many were.
    """
    found = [(name, kind) for name, m in encoder.named_modules() for kind in _JOINED if kind.supports(m)]
    for name, kind in found:
        replace_module(encoder, name, kind(encoder.get_submodule(name)))
    model: Any  # for mypy, a module's attributes are tensors
    for model in encoder.modules():
        # By attribute, not by class: code from a checkpoint and code of the package have different classes.
        if hasattr(model, "family") and any(isinstance(m, JoinedBlock) for m in model.modules()):
            model.family = JoinedResNetFamily()
    return len(found)
