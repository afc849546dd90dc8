"""An encoder made ready to compute features fast: folded, channels last, in the number type that pays."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from bsp_hf.encoder.video_snippets import VideoSnippets, blank_pixel_values

from .folding import fold_batch_norms

DTYPES = ("auto", "float32", "bfloat16", "float16")

# A clip of this size shows the order of the modules as well as a full one does, in a twelfth of the time.
_SMALL_EDGE_PIXELS = 64


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Decide the number type that an encoder computes in.

    Args:
        dtype (`str`): `"float32"`, `"bfloat16"`, `"float16"` (on a GPU), or `"auto"`: bfloat16 where the
            hardware multiplies in it (processors with AVX512-BF16, AMX or their like on Arm, as oneDNN
            reports them; NVIDIA GPUs from compute capability 8.0), float32 everywhere else.
        device (`torch.device`): Where it computes.

    Returns:
        `torch.dtype`: The type.

    Raises:
        ValueError: If `dtype` is unknown, or is float16 and the device no GPU.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}.")
    if dtype == "float16" and device.type == "cpu":
        raise ValueError("dtype='float16' needs a GPU; on a CPU take 'bfloat16', 'float32' or 'auto'.")
    if dtype == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return getattr(torch, dtype)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies in bfloat16 faster than in float32.

    Args:
        device (`torch.device`): The device.

    Returns:
        `bool`: Whether it does; emulated bfloat16 does not count.
    """
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
    """Make a copy of a model's encoder that computes the same features faster.

    Args:
        model (`PreTrainedModel`): The model; a head is left out. It is left as it is.
        extractor: Its feature extractor or image processor.
        dtype (`torch.dtype`): Number type to compute in.
        device (`torch.device`): Where to compute.

    Returns:
        `PreTrainedModel`: The encoder: evaluation mode, without gradients, batch norms folded, convolutions
            in channels-last memory format.
    """
    encoder: Any = copy.deepcopy(model.base_model).eval().float().requires_grad_(False)
    snippet_frames = VideoSnippets(None, extractor, model.config).snippet_frames
    if any(isinstance(module, _BatchNorm) for module in encoder.modules()):
        blank = blank_pixel_values(extractor, snippet_frames).to(encoder.device)
        generator = torch.Generator().manual_seed(0)
        shape = (*blank.shape[:3], _SMALL_EDGE_PIXELS, _SMALL_EDGE_PIXELS)
        small = torch.randn(shape, generator=generator).to(encoder.device)
        try:
            encoder = fold_batch_norms(encoder, small)
        except (RuntimeError, ValueError):  # it takes no other size than its own
            encoder = fold_batch_norms(encoder, blank)
    encoder = encoder.to(device=device, dtype=dtype)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        elif isinstance(module, _BatchNorm):
            module.float()  # its statistics lose too much otherwise
    return encoder


__all__ = ["DTYPES", "choose_dtype", "has_fast_bfloat16", "prepare_encoder"]
