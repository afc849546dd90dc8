"""The crop and flip of TSM training: alike for all frames of a source, from the published table of crops."""

import itertools

import numpy as np
import pytest
import torch

from bsp_hf.pretraining.augmentation import SpatialAugmentation

HEIGHT, WIDTH = 64, 80
SIDES = (64, 56, 48, 42)  # 1, 0.875, 0.75 and 0.66 of the short side
# Row and column in quarters of the free space: four corners, centre, four edges, four quarter points.
PLACES = [
    (0, 0),
    (0, 4),
    (4, 0),
    (4, 4),
    (2, 2),
    (0, 2),
    (2, 0),
    (2, 4),
    (4, 2),
    (1, 1),
    (1, 3),
    (3, 1),
    (3, 3),
]


def ramp(num_frames: int = 1) -> np.ndarray:
    """Channel 0 rises three levels a row, channel 1 three a column."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frame = np.stack([3 * rows, 3 * columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    return np.repeat(frame[None], num_frames, axis=0)


def crop_table() -> dict[tuple[float, float, float, float], tuple]:
    """Centre and size of every possible crop in pixels."""
    table = {}
    for a, b in itertools.product(range(4), range(4)):
        if abs(a - b) <= 1:
            height, width = SIDES[a], SIDES[b]
            for row, column in PLACES:
                top, left = row * ((HEIGHT - height) // 4), column * ((WIDTH - width) // 4)
                key = (top + (height - 1) / 2, left + (width - 1) / 2, height, width)
                table.setdefault(key, ((a, b), []))[1].append((row, column))
    return table


def measure(pixels: torch.Tensor) -> tuple[tuple[float, float, float, float], bool]:
    """Centre and size of the crop that made these pixels out of the ramp, and whether it was flipped."""
    rows, columns = pixels[0, 0].float().mean(1) / 3, pixels[0, 1].float().mean(0) / 3
    size = len(rows)
    inner = slice(4, size - 4)  # the resampling filter is cut off at the edges
    steps = np.arange(size)[inner]
    row_step = np.polyfit(steps, rows[inner].numpy(), 1)[0]
    column_step = np.polyfit(steps, columns[inner].numpy(), 1)[0]
    centre = (rows.mean().item(), columns.mean().item(), row_step * size, abs(column_step) * size)
    return centre, column_step < 0


def test_crops_are_those_of_the_published_training():
    augmentation, frames, table = SpatialAugmentation(32), ramp(), crop_table()
    keys = np.array(list(table))
    pairs, places, flips = set(), set(), 0
    rng = np.random.default_rng(0)
    num_draws = 800
    for _ in range(num_draws):
        measured, flipped = measure(augmentation(frames, rng))
        distances = np.abs(keys - measured).max(axis=1)
        assert distances.min() < 0.5, measured
        pair, possible = table[tuple(keys[distances.argmin()])]
        pairs.add(pair)
        if len(possible) == 1:
            places.add(possible[0])
        flips += flipped
    assert pairs == {(a, b) for a in range(4) for b in range(4) if abs(a - b) <= 1}
    assert places == set(PLACES)
    assert abs(flips / num_draws - 0.5) < 0.1


def test_all_frames_of_a_source_are_treated_alike():
    frames = ramp(6)
    augmentation = SpatialAugmentation(24)
    for seed in range(10):
        pixels = augmentation(frames, np.random.default_rng(seed))
        assert pixels.dtype == torch.uint8 and pixels.shape == (6, 3, 24, 24)
        assert (pixels == pixels[:1]).all()
        assert torch.equal(pixels, augmentation(frames, np.random.default_rng(seed)))
    np.testing.assert_array_equal(frames, ramp(6))


@pytest.mark.parametrize(("probability", "flipped"), [(0.0, False), (1.0, True)])
def test_flip_probability_is_obeyed(probability, flipped):
    augmentation = SpatialAugmentation(32, flip_probability=probability)
    for seed in range(10):
        assert measure(augmentation(ramp(), np.random.default_rng(seed)))[1] is np.bool_(flipped)


def test_single_scale_of_a_square_picture_only_flips():
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    plain = torch.from_numpy(frames).permute(0, 3, 1, 2)
    augmentation = SpatialAugmentation(20, scales=(1.0,))
    seen = {bool(torch.equal(augmentation(frames, np.random.default_rng(seed)), plain)) for seed in range(20)}
    assert seen == {True, False}
    for seed in range(20):
        pixels = augmentation(frames, np.random.default_rng(seed))
        assert torch.equal(pixels, plain) or torch.equal(pixels.flip(-1), plain)
