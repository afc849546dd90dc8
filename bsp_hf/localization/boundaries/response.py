"""A boundary classifier slid over a long video, and the peaks of its response."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.localization.localizer.segments import find_runs

from .sliding import SlidVideo, WindowClassifier, slide

DEFAULT_GAP_S = 0.5
# Responses that differ by less are equally high.
_EVEN = 0.01
NO_BOUNDARY = BoundaryType.SAME_SPEED.label


@dataclass(frozen=True, eq=False)
class BoundaryResponse:
    """The probability of a boundary along a video; NaN in windows that were not encoded."""

    times_s: np.ndarray  # float64 `(num_windows,)`, the middle of each window
    probabilities: np.ndarray  # float32 `(num_windows, num_labels)`, the classifier's softmax
    response: np.ndarray  # float32 `(num_windows,)`, of any boundary: 1 at a cut, else 1 - same-speed
    window_s: float
    duration_s: float
    cuts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # windows nearest to cuts


def boundary_response(
    model: PreTrainedModel,
    extractor: BSPFeatureExtractor,
    video: Any,
    stride_frames: int = 1,
    batch_size: int = 16,
    end_s: float | None = None,
    progress: Callable[[float], object] | None = None,
    find_cuts: bool = True,
    coarse_to_fine: bool = False,
) -> BoundaryResponse:
    """Return the response of a boundary classifier slid over a video, streaming.

    Hard cuts are seen in the pictures more surely than by a small encoder; the window nearest to one has the
    response 1.

    Args:
        model (`PreTrainedModel`): A [`BSPForBoundaryClassification`] with the label `same-speed`.
        extractor (`BSPFeatureExtractor`): Its preprocessing.
        video: A path, open binary file or bytes.
        stride_frames (`int`, *optional*, defaults to 1): Frames between windows.
        batch_size (`int`, *optional*, defaults to 16): Windows at a time.
        end_s (`float`, *optional*): Second at which reading stops. By default the whole video is read.
        progress (`Callable[[float], object]`, *optional*): Called with the second that was reached, after
            every window; what it raises stops the work.
        find_cuts (`bool`, *optional*, defaults to `True`): Whether to look for cuts in the pictures. `False`
            leaves the response to the encoder alone.
        coarse_to_fine (`bool`, *optional*, defaults to `False`): Look at small pictures first, and encode
            only windows around which they change. Probabilities and response of the others are NaN.

    Returns:
        `BoundaryResponse`: Times and response.

    Raises:
        ValueError: If the model does not know same-speed, or the video is shorter than one window.
        VideoDecodeError: If the video cannot be read.
    """
    labels = {label: int(number) for label, number in (model.config.label2id or {}).items()}
    if NO_BOUNDARY not in labels:
        raise ValueError(
            f"the model distinguishes {', '.join(labels)}; a boundary response needs {NO_BOUNDARY} among "
            "them. Pre-train with --task boundary."
        )
    found = slide(
        WindowClassifier(model.eval(), extractor),
        video,
        stride_frames=stride_frames,
        batch_size=batch_size,
        end_s=end_s,
        progress=progress,
        find_cuts=find_cuts,
        coarse_to_fine=coarse_to_fine,
    )
    if found.failure is not None:
        raise found.failure
    if not len(found.times_s):
        raise ValueError(f"{video} is shorter than one window of {found.record['snippet_frames']} frames.")
    return respond(found, labels[NO_BOUNDARY])


def respond(found: SlidVideo, no_boundary: int) -> BoundaryResponse:
    """Return the response to any boundary, where the probability of none stands in a column."""
    response = BoundaryResponse(
        found.times_s,
        found.probabilities,
        1 - found.probabilities[:, no_boundary],
        found.record["snippet_frames"] / (found.record["fps"] or 1.0),
        found.record["duration_s"],
    )
    return raise_at_cuts(response, found.seen.cuts_s)


def raise_at_cuts(response: BoundaryResponse, cuts_s: Sequence[float]) -> BoundaryResponse:
    """Return a response that is 1 at the encoded window nearest to each cut."""
    encoded = np.flatnonzero(np.isfinite(response.response))
    if not len(encoded) or not len(cuts_s):
        return response
    nearest = encoded[nearest_rows(response.times_s[encoded], np.array(cuts_s))]
    is_near = np.abs(response.times_s[nearest] - cuts_s) <= response.window_s / 2
    raised, cuts = response.response.copy(), np.unique(nearest[is_near])
    raised[cuts] = 1.0
    return replace(response, response=raised, cuts=cuts)


def nearest_rows(times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Return which of some rising times is nearest to each wanted one, of two the earlier."""
    after = np.searchsorted(times_s, wanted_s).clip(1, max(1, len(times_s) - 1))
    before_s, after_s = times_s[after - 1], times_s[after.clip(max=len(times_s) - 1)]
    return after - (wanted_s - before_s <= after_s - wanted_s)


