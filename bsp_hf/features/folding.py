"""Batch norms folded into the convolutions before them: the same numbers, one pass over memory less."""

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import PreTrainedModel

from bsp_hf.encoder.video_snippets import encode_clips

logger = logging.getLogger(__name__)

# Relative; rounding moves a feature by some 1e-6.
_LARGEST_DIFFERENCE = 1e-4
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def fold_batch_norms(encoder: PreTrainedModel, pixel_values: Tensor) -> PreTrainedModel:
    """Return a copy of an encoder whose batch norms are part of the convolutions before them.

    Which batch norm follows which convolution is seen in a run on `pixel_values`, so that any architecture
    will do. The features of the copy are then compared with those of the encoder.

    Args:
        encoder (`PreTrainedModel`): In evaluation mode and float32; left as it is.
        pixel_values (`torch.Tensor`): `(1, num_frames, 3, height, width)`, any clip that the encoder takes.

    Returns:
        `PreTrainedModel`: The folded copy; a plain one if there is nothing to fold, or if folding would
            change a feature by more than rounding does.
    """
    folded = copy.deepcopy(encoder)
    if not any(isinstance(module, _BatchNorm) for module in folded.modules()):
        return folded
    expected = encode_clips(encoder, pixel_values)
    for convolution_name, norm_name in _find_pairs(folded, pixel_values):
        # Any: what these names stand for was looked at when they were found
        convolution: Any = folded.get_submodule(convolution_name)
        norm: Any = folded.get_submodule(norm_name)
        _replace(folded, convolution_name, fuse_conv_bn_eval(convolution, norm))
        _replace(folded, norm_name, nn.Identity())
    difference = (encode_clips(folded, pixel_values) - expected).norm() / expected.norm().clamp(min=1e-12)
    if not difference <= _LARGEST_DIFFERENCE:  # NaN is no agreement either
        logger.warning(
            "The batch norms of %s are not folded: that would change its features by %.1e.",
            type(encoder).__name__,
            difference,
        )
        return copy.deepcopy(encoder)
    return folded


def _find_pairs(encoder: PreTrainedModel, pixel_values: Tensor) -> list[tuple[str, str]]:
    """Names of the convolutions whose output is the input of a batch norm, and of that; each used once."""
    makers: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no other tensor gets the id of one of them
    pairs: list[tuple[str, str]] = []
    calls: dict[str, int] = {}
    hooks = []

    def watch(name: str, module: nn.Module) -> None:
        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, _CONVOLUTIONS):
                makers[id(output)] = name
                kept.append(output)
            elif id(inputs[0]) in makers:
                pairs.append((makers[id(inputs[0])], name))

        hooks.append(module.register_forward_hook(after))

    for name, module in encoder.named_modules():
        is_norm = isinstance(module, _BatchNorm) and module.running_mean is not None
        if is_norm or isinstance(module, _CONVOLUTIONS):
            watch(name, module)
    try:
        encode_clips(encoder, pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in dict.fromkeys(pairs) if calls[pair[0]] == calls[pair[1]] == 1]


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


__all__ = ["fold_batch_norms"]
