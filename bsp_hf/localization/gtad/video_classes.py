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
    """How much a video as a whole looks like each class.

    Args:
        labels (`tuple[str, ...]`): Names of the classes.
        scores (`np.ndarray`): float64 `(num_classes,)`, not negative.
    """

    labels: tuple[str, ...]
    scores: np.ndarray


def read_class_scores(
    given: ArrayLike | Mapping[str, float] | None, id2label: Mapping[int, str]
) -> VideoClasses | None:
    """Check the class scores that are given with a video.

    Args:
        given (`ArrayLike` or `Mapping[str, float]`, *optional*): A score for each of the config's labels in
            their order, or a dict from labels, which may be others, to scores.
        id2label (`Mapping[int, str]`): The config's labels.

    Returns:
        `VideoClasses` or `None`: The scores; none if none are given.

    Raises:
        ValueError: If there is another number of scores than labels, or one is negative or not a number.
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
    """Classify a video by the action head of the encoder that made its features.

    Choice: the head's softmax for every snippet, averaged over the video; the published systems take the
    classes of a video from a classifier that they do not release.

    Args:
        track (`FeatureTrack`): The features, of at least one row.
        encoders (`Sequence[VideoFeatureExtractionPipeline]`): The encoder; with several none can be meant.

    Returns:
        `VideoClasses`: Probabilities that sum to 1.

    Raises:
        ValueError: If there are several encoders, or the encoder has no action head.
    """
    model = encoders[0].model
    head = getattr(model, "classifier", None)
    labels = tuple((model.config.id2label or {}).values())
    boundaries = {kind.label for kind in BoundaryType}
    if len(encoders) > 1 or not isinstance(head, torch.nn.Linear) or boundaries & set(labels):
        raise ValueError(
            "class_source='encoder' needs an encoder with an action head, trained with --task action; "
            f"the localizer's is {model.name_or_path or type(model).__name__} with the labels "
            f"{', '.join(labels[:4])}. Give class_scores= instead, or set class_source=None in its config."
        )
    rows = torch.from_numpy(track.features).to(head.weight)
    probabilities = head(rows).double().softmax(dim=1).mean(dim=0)
    return VideoClasses(labels, probabilities.cpu().numpy())
