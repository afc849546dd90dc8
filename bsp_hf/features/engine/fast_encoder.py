"""An encoder made ready to compute features fast: folded, channels last, in the number type that pays."""

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bsp_hf.encoder.video_snippets import VideoSnippets, blank_pixel_values, encode_clips

from .fast_blocks import (
    BATCH_NORMS,
    CONVOLUTIONS,
    find_followers,
    fold_batch_norms,
    join_blocks,
    replace_module,
)
from .fast_convolutions import PackedConv2d, PackedSameConv2d, WinogradConv2d

logger = logging.getLogger(__name__)

DTYPES = ("auto", "float32", "bfloat16", "float16")
# A clip of this size shows the order of the modules as well as a full one does, in a twelfth of the time.
_SMALL_EDGE_PIXELS = 64
# Relative; rounding moves a feature by some 1e-6.
_LARGEST_DIFFERENCE = 1e-4


_RECTIFIERS = (nn.ReLU, nn.ReLU6)


_PACKED: tuple[Any, ...] = (PackedConv2d, PackedSameConv2d)


def check_device(name: str | torch.device | None) -> None:
    """Check that torch can compute on a device, by a number on it."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device {name}: {reason}; choose one that is there, or leave it out.") from error


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the number type that an encoder computes in.

    `"auto"` is bfloat16 where the hardware multiplies in it (processors with AVX512-BF16, AMX or their like
    on Arm, as oneDNN reports them; NVIDIA GPUs from compute capability 8.0), and float32 everywhere else.

    Raises:
        ValueError: If `dtype` is unknown, or is float16 and the device no GPU.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}.")
    if dtype == "float16" and device.type == "cpu":
        raise ValueError("dtype='float16' needs a GPU; on a CPU use 'bfloat16', 'float32' or 'auto'.")
    if dtype == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return getattr(torch, dtype)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies in bfloat16 faster than in float32; emulation does not count."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # As oneDNN sees the processor; without oneDNN nothing is fast.
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return torch.backends.mkldnn.is_available() and supported is not None and bool(supported())
    return False


@torch.no_grad()
def prepare_encoder(
    model: PreTrainedModel, extractor: Any, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    """Return a copy of a model's encoder, without a head, that computes the same features faster.

    It is in evaluation mode, without gradients, with batch norms folded, convolutions in channels-last memory
    format and, on a CPU, with what follows in the same pass, 3x3 ones by Winograd's method where that pays.
    If its features differ from the model's by more than rounding, it is a plain copy.
    """
    plain: Any = copy.deepcopy(model.base_model).eval().float().requires_grad_(False).to(device)
    encoder = plain
    if any(isinstance(module, (*CONVOLUTIONS, *BATCH_NORMS)) for module in plain.modules()):
        blank = blank_pixel_values(extractor, VideoSnippets(None, extractor, model.config).snippet_frames)
        shape = (*blank.shape[:3], _SMALL_EDGE_PIXELS, _SMALL_EDGE_PIXELS)
        clip = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
        try:
            expected = encode_clips(plain, clip)
        except (RuntimeError, ValueError):  # it accepts no other size than its own
            clip = torch.randn(blank.shape, generator=torch.Generator().manual_seed(0)).to(device)
            expected = encode_clips(plain, clip)
        encoder = copy.deepcopy(plain)
        fold_batch_norms(encoder, clip)
        _use_fast_convolutions(encoder, clip, dtype)
        difference = float((encode_clips(encoder, clip) - expected).norm() / expected.norm().clamp(min=1e-12))
        if not difference <= _LARGEST_DIFFERENCE:  # NaN is no agreement either
            logger.warning(
                "%s runs as it is: in its fast form, its features would change by %.1e.",
                type(model).__name__,
                difference,
            )
            encoder = plain
    encoder = encoder.to(dtype)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        elif isinstance(module, BATCH_NORMS):
            module.float()  # its statistics lose too much otherwise
    return encoder


def prepare_on_cpu(model: PreTrainedModel, extractor: Any) -> PreTrainedModel:
    """Return the copy of a model's encoder that computes the same features faster, in its own number type."""
    return prepare_encoder(model, extractor, model.dtype, torch.device("cpu"))


def _saves_products(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether Winograd's method pays: measured at 1.4 to 2 times oneDNN's speed on AVX2 only.

    With AVX-512, oneDNN's own convolutions are faster than the matrix products that it would be made of.
    """
    return (
        dtype == torch.float32 and device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


def _packs(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether oneDNN may keep its layout of the weights; emulated bfloat16 is left to torch."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16 and not has_fast_bfloat16(device):
        return False
    return PackedConv2d.works(dtype)


def _use_fast_convolutions(encoder: Any, clip: Tensor, dtype: torch.dtype) -> None:
    for module in encoder.modules():
        if isinstance(module, _RECTIFIERS):
            module.inplace = True
    saves_products, packs = _saves_products(dtype, clip.device), _packs(dtype, clip.device)
    if not (saves_products or packs):
        return
    rectifiers = dict(find_followers(encoder, clip, _RECTIFIERS))
    for name, module in list(encoder.named_modules()):
        rectifier = encoder.get_submodule(rectifiers[name]) if name in rectifiers else None
        # Any: a module's kind is checked by `supports`
        fast: Any
        if saves_products and WinogradConv2d.supports(module) and not isinstance(rectifier, nn.ReLU6):
            fast = WinogradConv2d(module, rectifies=rectifier is not None)
        elif packs and (kind := next((k for k in _PACKED if k.supports(module)), None)):
            ceiling = 6.0 if isinstance(rectifier, nn.ReLU6) else None
            fast = kind(module, rectifies=rectifier is not None, ceiling=ceiling)
        else:
            continue
        replace_module(encoder, name, fast)
        if rectifier is not None:
            replace_module(encoder, rectifiers[name], nn.Identity())
    join_blocks(encoder)
