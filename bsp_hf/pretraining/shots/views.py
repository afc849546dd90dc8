"""Views of a shot, as of another camera: crop, zoom, flip, colour and exposure, constant over the shot."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class View:
    """How a shot is framed and coloured."""

    zoom: float = 1.0  # shown share of width and height, in (0, 1]
    # of the shown part, from top to bottom and from left to right, in [0, 1]
    place: tuple[float, float] = (0.5, 0.5)
    is_flipped: bool = False  # left and right are exchanged
    # factors of red, green and blue; exposure is in all of them
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return the frames as seen in this view, uint8 `(num_frames, height, width, 3)` like the input."""
        height, width = frames.shape[1:3]
        rows, columns = max(1, round(self.zoom * height)), max(1, round(self.zoom * width))
        top = round(self.place[0] * (height - rows))
        left = round(self.place[1] * (width - columns))
        shown = frames[:, top : top + rows, left : left + columns]
        if (rows, columns) != (height, width):
            pixels = torch.from_numpy(np.ascontiguousarray(shown)).permute(0, 3, 1, 2)
            pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
            shown = pixels.permute(0, 2, 3, 1).numpy()
        if self.is_flipped:
            shown = shown[:, :, ::-1]
        if self.gains != (1.0, 1.0, 1.0):
            levels = np.arange(256)[:, None] * np.array(self.gains)
            table = np.rint(np.minimum(levels, 255)).astype(np.uint8)
            shown = np.stack([table[shown[..., channel], channel] for channel in range(3)], axis=-1)
        return np.ascontiguousarray(shown)


def draw_view(rng: np.random.Generator) -> View:
    """Draw a view: half to all of a picture, flipped or not, up to a third brighter, darker or tinted."""
    zoom = float(rng.uniform(0.5, 1.0))
    place = (float(rng.random()), float(rng.random()))
    is_flipped = bool(rng.random() < 0.5)
    exposure = float(np.exp(rng.uniform(-0.35, 0.35)))
    tints = np.exp(rng.uniform(-0.12, 0.12, size=3))
    red, green, blue = (float(exposure * tint) for tint in tints)
    return View(zoom, place, is_flipped, (red, green, blue))
