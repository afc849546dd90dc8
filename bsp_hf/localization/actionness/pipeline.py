"""`pipeline("step-localization")`: videos in, their steps by linear actionness out, in seconds."""

from typing import Any

import numpy as np
import torch

from bsp_hf.localization.localizer.pipeline import LocalizationPipeline
from bsp_hf.localization.localizer.segments import (
    LocalizedSegments,
    describe_detections,
    only_label,
    result_of,
)
from bsp_hf.localization.localizer.tracks import covered_span

from .decoding import find_step_segments
from .modeling_actionness import ActionnessModel, features_of_segments


class StepLocalizationPipeline(LocalizationPipeline):
    """Find the steps of instructional videos by linear actionness: `pipeline("step-localization", ...)`.

    Every 0.2 s are scored, and neighbours above the threshold joined. The result's `scores` and `times_s` are
    the actionness along the video. Besides the parameters of every localization pipeline, and by default as
    the config says: `threshold`, `max_gap_s` and `min_step_s`, see
    [`~bsp_hf.localization.actionness.decoding.find_step_segments`].

    Args:
        model (`PreTrainedModel`): The localizer.
        encoder (`str`, `PathLike`, `VideoFeatureExtractionPipeline`, `tuple` or `list`, *optional*): The
            encoder of raw videos; by default the one in the localizer's folder.
        kwargs: As for every localization pipeline.

    Example:
    ```python
    >>> from transformers import pipeline
    >>> import bsp_hf
    >>> find_steps = pipeline("step-localization", model="actionness-crosstask")  # doctest: +SKIP
    >>> find_steps("pancakes.mp4")  # doctest: +SKIP
    [{'label': 'step', 'score': 0.77, 'start_s': 21.0, 'end_s': 29.6}]
    ```
    """

    localizer_classes = (ActionnessModel,)
    result_parameters = ("threshold", "max_gap_s", "min_step_s")

    def preprocess(  # type: ignore[override]  # the parameters by name
        self, inputs: Any, **loading: Any
    ) -> dict[str, Any]:
        """Return the features of the snippets nearest to the segments of a video."""
        track = self.make_track(inputs, **loading)
        if not track.num_snippets:
            return {"track": track}
        span = covered_span(track)
        rows = features_of_segments(
            track.features,
            track.centers_s - span.start_s,
            span.duration_s,
            float(self.config.segment_s),
        )
        return {"track": track, "features": torch.from_numpy(rows[None])}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        features = model_inputs.pop("features")
        return {**model_inputs, "probabilities": self.model(features).probabilities[0]}

    def postprocess(  # type: ignore[override]  # the parameters by name
        self,
        model_outputs: dict[str, Any],
        threshold: float | None = None,
        max_gap_s: float | None = None,
        min_step_s: float | None = None,
    ) -> LocalizedSegments:
        """Join what is likely a step; ascending in time."""
        track, config = model_outputs["track"], self.config
        scores = model_outputs["probabilities"].float().numpy()
        span, segment_s = covered_span(track), float(config.segment_s)
        found = find_step_segments(
            scores,
            segment_s,
            span.duration_s,
            threshold=float(config.step_threshold if threshold is None else threshold),
            max_gap_s=float(config.max_gap_s if max_gap_s is None else max_gap_s),
            min_step_s=float(config.min_step_s if min_step_s is None else min_step_s),
        )
        steps = describe_detections(found, only_label(config.id2label), span.start_s)
        result = result_of(track, sorted(steps, key=lambda step: step["start_s"]))
        result.scores, result.times_s = scores, span.start_s + (np.arange(len(scores)) + 0.5) * segment_s
        return result
