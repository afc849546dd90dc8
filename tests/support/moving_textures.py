"""Sources whose frames are made when they are read: a texture of its own that moves as its class does."""

from pathlib import Path

import numpy as np

from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.sources import TrimmedVideo

SIZE = 40


class TextureStore(FrameStore):
    """Frames of a texture that wanders; the class gives the direction, the source looks and speed."""

    def __init__(self) -> None:
        super().__init__()
        self.textures: dict[str, np.ndarray] = {}

    def read(self, source: TrimmedVideo, frames: np.ndarray) -> np.ndarray:
        """Return the frames."""
        rng = np.random.default_rng(int(source.group))
        if source.group not in self.textures:
            coarse = rng.random((2 * SIZE // 5, 2 * SIZE // 5, 3)) * 110
            self.textures[source.group] = np.kron(coarse, np.ones((5, 5, 1))) + 80 * rng.random(3)
        speed = float(np.random.default_rng([int(source.group), 1]).uniform(0.4, 1.2))
        angle = 2 * np.pi * "abcd".index(source.label) / 4
        texture = self.textures[source.group]
        shown = []
        for frame in frames:
            shift = np.rint(speed * frame * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            moved = np.roll(texture, tuple(shift), axis=(0, 1))
            shown.append(moved[:SIZE, :SIZE])
        return np.stack(shown).astype(np.uint8)


def texture_sources(num: int, first: int = 0) -> list[TrimmedVideo]:
    """Return sources of four classes and many lengths, alike in their length from class to class."""
    return [
        TrimmedVideo(Path(f"{n}.mp4"), "abcd"[n % 4], str(n), num_frames=40 + 7 * (n // 4 % 12))
        for n in range(first, first + num)
    ]