def settle_threshold(config: PreTrainedConfig, given: float | None) -> float:
    """Return the smallest response of a boundary: the given one, or that of the classifier's config."""
    return float(getattr(config, "boundary_threshold", 0.5)) if given is None else given


def calibrate_threshold(responses: np.ndarray) -> float:
    """Return the response that one in a hundred clips without a boundary exceeds, at least 0.5.

    Args:
        responses (`np.ndarray`): Responses to clips without one, `(num_clips,)`; 0.5 without any.
    """
    return max(0.5, float(np.quantile(responses, 0.99))) if len(responses) else 0.5


def pick_boundaries(
    response: BoundaryResponse, threshold: float = 0.5, min_gap_s: float = DEFAULT_GAP_S
) -> np.ndarray:
    """Return the peaks of a response.

    Every window that holds a boundary answers to it, so a boundary shows as a plateau as long as a window.
    Plateaus are therefore looked for after smoothing with a triangle of that length. Each is judged by its
    highest response, and lies where the response is that high, near the top of the smooth one; of two that
    are too near, the one of the higher response stays.

    Args:
        response (`BoundaryResponse`): From [`boundary_response`].
        threshold (`float`, *optional*, defaults to 0.5): Smallest response of a boundary.
        min_gap_s (`float`, *optional*, defaults to 0.5): Boundaries are at least so far apart.

    Returns:
        `np.ndarray`: float64 `(num_boundaries,)`, seconds, rising.
    """
    half = _half_window(response)
    smooth = np.full(len(response.response), np.nan)
    for run in encoded_runs(response.response):
        smooth[run] = _smooth(response.response[run], half)
    # No comparison with NaN is true: where windows were skipped is neither a peak nor a slope to one.
    around = np.pad(smooth, 1, constant_values=-np.inf)
    peaks = np.flatnonzero((smooth >= around[:-2]) & (smooth >= around[2:]))
    tops = np.array([_find_top(response.response, smooth, int(peak), half) for peak in peaks], dtype=int)
    kept: list[int] = []  # windows
    # By the response itself: the smooth one of a broad hump may exceed that of a sharp cut beside it.
    for top in tops[np.lexsort((-smooth[peaks], -response.response[tops]))].tolist():
        gaps_s = np.abs(response.times_s[kept] - response.times_s[top])
        if response.response[top] >= threshold and top not in kept and (gaps_s >= min_gap_s).all():
            kept.append(top)
    return response.times_s[sorted(kept)]


def encoded_runs(response: np.ndarray) -> list[slice]:
    """Return the stretches of a response that are not NaN, the windows that were encoded."""
    return find_runs(np.isfinite(response))


def _find_top(response: np.ndarray, smooth: np.ndarray, peak: int, half: int) -> int:
    """Return the window of a plateau with about its highest response that is nearest to the smooth peak."""
    first = last = peak
    while first > max(0, peak - half) and smooth[first - 1] <= smooth[first]:
        first -= 1
    while last < min(len(smooth) - 1, peak + half) and smooth[last + 1] <= smooth[last]:
        last += 1
    plateau = response[first : last + 1]
    high = first + np.flatnonzero(plateau >= plateau.max() - _EVEN)
    return int(high[np.abs(high - peak).argmin()])


def _half_window(response: BoundaryResponse) -> int:
    if len(response.times_s) < 2:
        return 0
    step_s = float(np.median(np.diff(response.times_s)))
    return max(1, round(response.window_s / step_s / 2))


def _smooth(response: np.ndarray, half: int) -> np.ndarray:
    triangle = half + 1 - np.abs(np.arange(-half, half + 1))
    padded = np.pad(response, half, mode="edge")
    return np.convolve(padded, triangle / triangle.sum(), mode="valid")
