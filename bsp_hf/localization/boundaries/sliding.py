"""A boundary classifier slid over one video, each frame decoded once; quiet stretches may be skipped."""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from bsp_hf.encoder.snippets import Snippet
from bsp_hf.encoder.thread_pool import map_in_threads
from bsp_hf.encoder.video_snippets import VideoSnippets, to_pixel_values
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.features.engine.fast_encoder import prepare_encoder
from bsp_hf.features.engine.overlapping import collect_frames, encode_overlapping, shares_frames

from .transitions import LEAST_CUT_CHANGE, SeenTransitions, TransitionFinder, shrink_picture

# Choice: see docs/localize.md, which has the figures. Pixels are of 8 bit; a field is so many of them wide.
_LEAST_CHANGE, _FIELD = 16.0, 4
# Fewer windows at a time share too few frames.
_FEWEST_WINDOWS = 16


@dataclass(frozen=True, eq=False)
class SlidVideo:
    """What came of sliding a classifier over one video."""

    times_s: np.ndarray  # float64 `(num_windows,)`, the middle of each window
    probabilities: np.ndarray  # float32 `(num_windows, num_labels)`, NaN in the windows that were skipped
    seen: SeenTransitions
    record: dict[str, Any]  # Any: as of VideoSnippets
    failure: Exception | None  # what ended the reading


class WindowClassifier:
    """A boundary classifier made ready to be slid: the same probabilities up to rounding, faster.

    Later changes of the model do not reach it.
    """

    def __init__(self, model: PreTrainedModel, extractor: Any) -> None:  # Any: see VideoSnippets
        self._model, self._extractor = model, extractor
        self._head: Any = None  # Any: mypy takes a module's attributes for tensors
        if type(model).__name__ == "BSPForBoundaryClassification" and shares_frames(model.base_model):
            self._encoder = prepare_encoder(model, extractor, model.dtype, model.device)
            self._head = model.classifier
        self.num_labels = len(model.config.label2id or ())
        self.num_threads = torch.get_num_threads() if model.device.type == "cpu" else 1

    def open(self, video: Any, **reading: Any) -> VideoSnippets:  # Any: see VideoSnippets
        """Return the windows of a video, one frame apart unless said otherwise."""
        reading = {"stride_frames": 1, "padding": "drop", **reading}
        return VideoSnippets(video, self._extractor, self._model.config, **reading)

    @torch.inference_mode()
    def classify(self, windows: list[Snippet]) -> list[tuple[float, np.ndarray | None]]:
        """Return the middle of each window and its probabilities; None for one without pictures."""
        shown = [window for window in windows if window.images]
        rows = iter(self._classify(shown).cpu().numpy() if shown else ())
        return [(window.center_s, next(rows) if window.images else None) for window in windows]

    def _classify(self, windows: list[Snippet]) -> Tensor:
        device = self._model.device
        if self._head is None:
            clips = to_pixel_values(self._extractor, [window.images for window in windows], device)
            logits = self._model(pixel_values=clips.to(self._model.dtype), return_dict=True).logits
        else:
            images, places = collect_frames(windows)
            frames = to_pixel_values(self._extractor, [images], device)[0]
            logits = self._head(encode_overlapping(self._encoder, frames, places)).mean(1)
        return logits.float().softmax(-1)


