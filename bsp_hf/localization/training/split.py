"""Videos that a localizer trains on and is evaluated on, and a check that the features are theirs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bsp_hf.features.other_tools.source import FeatureSource, VideoFeatures
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet

logger = logging.getLogger(__name__)

_SHOWN_VIDEOS = 10
# Some videos suffice to notice features of other files; small differences come from how containers count.
_CHECKED_VIDEOS = 50
_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE_S = 0.05, 1.0


@dataclass(frozen=True)
class LocalizerSplit:
    """Videos to train on and to evaluate on, all of them with features and a duration.

    `missing_train` and `missing_evaluation` are annotated videos without features.
    """

    train: AnnotationSet
    evaluation: AnnotationSet
    missing_train: tuple[str, ...] = ()
    missing_evaluation: tuple[str, ...] = ()

    @property
    def coverage(self) -> str:
        """Videos that a score is computed on, `"n of N videos"`."""
        found = len(self.evaluation)
        return f"{found} of {found + len(self.missing_evaluation)} videos"


def split_at_random(
    annotations: AnnotationSet, fraction: float, seed: int = 0
) -> tuple[AnnotationSet, AnnotationSet]:
    """Return videos to train on and held-out ones, in file order, for annotations without subsets.

    `fraction` is the share to hold out (the paper's 3:1 on CrossTask).
    """
    num_held_out = round(fraction * len(annotations))
    if not 0 < fraction < 1 or not 0 < num_held_out < len(annotations):
        raise ValueError(f"fraction={fraction} of {len(annotations)} videos leaves a part empty.")
    chosen = np.random.default_rng(seed).permutation(len(annotations))[:num_held_out]
    held_out = {annotations.videos[index].video_id for index in chosen}
    rest = {video.video_id for video in annotations.videos} - held_out
    return annotations.without_videos(held_out), annotations.without_videos(rest)


def prepare_split(train: AnnotationSet, evaluation: AnnotationSet, source: FeatureSource) -> LocalizerSplit:
    """Return the videos with features, with durations from the features where the annotations have none."""
    shared = set(train.by_id) & set(evaluation.by_id)
    if shared:
        raise ValueError(
            f"{len(shared)} videos are both trained and evaluated on, first {min(shared)!r}; give disjoint "
            "subsets."
        )
    parts: list[AnnotationSet] = []
    missing: list[tuple[str, ...]] = []
    for name, annotations in (("training", train), ("evaluation", evaluation)):
        absent = source.missing(annotations.by_id)
        if absent:
            shown = ", ".join(absent[:_SHOWN_VIDEOS]) + (", ..." if len(absent) > _SHOWN_VIDEOS else "")
            logger.warning(
                "%d of %d %s videos have no features: %s", len(absent), len(annotations), name, shown
            )
        found = annotations.without_videos(absent)
        if not len(found):
            raise ValueError(
                f"none of the {len(annotations)} {name} videos has features, first "
                f"{annotations.videos[0].video_id!r}. Check the folder, the layout and the prefix."
            )
        warn_of_other_durations(found, lambda video: _covered_s(source.read(video.video_id)))
        parts.append(_with_durations(found, source))
        missing.append(absent)
    return LocalizerSplit(parts[0], parts[1], missing[0], missing[1])


def _with_durations(annotations: AnnotationSet, source: FeatureSource) -> AnnotationSet:
    durations_s: dict[str, float] = {}
    for video in annotations.videos:
        if video.duration_s is None:
            duration_s = source.read(video.video_id).duration_s
            if duration_s is None:
                raise ValueError(
                    f"the duration of {video.video_id} is neither in the annotations nor in its features; "
                    "give a table of durations."
                )
            durations_s[video.video_id] = duration_s
    return annotations.with_durations(durations_s)


def warn_of_other_durations(
    annotations: AnnotationSet, measure_s: Callable[[AnnotatedVideo], float | None]
) -> None:
    """Warn of features of other cuts of the videos, which train without complaint and localize nothing.

    `measure_s` returns how many seconds the features of a video cover, or None where that is not known.
    """
    checked = annotations.videos[:_CHECKED_VIDEOS]
    others = []
    for video in checked:
        annotated_s, features_s = video.duration_s, measure_s(video)
        if annotated_s is None or features_s is None:  # the duration will be that of the features
            continue
        if abs(features_s - annotated_s) > max(_LARGEST_DIFFERENCE_S, _LARGEST_DIFFERENCE * annotated_s):
            others.append(f"{video.video_id} ({features_s:.1f} s of features, annotated {annotated_s:.1f} s)")
    if others:
        logger.warning(
            "%d of the first %d videos last longer or shorter than annotated; are the features of the same "
            "files, and their rate (--stride_frames) right? %s",
            len(others),
            len(checked),
            ", ".join(others[:_SHOWN_VIDEOS]),
        )


def _covered_s(features: VideoFeatures) -> float | None:
    if features.record is not None or features.centers_s is None:
        return features.duration_s
    return float(features.centers_s[0] + features.centers_s[-1])  # rows in the middle of equal parts
