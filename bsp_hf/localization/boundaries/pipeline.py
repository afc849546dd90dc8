"""`pipeline("video-boundary-detection")`: where videos change, by a boundary classifier slid over them."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.localization.localizer.segments import LocalizedSegments
from bsp_hf.localization.localizer.tracks import name_video

from .response import (
    CLASS_BOUNDARIES,
    DEFAULT_GAP_S,
    NO_BOUNDARY,
    BoundaryResponse,
    boundary_probabilities,
    make_cut_finder,
    pick_boundaries,
    raise_at_cuts,
    settle_threshold,
)


class VideoBoundaryDetectionPipeline(VideoFeatureExtractionPipeline):
    """Find the boundaries in videos with a [`BSPForBoundaryClassification`], streaming.

    It takes what `pipeline("video-feature-extraction")` takes, and its parameters, with `stride_frames=1` and
    `padding="drop"` by default. Besides these: `threshold` (smallest response of a boundary; by default the
    `boundary_threshold` of the classifier's config), `min_gap_s` (boundaries are at least so far apart, 0.5
    by default), `kinds` (labels whose probabilities add up to the response; by default all but
    same-speed) and `find_cuts` (whether hard cuts are looked for in the pictures, too, where `kinds` has a
    class boundary; the response to one is 1).

    The result of a video is a [`LocalizedSegments`]: a dict for each boundary, ascending, with `label` (the
    likeliest kind), `score`, `time_s`, and `start_s` and `end_s` of the window around it. `scores` and
    `times_s` of the result are the response along the video.

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
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = self.model.config.label2id or {}
        unknown = sorted({*(kinds or ())} - known.keys())
        if unknown:
            raise ValueError(f"kinds={unknown} are none of {', '.join(known)}.")
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        first = {"find_cuts": find_cuts, "kinds": kinds}
        last = {"threshold": threshold, "min_gap_s": min_gap_s, "kinds": kinds}
        return (
            preprocess | {name: value for name, value in first.items() if value is not None},
            forward,
            postprocess | {name: value for name, value in last.items() if value is not None},
        )

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

    def preprocess(  # type: ignore[override]  # the parameters are the parent's and two more
        self, video: Any, find_cuts: bool = True, kinds: Sequence[str] | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the windows of one video, one frame apart; the record has the seconds of its cuts."""
        finder = make_cut_finder(kinds) if find_cuts else None
        kwargs = {"stride_frames": 1, "padding": "drop", **kwargs}
        for window in super().preprocess(video, watch=None if finder is None else finder.add, **kwargs):
            if window["is_last"]:
                window["record"]["cuts_s"] = [] if finder is None else finder.finish()
            yield window

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        pixel_values = model_inputs.pop("pixel_values")
        return {"features": boundary_probabilities(self.model, pixel_values), **model_inputs}

    def postprocess(  # type: ignore[override]  # the parameters by name
        self,
        model_outputs: list[dict[str, Any]],
        return_tensors: bool = False,
        keep_failure: bool = False,
        threshold: float | None = None,
        min_gap_s: float = DEFAULT_GAP_S,
        kinds: Sequence[str] | None = None,
    ) -> Any:
        """Pick the peaks of the response."""
        threshold = settle_threshold(self.model.config, threshold)
        joined = super().postprocess(model_outputs, return_tensors=False, keep_failure=keep_failure)
        numbers = {label: int(number) for label, number in (self.model.config.label2id or {}).items()}
        counted = [kind for kind in numbers if kind != NO_BOUNDARY] if kinds is None else list(kinds)
        probabilities = joined["features"][:, [numbers[kind] for kind in counted]]
        fps = joined["fps"] or 1.0
        response = BoundaryResponse(
            joined["centers_s"],
            joined["features"],
            probabilities.sum(1),
            joined["snippet_frames"] / fps,
            joined["duration_s"],
        )
        response = raise_at_cuts(response, joined["cuts_s"])
        found = LocalizedSegments(
            _describe(response, probabilities, counted, threshold, min_gap_s),
            duration_s=joined["duration_s"],
            error=joined["error"] or _too_short(response, joined["snippet_frames"]),
            complete=joined["complete"],
            times_s=response.times_s,
            scores=response.response,
        )
        return {"segments": found, "failure": joined["failure"]} if keep_failure else found

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the classifier and its preprocessing; `kwargs` as for [`PreTrainedModel.save_pretrained`]."""
        # Not transformers' own: it would mark the config so that loading asks for trust in remote code.
        self.model.save_pretrained(save_directory, **kwargs)
        self._extractor.save_pretrained(save_directory)


def _describe(
    response: BoundaryResponse,
    probabilities: np.ndarray,
    kinds: Sequence[str],
    threshold: float,
    min_gap_s: float,
) -> list[dict[str, Any]]:
    half_s, rows = response.window_s / 2, []
    for time_s in pick_boundaries(response, threshold, min_gap_s) if len(response.times_s) else ():
        row = int(np.abs(response.times_s - time_s).argmin())
        possible = [kind in CLASS_BOUNDARIES or row not in response.cuts for kind in kinds]
        rows.append(
            {
                "label": kinds[int(np.where(possible, probabilities[row], -1).argmax())],
                "score": float(response.response[row]),
                "time_s": float(time_s),
                "start_s": max(0.0, float(time_s) - half_s),
                "end_s": min(response.duration_s, float(time_s) + half_s),
            }
        )
    return rows


def _too_short(response: BoundaryResponse, num_frames: int) -> str | None:
    return None if len(response.times_s) else f"the video is shorter than one window of {num_frames} frames."
