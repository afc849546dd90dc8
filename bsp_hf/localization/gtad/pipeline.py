"""`pipeline("temporal-action-localization")`: videos in, actions by G-TAD out, in seconds."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from bsp_hf.features.resampling import rescale_rows
from bsp_hf.localization.localizer.pipeline import LocalizationPipeline
from bsp_hf.localization.localizer.segments import (
    LocalizedSegments,
    describe_detections,
    only_label,
    result_of,
)
from bsp_hf.localization.localizer.tracks import covered_span

from .decoding import decode_activitynet, decode_thumos
from .modeling_gtad import GTADForTemporalActionLocalization
from .targets import cut_windows
from .video_classes import VideoClasses, classify_track, read_class_scores

_WINDOWS_AT_ONCE = 4


class TemporalActionLocalizationPipeline(LocalizationPipeline):
    """Find the actions in videos with G-TAD: `pipeline("temporal-action-localization", ...)`.

    G-TAD finds actions without distinguishing their classes. These are those of the video as a whole: from
    `class_scores` (scores of the config's labels in their order, or a dict from labels to scores), or from
    the action head of the encoder (`class_source="encoder"` in the config). As published, the best two
    classes are attached to every segment. Without either the label is `"action"`, or the config's only one.

    Besides the parameters of every localization pipeline: `class_scores`, `top_k` (segments to return at
    most) and `threshold` (smallest score to return).

    Args:
        model (`PreTrainedModel`): The localizer.
        encoder (`str`, `PathLike`, `VideoFeatureExtractionPipeline`, `tuple` or `list`, *optional*): The
            encoder of raw videos; by default the one in the localizer's folder.
        kwargs: As for every localization pipeline.

    Example:
    ```python
    >>> from transformers import pipeline
    >>> import bsp_hf
    >>> localize = pipeline("temporal-action-localization", model="gtad-thumos")  # doctest: +SKIP
    >>> localize("match.mp4", top_k=1)  # doctest: +SKIP
    [{'label': 'HighJump', 'score': 0.71, 'start_s': 12.4, 'end_s': 19.0}]
    ```
    """

    localizer_classes = (GTADForTemporalActionLocalization,)
    item_fields = ("class_scores",)
    result_parameters = ("top_k", "threshold")

    def preprocess(  # type: ignore[override]  # the parameters by name
        self,
        inputs: Any,  # Any: a video in any form, or a track
        class_scores: ArrayLike | Mapping[str, float] | None = None,
        **loading: Any,
    ) -> dict[str, Any]:
        """Make the rows of the time axis, or its windows, and settle the classes of the video."""
        config = self.config
        classes = read_class_scores(class_scores, config.id2label)
        track = self.make_track(inputs, **loading)
        if not track.num_snippets:
            return {"track": track}
        if classes is None and config.class_source == "encoder":
            classes = classify_track(track, self.encoders)
        if config.time_axis == "windows":
            windows = cut_windows(track, config.num_steps)
            return {
                "track": track,
                "classes": classes,
                "features": torch.from_numpy(windows.features),
                "first_frames": windows.first_frames,
            }
        rows = rescale_rows(track.features, config.num_steps)
        return {"track": track, "classes": classes, "features": torch.from_numpy(rows[None])}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        features = model_inputs.pop("features")
        outputs = [self.model(part, return_dict=True) for part in features.split(_WINDOWS_AT_ONCE)]
        maps = {name: torch.cat([output[name] for output in outputs]) for name in ("iou_map", "start", "end")}
        return {**model_inputs, **maps}

    def postprocess(  # type: ignore[override]  # the parameters by name
        self, model_outputs: dict[str, Any], top_k: int | None = None, threshold: float = 0.0
    ) -> LocalizedSegments:
        """Decode as published, name the classes, and rank by score."""
        track, config = model_outputs["track"], self.config
        classes: VideoClasses | None = model_outputs["classes"]
        scores = None if classes is None else classes.scores
        if config.time_axis == "windows":
            found = decode_thumos(
                model_outputs["iou_map"],
                model_outputs["first_frames"],
                track.record.fps,
                # frames from second 0 on, also where a part of the video was read
                round(covered_span(track).end_s * track.record.fps),
                config,
                scores,
                stride_frames=track.record.stride_frames,
            )
            offset_s = 0.0
        else:
            span = covered_span(track)
            (found,) = decode_activitynet(
                model_outputs["iou_map"],
                model_outputs["start"],
                model_outputs["end"],
                [span.duration_s],
                config,
                None if scores is None else [scores],
            )
            offset_s = span.start_s
        names = dict(enumerate(classes.labels)) if classes is not None else only_label(config.id2label)
        segments = describe_detections(found, names, offset_s)
        kept = [segment for segment in segments if segment["score"] >= threshold][:top_k]
        return result_of(track, kept)
