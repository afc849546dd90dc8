"""`pipeline("video-boundary-detection")`: where videos change, by a boundary classifier slid over them."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel
from transformers.utils import logging

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.localization.localizer.segments import LocalizedSegments
from bsp_hf.localization.localizer.tracks import name_video

from .response import (
    CLASS_BOUNDARIES,
    DEFAULT_GAP_S,
    NO_BOUNDARY,
    BoundaryResponse,
    may_be_cuts,
    nearest_rows,
    pick_boundaries,
    respond,
    settle_threshold,
)
from .sliding import SlidVideo, WindowClassifier, slide

logger = logging.get_logger(__name__)


class VideoBoundaryDetectionPipeline(VideoFeatureExtractionPipeline):
    """Find the boundaries in videos with a [`BSPForBoundaryClassification`], streaming.

    It takes what `pipeline("video-feature-extraction")` takes, and its parameters, with `stride_frames=1` and
    `padding="drop"` by default. Besides these: `threshold` (smallest response of a boundary; by default the
    `boundary_threshold` of the classifier's config), `min_gap_s` (boundaries are at least so far apart, 0.5
    by default), `kinds` (labels whose probabilities add up to the response; by default all but
    same-speed), `find_cuts` (whether hard cuts are looked for in the pictures, too, where `kinds` has a
    class boundary; the response to one is 1) and `coarse_to_fine` (off by default: whether only windows are
    encoded around which small pictures change, which saves most of the time of a quiet recording).
    `num_workers` changes nothing here: threads decode beside the model.

    The result of a video is a [`LocalizedSegments`]: a dict for each boundary, ascending, with `label` (the
    likeliest kind), `score`, `time_s`, and `start_s` and `end_s` of the window around it. `scores` and
    `times_s` of the result are the response along the video; NaN in windows that were not encoded, of which
    `skipped_s` has the stretches.

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
    {'label': 'diff-class', 'score': 0.9, 'time_s': 4.2, 'start_s': 4.04, 'end_s': 4.36}
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

    def _sanitize_parameters(  # type: ignore[override]  # more of them
        self,
        threshold: float | None = None,
        min_gap_s: float | None = None,
        kinds: Sequence[str] | None = None,
        find_cuts: bool | None = None,
        coarse_to_fine: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = self.model.config.label2id or {}
        unknown = sorted({*(kinds or ())} - known.keys())
        if unknown:
            raise ValueError(f"kinds={unknown} are none of {', '.join(known)}.")
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
        classifier = WindowClassifier(self.model, self._extractor)
        find_cuts = preprocess_params.get("find_cuts", True) and may_be_cuts(postprocess_params.get("kinds"))
        reading = {"batch_size": batch_size, **preprocess_params, "find_cuts": find_cuts}

        def run(video: Any) -> Any:  # Any: one of the inputs
            return self.postprocess(slide(classifier, video, **reading), **postprocess_params)

        return map(run, inputs)

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
        counted = [kind for kind in numbers if kind != NO_BOUNDARY] if kinds is None else list(kinds)
        columns = [numbers[kind] for kind in counted]
        response = respond(model_outputs, columns)
        found = LocalizedSegments(
            _describe(response, columns, counted, threshold, min_gap_s),
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
    response: BoundaryResponse,
    columns: Sequence[int],
    kinds: Sequence[str],
    threshold: float,
    min_gap_s: float,
) -> list[dict[str, Any]]:
    half_s, rows = response.window_s / 2, []
    picked_s = pick_boundaries(response, threshold, min_gap_s) if len(response.times_s) else np.zeros(0)
    cuts = set(response.cuts.tolist())
    for time_s, row in zip(picked_s, nearest_rows(response.times_s, picked_s).tolist(), strict=True):
        possible = [kind in CLASS_BOUNDARIES or row not in cuts for kind in kinds]
        rows.append(
            {
                "label": kinds[int(np.where(possible, response.probabilities[row, columns], -1).argmax())],
                "score": float(response.response[row]),
                "time_s": float(time_s),
                "start_s": max(0.0, float(time_s) - half_s),
                "end_s": min(response.duration_s, float(time_s) + half_s),
            }
        )
    return rows


def _too_short(response: BoundaryResponse, num_frames: int) -> str | None:
    return None if len(response.times_s) else f"the video is shorter than one window of {num_frames} frames."
