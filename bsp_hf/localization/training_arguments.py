"""Command line of `examples/train_localizer.py`, and what its options load."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from bsp_hf.features.other_tools.source import SOURCE_LAYOUTS, TRACKS, FeatureSource
from bsp_hf.localization.actionness.training import ActionnessTask
from bsp_hf.localization.annotations.layouts import ANNOTATION_LAYOUTS, read_annotations
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.localization.grounding.task import GroundingTask
from bsp_hf.localization.gtad.training import GTADTask
from bsp_hf.localization.lgi.training import LGI
from bsp_hf.localization.tan.training import TAN
from bsp_hf.localization.training.split import LocalizerSplit, prepare_split, split_at_random
from bsp_hf.localization.training.task import FeatureCache, LocalizerTask, TaskOptions, TrainingSettings

TASKS: dict[str, Callable[[LocalizerSplit, FeatureCache, TaskOptions], LocalizerTask]] = {
    "gtad": GTADTask,
    "tan": partial(GroundingTask, TAN),
    "lgi": partial(GroundingTask, LGI),
    "actionness": ActionnessTask,
}
PRESETS: dict[str, Mapping[str, TrainingSettings]] = {
    "gtad": GTADTask.presets,
    "tan": TAN.presets,
    "lgi": LGI.presets,
    "actionness": ActionnessTask.presets,
}


def training_parser(description: str) -> argparse.ArgumentParser:
    """Build the parser of the training script.

    Args:
        description (`str`): What the script does; printed by `--help`.

    Returns:
        `argparse.ArgumentParser`: The parser.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    presets = "; ".join(f"{name}: {', '.join(names)}" for name, names in PRESETS.items())
    parser.add_argument("--localizer", choices=tuple(TASKS), required=True)
    parser.add_argument("--preset", help=f"published setting, by default the first ({presets})")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--annotations", type=Path, required=True, help="file of annotations, or CrossTask's folder"
    )
    data.add_argument(
        "--annotation_layout", choices=tuple(ANNOTATION_LAYOUTS), help="default: told by the content"
    )
    data.add_argument("--eval_annotations", type=Path, help="file of the videos to evaluate on, if another")
    data.add_argument("--train_subset", help="subset to train on, where a file has several")
    data.add_argument("--eval_subset", help="subset to evaluate on")
    data.add_argument(
        "--eval_fraction", type=float, help="share of the videos held out, where there are no subsets"
    )
    data.add_argument("--durations", type=Path, help="table of id and length (Charades_v1_train.csv)")
    data.add_argument("--eval_durations", type=Path, help="the same for --eval_annotations")
    data.add_argument("--tasks", type=Path, help="tasks_primary.txt of CrossTask")
    data.add_argument("--validation_videos", type=Path, help="videos_val.csv of CrossTask")
    data.add_argument("--strict", action="store_true", help="stop at bad rows rather than leave them out")
    data.add_argument(
        "--features",
        type=Path,
        nargs="+",
        required=True,
        help="several (or a,b) are joined: two-stream",
    )
    data.add_argument("--feature_layout", choices=SOURCE_LAYOUTS, default=TRACKS)
    data.add_argument("--feature_format", help="npy, npz, pt or csv, for opentad")
    data.add_argument("--prefix", default="", help="in front of an id in names of features, such as v_")
    data.add_argument(
        "--stride_frames", type=int, help="frames from row to row, where features do not say it"
    )
    data.add_argument("--word_vectors", type=Path, help="GloVe: glove.6B.300d.txt, or an npz")
    data.add_argument("--text_encoder", help="folder or Hub id of a text encoder, in place of word vectors")
    data.add_argument("--class_scores", type=Path, help="JSON of video-level class scores, for gtad")
    data.add_argument("--num_workers", type=int, default=0, help="processes that prepare samples")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--config", type=json.loads, default={}, help="JSON of config fields that shall differ"
    )
    model.add_argument(
        "--encoder", nargs="+", help="folder or Hub id of the encoder(s) to save with the localizer"
    )
    train = parser.add_argument_group("training; what is left out is as published")
    train.add_argument("--output_dir", type=Path, required=True)
    train.add_argument("--epochs", type=int)
    train.add_argument("--batch_size", type=int, help="samples of one process in one batch")
    train.add_argument("--gradient_accumulation_steps", type=int, default=1)
    train.add_argument("--learning_rate", type=float)
    train.add_argument("--weight_decay", type=float)
    train.add_argument("--max_grad_norm", type=float)
    train.add_argument("--decay_epochs", type=int, help="divide the rate by 10 every so many epochs")
    train.add_argument(
        "--plateau_factor",
        type=float,
        help="multiply the rate by this where the loss of the evaluation rests; 1 for never",
    )
    train.add_argument("--plateau_patience", type=int, help="evaluations that may pass before")
    train.add_argument("--mixed_precision", choices=("no", "bf16", "fp16"), default="no")
    train.add_argument("--cpu", action="store_true", help="train on the CPU even where there is a GPU")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--eval_every", type=int, default=1, help="epochs between evaluations")
    train.add_argument("--save_every", type=int, default=200, help="steps between checkpoints")
    train.add_argument("--restart", action="store_true", help="ignore checkpoints in output_dir")
    return parser