def slide(
    classifier: WindowClassifier,
    video: Any,  # Any: see VideoSnippets
    *,
    batch_size: int = _FEWEST_WINDOWS,
    find_cuts: bool = True,
    coarse_to_fine: bool = False,
    progress: Callable[[float], object] | None = None,
    **reading: Any,  # Any: what VideoSnippets takes
) -> SlidVideo:
    """Slide a classifier over a video; what ends the reading is noted, and the rows before it are good."""
    finder = TransitionFinder() if find_cuts else None
    quiet = QuietWindows() if coarse_to_fine else None

    def watch(image: Any, time_s: float) -> None:  # Any: an array or a tensor
        small = shrink_picture(image)
        if finder is not None:
            finder.add_small(small, time_s)
        if quiet is not None:
            quiet.add_small(small)

    windows = classifier.open(video, watch=watch if finder or quiet else None, **reading)
    failures: list[Exception] = []

    def read() -> Iterator[Snippet]:
        try:
            yield from windows if quiet is None else quiet.skim(iter(windows))
        except (VideoDecodeError, OSError) as error:
            failures.append(error)

    # Arrays, because the rows of a day would take a gigabyte as objects.
    times_s, rows, is_encoded = array("d"), array("f"), bytearray()
    skipped = array("f", [np.nan] * classifier.num_labels)
    for time_s, row in map_in_threads(
        read(),
        classifier.classify,
        num_threads=classifier.num_threads,
        batch_size=max(_FEWEST_WINDOWS, -(-batch_size // classifier.num_threads)),
    ):
        times_s.append(time_s)
        rows.extend(skipped if row is None else row)
        is_encoded.append(row is not None)
        if progress is not None:
            progress(time_s)
    probabilities = np.array(rows, np.float32).reshape(len(times_s), classifier.num_labels)
    wrong = np.flatnonzero(np.array(is_encoded, bool) & ~np.isfinite(probabilities).all(1))
    if len(wrong):
        failure = ValueError(
            f"{video}: the classifier's answer is not finite in {len(wrong)} of {len(times_s)} windows, the "
            f"first at {times_s[wrong[0]]:.2f} s; check its weights, or run it in float32."
        )
        failures.insert(0, failure)
        windows.record |= {"complete": False, "error": str(failure)}
        times_s, probabilities = array("d"), probabilities[:0]
    return SlidVideo(
        np.array(times_s),
        probabilities,
        SeenTransitions() if finder is None else finder.finish(),
        windows.record,
        failures[0] if failures else None,
    )


class QuietWindows:
    """Takes the pictures out of windows in which, and around which, hardly anything changes.

    A window is quiet if its two halves differ, at the mean, by less than 16 of 255 in every one of 8 x 8
    fields of the picture, and in all of it by less than every cut does. The windows that share a frame with
    one that is not are kept, too.
    """

    def __init__(self) -> None:
        self._small: deque[np.ndarray] = deque()
        self._first = 0  # number of the first of them

    def add_small(self, small: np.ndarray) -> None:
        """Take the next frame, made small."""
        self._small.append(small)

    def skim(self, windows: Iterator[Snippet]) -> Iterator[Snippet]:
        """Yield all windows in order, those that need not be encoded without their pictures."""
        held: deque[Snippet] = deque()
        loud_until = -1  # the last frame of the last window that is not quiet
        for window in windows:
            if not self._is_quiet(window):
                loud_until = window.end_frame
                yield from (w if w.end_frame > window.start_frame else _skip(w) for w in held)
                held.clear()
            if window.start_frame < loud_until:
                yield window
                continue
            held.append(window)
            if held[0].end_frame <= window.start_frame:
                yield _skip(held.popleft())
        yield from map(_skip, held)

    def _is_quiet(self, window: Snippet) -> bool:
        while self._first < window.start_frame:
            self._small.popleft()
            self._first += 1
        shown = np.stack([self._small[k] for k in range(window.end_frame - window.start_frame)])
        half = len(shown) // 2
        if not half:
            return False
        change = np.abs(shown[-half:].mean(0, np.float32) - shown[:half].mean(0, np.float32)).mean(-1)
        height, width = (size // _FIELD for size in change.shape)
        fields = change.reshape(height, _FIELD, width, _FIELD).mean((1, 3))
        return bool(fields.max() < _LEAST_CHANGE and fields.mean() < LEAST_CUT_CHANGE)


def _skip(window: Snippet) -> Snippet:
    return replace(window, images=())
