"""Joins of shots: hard cuts, fades, wipes, zooms and dissolves, as pure functions of frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """A join of two shots."""

    frame: int  # first frame of the clip behind the middle of the join
    half_width: int = 0  # half its length, in frames; 0 for a hard cut
    transition: str = "hard"  # a name in `TRANSITIONS` of `bsp_hf.pretraining.synthesis_config`
    first_index: int = 1  # the i of a clip's first frame in Eq. 1, which times the join
    seed: int = 0  # chooses the direction of a wipe and the pattern of a dissolve


def join_shots(parts: Sequence[np.ndarray], cuts: Sequence[Cut]) -> np.ndarray:
    """Join shots, uint8 `(num_frames, height, width, 3)`, one behind the other.

    Each has the frames of the transitions at both its ends; cuts are in order and do not overlap.
    """
    if len(cuts) != len(parts) - 1:
        raise ValueError(f"{len(parts)} shots need {len(parts) - 1} cuts, got {len(cuts)}.")
    if len({part.shape[1:] for part in parts}) != 1:
        raise ValueError(f"all shots must have one size, got {[part.shape[1:] for part in parts]}.")
    joined = [parts[0]]
    for part, cut in zip(parts[1:], cuts, strict=True):
        length, width = sum(map(len, joined)), 2 * cut.half_width
        if length != cut.frame + cut.half_width or len(part) < width or len(joined[-1]) < width:
            raise ValueError(f"a cut at frame {cut.frame} with half width {cut.half_width} does not fit.")
        if width:
            mixed = mix_frames(joined[-1][-width:], part[:width], cut)
            joined[-1] = joined[-1][:-width]
            joined.append(mixed)
            part = part[width:]
        joined.append(part)
    return np.concatenate(joined)


def mix_frames(first: np.ndarray, second: np.ndarray, cut: Cut) -> np.ndarray:
    """Return the frames of a transition, uint8 like both inputs; Eq. 1 gives the share of the second."""
    # omega_2: 1 / (2 epsilon) ... 1 where i counts from 1; a frame later where it counts from 0.
    shares = (np.arange(len(first)) + cut.first_index) / len(first)
    mix = _MIXES[cut.transition]
    return np.stack([mix(a, b, share, cut.seed) for a, b, share in zip(first, second, shares, strict=True)])


def _fade(first: np.ndarray, second: np.ndarray, share: float, seed: int) -> np.ndarray:
    mixed = first * np.float32(1 - share) + second * np.float32(share)
    # Choice: round half to even; the paper does not say how blended intensities become pixels.
    return np.rint(mixed).astype(np.uint8)


def _wipe(first: np.ndarray, second: np.ndarray, share: float, seed: int) -> np.ndarray:
    height, width = first.shape[:2]
    mask = np.zeros((height, width), bool)
    rows, columns = round(share * height), round(share * width)
    direction = seed % 4
    if direction == 0:
        mask[:, :columns] = True
    elif direction == 1:
        mask[:, width - columns :] = True
    elif direction == 2:
        mask[:rows] = True
    else:
        mask[height - rows :] = True
    return np.where(mask[..., None], second, first)


def _dissolve(first: np.ndarray, second: np.ndarray, share: float, seed: int) -> np.ndarray:
    # The pattern is that of the whole transition: what has changed stays changed.
    pattern = np.random.default_rng(seed).random(first.shape[:2])
    return np.where((pattern < share)[..., None], second, first)


def _zoom(first: np.ndarray, second: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Move into the first shot, up to twice its size, while it fades."""
    height, width = first.shape[:2]
    rows = _magnified(height, 1 + share)
    columns = _magnified(width, 1 + share)
    return _fade(first[rows[:, None], columns], second, share, seed)


def _magnified(size: int, factor: float) -> np.ndarray:
    """Return the row or column to show at each place of a picture magnified around its middle."""
    middle = (size - 1) / 2
    return np.rint((np.arange(size) - middle) / factor + middle).astype(np.int64)


def _hard(first: np.ndarray, second: np.ndarray, share: float, seed: int) -> np.ndarray:
    return second if share > 0.5 else first


_MIXES: dict[str, Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]] = {
    "hard": _hard,
    "fade": _fade,
    "wipe": _wipe,
    "zoom": _zoom,
    "dissolve": _dissolve,
}
