"""A boundary classifier slid over a long video, and the peaks of its response."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.snippets import Snippet
from bsp_hf.encoder.thread_pool import map_in_threads
from bsp_hf.encoder.video_snippets import VideoSnippets, to_pixel_values

from .transitions import CutFinder

DEFAULT_GAP_S = 0.5
# Responses that differ by less are equally high.
_EVEN = 0.01
NO_BOUNDARY = BoundaryType.SAME_SPEED.label
# What a cut can be.
CLASS_BOUNDARIES = (BoundaryType.DIFF_CLASS.label, BoundaryType.SAME_CLASS.label)


@dataclass(frozen=True, eq=False)
class BoundaryResponse:
    """The probability of a boundary along a video."""

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
    kinds: Sequence[str] | None = None,
    end_s: float | None = None,
    progress: Callable[[float], object] | None = None,
    find_cuts: bool = True,
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
        kinds (`Sequence[str]`, *optional*): Labels whose probabilities add up to the response. By default all
            but same-speed; the two class boundaries alone find cuts and leave changes of pace alone.
        end_s (`float`, *optional*): Second at which reading stops. By default the whole video is read.
        progress (`Callable[[float], object]`, *optional*): Called now and then with the second that was
            reached; what it raises stops the work.
        find_cuts (`bool`, *optional*, defaults to `True`): Whether to look for cuts in the pictures, where
            `kinds` has a class boundary. `False` leaves the response to the encoder alone.

    Returns:
        `BoundaryResponse`: Times and response.

    Raises:
        ValueError: If the model does not know same-speed or one of the kinds, or the video is shorter
            than one window.
        VideoDecodeError: If the video cannot be read.
    """
    labels = {label: int(number) for label, number in (model.config.label2id or {}).items()}
    kinds = [label for label in labels if label != NO_BOUNDARY] if kinds is None else kinds
    unknown = {NO_BOUNDARY, *kinds} - labels.keys()
    if unknown:
        raise ValueError(
            f"the model distinguishes {', '.join(labels)}; a boundary response needs "
            f"{', '.join(sorted(unknown))} among them. Pre-train with --task boundary, or ask for others."
        )
    model.eval()
    finder = make_cut_finder(kinds) if find_cuts else None
    snippets = VideoSnippets(
        video,
        extractor,
        model.config,
        stride_frames=stride_frames,
        padding="drop",
        end_s=end_s,
        watch=None if finder is None else finder.add,
    )

    def classify(windows: list[Snippet]) -> list[tuple[float, np.ndarray]]:
        with torch.inference_mode():
            pixel_values = to_pixel_values(extractor, [window.images for window in windows], model.device)
            rows = boundary_probabilities(model, pixel_values).cpu().numpy()
        return [(window.center_s, row) for window, row in zip(windows, rows, strict=True)]

    # Each computes on one core, and none waits for another.
    num_threads = torch.get_num_threads() if model.device.type == "cpu" else 1
    times_s: list[float] = []
    rows: list[np.ndarray] = []
    for time_s, row in map_in_threads(
        iter(snippets), classify, num_threads=num_threads, batch_size=-(-batch_size // num_threads)
    ):
        times_s.append(time_s)
        rows.append(row)
        if progress is not None and (len(rows) - 1) % batch_size == 0:
            progress(time_s)
    if not rows:
        raise ValueError(f"{video} is shorter than one window of {snippets.snippet_frames} frames.")
    probabilities = np.stack(rows)
    response = BoundaryResponse(
        np.array(times_s),
        probabilities,
        probabilities[:, [labels[kind] for kind in kinds]].sum(1),
        snippets.snippet_frames / snippets.record["fps"],
        snippets.record["duration_s"],
    )
    return response if finder is None else raise_at_cuts(response, finder.finish())


def make_cut_finder(kinds: Sequence[str] | None) -> CutFinder | None:
    """Return what finds cuts, if boundaries of these kinds can be cuts; all kinds without any named."""
    return CutFinder() if kinds is None or set(kinds) & set(CLASS_BOUNDARIES) else None


def raise_at_cuts(response: BoundaryResponse, cuts_s: Sequence[float]) -> BoundaryResponse:
    """Return a response that is 1 at the window nearest to each cut."""
    if not len(response.times_s) or not cuts_s:
        return response
    nearest = np.array([np.abs(response.times_s - cut_s).argmin() for cut_s in cuts_s], dtype=np.int64)
    is_near = np.abs(response.times_s[nearest] - cuts_s) <= response.window_s / 2
    raised, cuts = response.response.copy(), np.unique(nearest[is_near])
    raised[cuts] = 1.0
    return replace(response, response=raised, cuts=cuts)


def boundary_probabilities(model: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return the classifier's softmax for windows, float32 `(num_windows, num_labels)`."""
    logits = model(pixel_values=pixel_values.to(model.dtype), return_dict=True).logits
    return logits.float().softmax(-1)


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
    smooth = _smooth(response.response, half)
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
