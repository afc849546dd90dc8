"""The classes of a video as a whole, which G-TAD's segments are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.features.track import FeatureTrack


@dataclass(frozen=True)
class VideoClasses:
    """The classes of a video as a whole: their names, and float64 scores `(num_classes,)`, not negative."""

    labels: tuple[str, ...]
    scores: np.ndarray


def read_class_scores(
    given: ArrayLike | Mapping[str, float] | None, id2label: Mapping[int, str]
) -> VideoClasses | None:
    """Return the class scores that are given with a video, checked.

    They are a score for each of the config's labels in their order, or a dict from labels, which may be
    others, to scores.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        labels = tuple(str(label) for label in given)
        scores = np.array(list(given.values()), dtype=np.float64)
    else:
        labels = tuple(id2label[number] for number in range(len(id2label)))
        scores = np.asarray(given, dtype=np.float64)
    if scores.shape != (len(labels),) or not len(labels):
        raise ValueError(
            f"class_scores have shape {scores.shape}, the localizer names {len(labels)} classes. Give one "
            "score for each of them, or a dict from labels to scores."
        )
    if not (scores >= 0).all():
        raise ValueError("class_scores must be numbers that are not negative; give probabilities.")
    return VideoClasses(labels, scores)


@torch.inference_mode()
def classify_track(track: FeatureTrack, encoders: Sequence[VideoFeatureExtractionPipeline]) -> VideoClasses:
    """Return the classes of a video by the action head of the encoder that made its features.

    The head is that of a model trained with `--task action`, or the action head of a two-head model.

    Choice: the head's softmax for every snippet, averaged over the video; the published systems take the
    classes of a video from a classifier that they do not release.
    """
    model = encoders[0].model
    labels = tuple((model.config.id2label or {}).values())
    head = getattr(model, "action_classifier", None)
    if head is not None:
        labels = tuple(model.config.action_names or ())
    elif not {kind.label for kind in BoundaryType} & set(labels):
        head = getattr(model, "classifier", None)
    if len(encoders) > 1 or not isinstance(head, torch.nn.Linear):
        raise ValueError(
            "class_source='encoder' needs one encoder with an action head, trained with --task action; there "
            f"are {len(encoders)}, first {model.name_or_path or type(model).__name__} with the labels "
            f"{', '.join(labels[:4])}. Give class_scores= instead, or set class_source=None in its config."
        )
    rows = torch.from_numpy(track.features).to(head.weight)
    probabilities = head(rows).double().softmax(dim=1).mean(dim=0)
    return VideoClasses(labels, probabilities.cpu().numpy())
