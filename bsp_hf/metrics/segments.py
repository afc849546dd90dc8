"""Temporal overlap of segments: the one tIoU that all metrics and suppression are built on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

UNION_RULES = ("lengths", "hull")


def as_segments(segments_s: npt.ArrayLike, name: str = "segments_s") -> np.ndarray:
    """Return segments as a checked float64 array `(num_segments, 2)`.

    It is the caller's own memory where that fits. An empty list is no segments. Zero-length and reversed
    segments pass: official protocols count them. `name` is what an error message calls the argument.
    """
    try:
        segments = np.asarray(segments_s, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be pairs of numbers (start, end) in seconds; they could not be read: {error}"
        ) from error
    if segments.size == 0:
        return segments.reshape(0, 2)
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise ValueError(
            f"{name} has shape {segments.shape}; expected (num_segments, 2), start and end in seconds."
        )
    finite = np.isfinite(segments).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{name}[{row}] is {segments[row].tolist()}; start and end must be finite numbers of seconds. "
            "Drop the segment or correct what wrote it."
        )
    return segments


def as_thresholds(thresholds: Sequence[float] | np.ndarray, name: str = "tiou_thresholds") -> np.ndarray:
    """Return one or more thresholds in `(0, 1]` as a checked float64 array, in the order given."""
    values = np.asarray(thresholds, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not ((values > 0) & (values <= 1)).all():
        raise ValueError(
            f"{name} is {thresholds}; expected one or more numbers in (0, 1], for example (0.5, 0.7)."
        )
    return values


def find_threshold(thresholds: np.ndarray, threshold: float) -> int:
    """Return the place of a threshold among those evaluated, to within 1e-9."""
    places = np.flatnonzero(np.abs(thresholds - threshold) < 1e-9)
    if not places.size:
        raise ValueError(f"Threshold {threshold} was not evaluated; there are {thresholds.tolist()}.")
    return int(places[0])


def tiou(first_s: np.ndarray, second_s: np.ndarray, union: str = "lengths") -> np.ndarray:
    """Return temporal intersection over union, elementwise.

    The intersection is clipped at 0. Two unions are in use and agree wherever the intersection is positive:

    - `"lengths"`: length + length - intersection (ActivityNet detection and proposals).
    - `"hull"`: last end - first start (2D-TAN, LGI, G-TAD's suppression).

    A union of 0 gives 0/0 = NaN, as it does in the official code; what NaN means (a match in detection, no
    match in proposal recall) is the caller's rule. Reversed segments have negative length and give no error.

    Args:
        first_s (`np.ndarray`): Starts and ends in seconds, `(..., 2)`.
        second_s (`np.ndarray`): Starts and ends in seconds, `(..., 2)`, broadcast against `first_s`.
        union (`str`): `"lengths"` or `"hull"`. Defaults to `"lengths"`.

    Returns:
        `np.ndarray`: float64 in 0 to 1 or NaN, the broadcast shape without its last axis.

    Raises:
        ValueError: If `union` is another word.

    Example:
    ```python
    >>> import numpy as np
    >>> from bsp_hf.metrics import tiou
    >>> float(tiou(np.array([0.0, 10.0]), np.array([5.0, 20.0])))
    0.25

    ```
    """
    if union not in UNION_RULES:
        raise ValueError(f"union is {union!r}; expected one of {UNION_RULES}.")
    first_s, second_s = np.asarray(first_s, dtype=np.float64), np.asarray(second_s, dtype=np.float64)
    starts = np.maximum(first_s[..., 0], second_s[..., 0])
    ends = np.minimum(first_s[..., 1], second_s[..., 1])
    intersection = np.maximum(ends - starts, 0.0)
    if union == "lengths":
        # The order of the sum is the official one: another order moves the last bit, and a tIoU that
        # equals its threshold with it.
        lengths = (second_s[..., 1] - second_s[..., 0]) + (first_s[..., 1] - first_s[..., 0])
        total = lengths - intersection
    else:
        last_end = np.maximum(first_s[..., 1], second_s[..., 1])
        total = last_end - np.minimum(first_s[..., 0], second_s[..., 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return intersection / total


def pairwise_tiou(first_s: npt.ArrayLike, second_s: npt.ArrayLike, union: str = "lengths") -> np.ndarray:
    """Return the tIoU of every segment of one list with every segment of another.

    Args:
        first_s (`ArrayLike`): Starts and ends in seconds, `(num_first, 2)`.
        second_s (`ArrayLike`): Starts and ends in seconds, `(num_second, 2)`.
        union (`str`): `"lengths"` or `"hull"`, see [`tiou`]. Defaults to `"lengths"`.

    Returns:
        `np.ndarray`: float64 in 0 to 1 or NaN, `(num_first, num_second)`.

    Raises:
        ValueError: If a list is not `(num_segments, 2)` or not finite, or `union` is another word.

    Example:
    ```python
    >>> from bsp_hf.metrics import pairwise_tiou
    >>> pairwise_tiou([[0.0, 10.0]], [[5.0, 20.0], [0.0, 10.0]])
    array([[0.25, 1.  ]])

    ```
    """
    first, second = as_segments(first_s, "first_s"), as_segments(second_s, "second_s")
    return tiou(first[:, None, :], second[None, :, :], union)