def load_task(args: argparse.Namespace) -> LocalizerTask:
    """Read annotations and features, and make the task of them.

    Args:
        args (`argparse.Namespace`): The parsed command line.

    Returns:
        `LocalizerTask`: The task.

    Raises:
        OSError: If a file is absent.
        ValueError: If files and options do not fit together; the message says what to change.
    """
    train, evaluation = _read_parts(args)
    source = FeatureSource(
        _split_at_commas(args.features),
        args.feature_layout,
        prefix=args.prefix,
        file_format=args.feature_format,
    )
    split = prepare_split(train, evaluation, source)
    options = TaskOptions(
        args.preset,
        args.config,
        args.word_vectors,
        args.text_encoder,
        args.class_scores,
        args.stride_frames,
        args.seed,
    )
    task = TASKS[args.localizer](split, FeatureCache(source), options)
    if args.plateau_factor not in (None, 1) and not task.has_evaluation_loss:
        raise ValueError(
            f"--plateau_factor watches the loss of the evaluation, which {args.localizer} does not compute; "
            "use --decay_epochs."
        )
    return task


def _split_at_commas(paths: Sequence[Path]) -> list[Path]:
    """Take `a,b` for two folders, as G-TAD's own option does, unless there is one of that name."""
    return [
        Path(part)
        for path in paths
        for part in ([path] if path.exists() else filter(None, str(path).split(",")))
    ]


def _read_parts(args: argparse.Namespace) -> tuple[AnnotationSet, AnnotationSet]:
    ways = [args.eval_annotations is not None, args.eval_subset is not None, args.eval_fraction is not None]
    if not any(ways) or (ways[2] and any(ways[:2])):
        raise ValueError(
            "say what to evaluate on: --eval_annotations FILE, --eval_subset NAME (with --train_subset), or "
            "--eval_fraction SHARE."
        )

    def read(path: Path, durations: Path | None) -> AnnotationSet:
        return read_annotations(
            path,
            args.annotation_layout,
            durations=durations,
            tasks=args.tasks,
            validation_videos=args.validation_videos,
            strict=args.strict,
        )

    everything = read(args.annotations, args.durations)
    train = everything.of_subset(args.train_subset)
    if args.eval_fraction is not None:
        return split_at_random(train, args.eval_fraction, args.seed)
    evaluation = everything
    if args.eval_annotations is not None:
        evaluation = read(args.eval_annotations, args.eval_durations)
    return train, evaluation.of_subset(args.eval_subset)


def training_settings(args: argparse.Namespace, published: TrainingSettings) -> TrainingSettings:
    """Return the published hyper-parameters with those of the command line in their place.

    Args:
        args (`argparse.Namespace`): The parsed command line.
        published (`TrainingSettings`): Those of the preset.

    Returns:
        `TrainingSettings`: What to train with.
    """
    names = [field.name for field in fields(TrainingSettings)]
    return replace(published, **{name: value for name in names if (value := getattr(args, name)) is not None})


_PLACES = {"output_dir", "cpu", "num_workers", "restart", "encoder", "save_every"}


def lasting_settings(args: argparse.Namespace) -> dict[str, Any]:  # Any: whatever an option holds
    """Return the options that a resumed run must repeat to be the run it was.

    Args:
        args (`argparse.Namespace`): The parsed command line.

    Returns:
        `dict`: Values by name, fit for JSON.
    """

    def plain(value: Any) -> Any:  # Any: as above
        if isinstance(value, list):
            return [plain(part) for part in value]
        return str(value) if isinstance(value, Path) else value

    return {name: plain(value) for name, value in vars(args).items() if name not in _PLACES}
