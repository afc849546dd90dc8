"""`pipeline("video-boundary-detection")`: where videos change, by a boundary classifier slid over them."""

import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel
from transformers.utils import logging

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.localization.localizer.segments import LocalizedSegments
from bsp_hf.localization.localizer.tracks import name_video

from .kinds import KIND_OF_CLASS, check_kinds
from .response import (
    DEFAULT_GAP_S,
    NO_BOUNDARY,
    BoundaryResponse,
    nearest_rows,
    pick_boundaries,
    respond,
    settle_threshold,
)
from .sliding import SlidVideo, WindowClassifier, slide
from .transitions import SeenTransitions
from .trust import warn_if_untrained

_HALF_FRAME = 0.51  # of a frame's time: the middle of an even window lies between two frames

logger = logging.get_logger(__name__)


class VideoBoundaryDetectionPipeline(VideoFeatureExtractionPipeline):
    """Find the boundaries in videos with a [`BSPForBoundaryClassification`], streaming.

    It takes what `pipeline("video-feature-extraction")` takes, and its parameters, with `stride_frames=1` and
    `padding="drop"` by default. Besides these: `threshold` (smallest response of a boundary; by default the
    `boundary_threshold` of the classifier's config), `min_gap_s` (boundaries are at least so far apart, 0.5
    by default), `kinds` (those of `"cut"`, `"gradual"`, `"action"` and `"pace"` to keep; all by default),
    `find_cuts` (whether the pictures are looked at, too: the response to a hard cut is 1; `False` leaves all
    to the encoder, which tells action from pace alone) and `coarse_to_fine` (off by default: whether only
    windows are encoded around which small pictures change, which saves most of the time of a quiet
    recording). `num_workers` changes nothing here: threads decode beside the model.

    The result of a video is a [`LocalizedSegments`]: a dict for each boundary, ascending, with `label` (its
    kind), `score`, `time_s`, and `start_s` and `end_s` of the window around it. A cut is at the first frame
    behind it. `scores` and `times_s` of the result are the response along the video; NaN in windows that were
    not encoded, of which `skipped_s` has the stretches.

    Args:
        model (`PreTrainedModel`): The boundary classifier.
        kwargs: As for the feature pipeline.

    Raises:
        ValueError: If the model does not distinguish boundary types, or its classifier was never trained.

    Example:
    ```python
    >>> from transformers import pipeline
    >>> import bsp_hf
    >>> find_boundaries = pipeline("video-boundary-detection", model="bsp-tsm-r50")  # doctest: +SKIP
    >>> find_boundaries("match.mp4")[0]  # doctest: +SKIP
    {'label': 'cut', 'score': 0.9, 'time_s': 4.2, 'start_s': 4.04, 'end_s': 4.36}
    ```
    """

    def __init__(self, model: PreTrainedModel, **kwargs: Any) -> None:
        labels = set((model.config.id2label or {}).values())
        saved_as = model.config.architectures or [type(model).__name__]
        if NO_BOUNDARY not in labels or type(model).__name__ not in saved_as:
            held = f"saved as {saved_as[0]}" if NO_BOUNDARY in labels else f"it knows {sorted(labels)[:4]}"
            raise ValueError(
                "video-boundary-detection needs a boundary classifier, a model with the label "
                f"{NO_BOUNDARY!r} and a trained head; of the one given, {held}. Pre-train one with "
                "--task boundary."
            )
        super().__init__(model=model, **kwargs)
        warn_if_untrained(model)

    def _sanitize_parameters(  # type: ignore[override]  # more of them
        self,
        threshold: float | None = None,
        min_gap_s: float | None = None,
        kinds: Sequence[str] | None = None,
        find_cuts: bool | None = None,
        coarse_to_fine: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_kinds(kinds)
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        looking = {"find_cuts": find_cuts, "coarse_to_fine": coarse_to_fine}
        preprocess |= {k: v for k, v in looking.items() if v is not None}
        own = {"threshold": threshold, "min_gap_s": min_gap_s, "kinds": kinds}
        return preprocess, forward, postprocess | {k: v for k, v in own.items() if v is not None}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # no positional ones
        """Find the boundaries of one video or several; see the class for what `inputs` may be.

        What is returned and raised is that of the feature pipeline, with [`LocalizedSegments`] in place of
        dicts: a video of a list that cannot be read has none and says why in `error`.
        """
        found = super().__call__(inputs, **kwargs)
        if isinstance(found, dict):
            found = found["segments"]
            found.video_id = name_video(inputs)
        elif isinstance(found, list):
            for result, video in zip(found, inputs, strict=True):
                result.video_id = name_video(video)
        return found

    def get_iterator(
        self,
        inputs: Any,  # Any: as of the parent
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Any:
        """Return the results of videos, each read and classified by the same threads."""
        self._follow_model()
        classifier = self._fast
        reading = {"batch_size": batch_size, **preprocess_params}

        def run(video: Any) -> Any:  # Any: one of the inputs
            return self.postprocess(slide(classifier, video, **reading), **postprocess_params)

        return map(run, inputs)

    def _prepare(self) -> WindowClassifier:
        return WindowClassifier(self.model, self._extractor)

    def postprocess(  # type: ignore[override]  # the parameters by name, and what `slide` returns
        self,
        model_outputs: SlidVideo,
        return_tensors: bool = False,
        keep_failure: bool = False,
        threshold: float | None = None,
        min_gap_s: float = DEFAULT_GAP_S,
        kinds: Sequence[str] | None = None,
    ) -> Any:
        """Pick the peaks of the response."""
        threshold = settle_threshold(self.model.config, threshold)
        record, failure = model_outputs.record, model_outputs.failure
        if failure is not None and not keep_failure:
            logger.warning(f"{failure}")
        numbers = {label: int(number) for label, number in (self.model.config.label2id or {}).items()}
        response = respond(model_outputs, numbers[NO_BOUNDARY])
        picked_s = pick_boundaries(response, threshold, min_gap_s) if len(response.times_s) else np.zeros(0)
        picked = nearest_rows(response.times_s, picked_s).tolist()
        rows = [_describe(response, row, model_outputs.seen, numbers, record["fps"] or 1.0) for row in picked]
        found = LocalizedSegments(
            [row for row in rows if kinds is None or row["label"] in kinds],
            duration_s=record["duration_s"],
            error=record["error"] or _too_short(response, record["snippet_frames"]),
            complete=record["complete"],
            times_s=response.times_s,
            scores=response.response,
        )
        return {"segments": found, "failure": failure} if keep_failure else found

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the classifier and its preprocessing; `kwargs` as for [`PreTrainedModel.save_pretrained`]."""
        # Not transformers' own: it would mark the config so that loading asks for trust in remote code.
        self.model.save_pretrained(save_directory, **kwargs)
        self._extractor.save_pretrained(save_directory)


def _describe(
    response: BoundaryResponse, row: int, seen: SeenTransitions, numbers: Mapping[str, int], fps: float
) -> dict[str, Any]:
    """Return the boundary in a window with its kind: as the pictures show it, or as the encoder says."""
    time_s, half_s = float(response.times_s[row]), response.window_s / 2
    first_s, last_s = time_s - _HALF_FRAME / fps, time_s + _HALF_FRAME / fps
    near = seen.near_cuts_s[(at := bisect_left(seen.near_cuts_s, (first_s, 0.0))) : at + 1]
    gradual_s = seen.gradual_s[(at := bisect_left(seen.gradual_s, first_s)) : at + 1]
    if near and near[0][0] <= last_s:
        kind, time_s = "cut", near[0][1]
    elif row in response.cuts:
        kind, time_s = "cut", min(seen.cuts_s, key=lambda cut_s: abs(cut_s - time_s))
    elif gradual_s and gradual_s[0] <= last_s:
        kind = "gradual"
    else:
        known = [label for label in numbers if label in KIND_OF_CLASS]
        kind = KIND_OF_CLASS[max(known, key=lambda label: response.probabilities[row, numbers[label]])]
    return {
        "label": kind,
        "score": float(response.response[row]),
        "time_s": time_s,
        "start_s": max(0.0, time_s - half_s),
        "end_s": min(response.duration_s, time_s + half_s),
    }


def _too_short(response: BoundaryResponse, num_frames: int) -> str | None:
    return None if len(response.times_s) else f"the video is shorter than one window of {num_frames} frames."
