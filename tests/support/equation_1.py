"""Eq. 1 and 2 of the paper written out, to hold the joins of shots against."""

import numpy as np


def blend_weights(
    half_length: int, blend_half_width: int, first_index: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-fade weights omega_1 and omega_2 of a diff-class boundary (Eq. 1), which sum to 1.

    Both are float32 `(2 * blend_half_width,)`, for the frames `i = tau - epsilon + 1 ... tau + epsilon` of
    the text; tau is `half_length`, epsilon `blend_half_width`, and `first_index` the i of a clip's first
    frame, 0 as in Figure 2.
    """
    if blend_half_width == 0:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    i = np.arange(half_length - blend_half_width, half_length + blend_half_width) + first_index
    first = (half_length + blend_half_width - i) / (2 * blend_half_width)
    second = (i - half_length + blend_half_width) / (2 * blend_half_width)
    return first.astype(np.float32), second.astype(np.float32)


def join_different_classes(first: np.ndarray, second: np.ndarray, blend_half_width: int) -> np.ndarray:
    """Cross-fade from one video to another (Eq. 1), uint8 `(2 * half_length, height, width, 3)`.

    Both give `half_length + blend_half_width` frames.
    """
    if first.shape != second.shape:
        raise ValueError(f"both parts must have one shape, got {first.shape} and {second.shape}.")
    half_length = len(first) - blend_half_width
    first_weights, second_weights = blend_weights(half_length, blend_half_width)
    before = half_length - blend_half_width
    column = (-1,) + (1,) * (first.ndim - 1)
    blended = first[before:] * first_weights.reshape(column)
    blended += second[: 2 * blend_half_width] * second_weights.reshape(column)
    # Choice: round half to even; the paper does not say how blended intensities become pixels.
    return np.concatenate(
        [first[:before], np.rint(blended).astype(first.dtype), second[2 * blend_half_width :]]
    )


def join_same_class(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join one video to another without a transition (Eq. 2), uint8 `(2 * half_length, height, width, 3)`."""
    if first.shape != second.shape:
        raise ValueError(f"both parts must have one shape, got {first.shape} and {second.shape}.")
    return np.concatenate([first, second])
