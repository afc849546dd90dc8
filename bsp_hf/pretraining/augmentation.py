"""Spatial augmentation of training clips: drawn once for a source, so that it never marks a boundary."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SpatialAugmentation:
    """The multi-scale crop and flip of the published TSM training.

    Width and height of the crop are scales of the short side, at most one scale apart; its place is one of 13
    fixed ones (corners, centre, middle of the edges, quarter points).
    """

    crop_size: int  # height and width of the result, in pixels
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    flip_probability: float = 0.5

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Crop, resize and maybe flip all frames of one source alike, uint8 `(num_frames, height, width, 3)`.

        The result is uint8 `(num_frames, 3, crop_size, crop_size)`, stored with channels last.
        """
        height, width = frames.shape[1:3]
        short_side = min(height, width)
        pairs = [(a, b) for a in range(len(self.scales)) for b in range(len(self.scales)) if abs(a - b) <= 1]
        a, b = pairs[rng.integers(len(pairs))]
        crop_height = max(1, int(short_side * self.scales[a]))
        crop_width = max(1, int(short_side * self.scales[b]))
        row, column = _PLACES[rng.integers(len(_PLACES))]
        top, left = row * ((height - crop_height) // 4), column * ((width - crop_width) // 4)
        pixels = torch.from_numpy(frames[:, top : top + crop_height, left : left + crop_width]).permute(
            0, 3, 1, 2
        )
        if pixels.shape[-2:] != (self.crop_size, self.crop_size):
            size = (self.crop_size, self.crop_size)
            pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        return pixels.flip(-1) if rng.random() < self.flip_probability else pixels


# In quarters of the free height and width.
_PLACES = (
    *((row, column) for row in (0, 2, 4) for column in (0, 2, 4)),
    *((row, column) for row in (1, 3) for column in (1, 3)),
)
