"""The classes of a video as a whole, which G-TAD's segments get: from a head, an argument or a file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import atomic_write_text
from bsp_hf.metrics.text_files import read_json


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
    if not (np.isfinite(scores) & (scores >= 0)).all():
        raise ValueError("class_scores must be finite and not negative; give probabilities.")
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


@dataclass(frozen=True)
class ClassScoreFile:
    """The scores of a video-level classifier: names of the classes, `(num_classes,)` scores by video id."""

    names: tuple[str, ...]
    scores: dict[str, np.ndarray]


def read_class_score_file(path: str | Path) -> ClassScoreFile:
    """Read video-level class scores: `{"class": [names], "results": {id: [score, ...]}}`, as G-TAD does."""
    try:
        content = read_json(path)
        names = tuple(str(name) for name in content["class"])
        scores = {
            str(video): np.array(values, dtype=np.float64) for video, values in content["results"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f'{path} holds no class scores ({error}); expected {{"class": [...], "results": {{id: ...}}}}.'
        ) from error
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{path}: the class {repeated[0]} stands twice.")
    wrong = [video for video, values in scores.items() if values.shape != (len(names),)]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} has {scores[wrong[0]].shape} scores for {len(names)} classes.")
    for video, values in scores.items():
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(
                f"{path}: {video} has scores that are negative or not finite: {values.tolist()}."
            )
    return ClassScoreFile(names, scores)


def write_class_score_file(path: str | Path, scores: ClassScoreFile) -> Path:
    """Write video-level class scores so that [`read_class_score_file`] and G-TAD read them."""
    results = {video: values.tolist() for video, values in scores.scores.items()}
    atomic_write_text(path, json.dumps({"class": list(scores.names), "results": results}))
    return Path(path)
