"""The tasks that train the localizers, loaded by the settings of a training."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bsp_hf.features.other_tools.source import FeatureSource
from bsp_hf.localization.actionness.training import ActionnessTask
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.localization.grounding.task import GroundingTask
from bsp_hf.localization.gtad.training import GTADTask
from bsp_hf.localization.lgi.training import LGI
from bsp_hf.localization.tan.training import TAN
from bsp_hf.localization.training.hyperparameters import Hyperparameters
from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.localization.training.split import LocalizerSplit, prepare_split, split_at_random
from bsp_hf.localization.training.task import FeatureCache, LocalizerTask

TASKS: dict[str, Callable[[LocalizerSplit, FeatureCache, LocalizerTrainingSettings], LocalizerTask]] = {
    "gtad": GTADTask,
    "tan": partial(GroundingTask, TAN),
    "lgi": partial(GroundingTask, LGI),
    "actionness": ActionnessTask,
}
PRESETS: dict[str, Mapping[str, Hyperparameters]] = {
    "gtad": GTADTask.presets,
    "tan": TAN.presets,
    "lgi": LGI.presets,
    "actionness": ActionnessTask.presets,
}


def load_task(settings: LocalizerTrainingSettings) -> LocalizerTask:
    """Read annotations and features, and make the task of them.

    What does not fit together is a `ValueError` or `OSError` whose message says what to change.
    """
    presets = PRESETS[settings.localizer]
    if settings.preset is not None and settings.preset not in presets:
        raise ValueError(f"preset {settings.preset!r} is unknown; choose one of {', '.join(presets)}.")
    source = FeatureSource(
        settings.feature_paths,
        settings.feature_layout,
        prefix=settings.prefix,
        file_format=settings.feature_format,
    )
    split = prepare_split(*_read_parts(settings), source)
    task = TASKS[settings.localizer](split, FeatureCache(source), settings)
    if task.hyperparameters.watches_loss and not task.has_evaluation_loss:
        raise ValueError(
            f"--plateau_factor watches the loss of the evaluation, which {settings.localizer} does not "
            "compute; use --decay_epochs."
        )
    return task


def _read_parts(settings: LocalizerTrainingSettings) -> tuple[AnnotationSet, AnnotationSet]:
    def read(path: Path, durations: Path | None) -> AnnotationSet:
        return read_annotations(
            path,
            settings.annotation_layout,
            durations=durations,
            tasks=settings.tasks,
            validation_videos=settings.validation_videos,
            strict=settings.strict,
        )

    everything = read(settings.annotations, settings.durations)
    train = everything.of_subset(settings.train_subset)
    if settings.eval_fraction is not None:
        return split_at_random(train, settings.eval_fraction, settings.seed)
    evaluation = everything
    if settings.eval_annotations is not None:
        evaluation = read(settings.eval_annotations, settings.eval_durations)
    return train, evaluation.of_subset(settings.eval_subset)
