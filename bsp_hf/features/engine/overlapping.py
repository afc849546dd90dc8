"""Windows that share frames: what comes before the first temporal shift is computed once a frame."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bsp_hf.encoder.modeling_tsm import run_residual_block, shifted_blocks
from bsp_hf.encoder.snippets import Snippet


def shares_frames(encoder: Any) -> bool:  # Any: mypy takes a module's attributes for tensors
    """Return whether [`encode_overlapping`] knows the encoder: a BSP model over an image network."""
    # By attribute, not by class: code from a checkpoint and code of the package have different classes.
    return hasattr(getattr(encoder, "family", None), "stages") and hasattr(encoder, "backbone")


def collect_frames(windows: Sequence[Snippet]) -> tuple[list[Any], Tensor]:  # Any: pictures
    """Return each frame of windows once, and the places of each window's, `(num_windows, num_frames)`."""
    frames: dict[int, Any] = {}
    numbers = []
    for window in windows:
        own = [min(window.start_frame + k, window.end_frame - 1) for k in range(len(window.images))]
        frames |= zip(own, window.images, strict=True)
        numbers.append(own)
    place_of = {number: place for place, number in enumerate(frames)}
    return list(frames.values()), torch.tensor([[place_of[number] for number in own] for own in numbers])


def encode_overlapping(encoder: Any, frames: Tensor, places: Tensor) -> Tensor:  # Any: as above
    """Return the frame features of windows, `(num_windows, num_frames, dim)`, equal to the encoder's own.

    `frames` is `(num_frames_of_all, 3, height, width)`, normalised; `places` from [`collect_frames`].
    """
    config, family, backbone = encoder.config, encoder.family, encoder.backbone
    num_frames, places = places.shape[1], places.flatten().to(frames.device)
    stages, is_shared = family.stages(backbone), True

    def part(maps: Tensor) -> Tensor:
        # As rows of channels, which are moved whole, and stay channels last.
        return maps.permute(0, 2, 3, 1).index_select(0, places).permute(0, 3, 1, 2)

    maps = family.stem(backbone)(frames.to(encoder.dtype))
    shifted = shifted_blocks([len(blocks) for blocks in stages], config.shift_blocks)
    for number, shifts in enumerate(shifted):
        for layer in family.entrance(backbone, number):
            maps = layer(maps)
        for block, is_shifted in zip(stages[number], shifts, strict=True):
            shift_place = config.shift_place if is_shifted and family.has_shortcut(block) else "none"
            if is_shared and shift_place != "none":
                maps, is_shared = part(maps), False

            def join(branch_input: Tensor, shortcut_input: Tensor, block: Any = block) -> Tensor:
                return family.join(block, branch_input, shortcut_input)

            maps = run_residual_block(maps, num_frames, config.shift_div, shift_place, join)
    features: Tensor = family.pool(backbone, maps)
    if is_shared:
        features = features.index_select(0, places)
    return features.unflatten(0, (-1, num_frames))
