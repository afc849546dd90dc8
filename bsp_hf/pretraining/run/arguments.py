"""Command line of the pre-training examples; the names are those of the fields they fill."""

import argparse
from pathlib import Path
from typing import Any

from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.pretraining.pretexts import TASKS, find_pretext
from bsp_hf.pretraining.synthesis import SynthesisConfig

from .optimization import OPTIMIZERS, SCHEDULES

PRESETS: dict[str, dict[str, Any]] = {
    # TSM's published Kinetics training (SPEC of TSM, Sec. 2.6) on the paper's pretext.
    "paper": {},
    # A narrow ResNet-18 on small clips, for a laptop's CPU. Class boundaries are learned within the first
    # thousand clips, so most of the training shows changes of speed and their absence.
    "demo": {
        "backbone": "resnet18",
        "width_multiplier": 0.5,
        "short_side": 72,
        "crop_size": 64,
        "case_repeats": [1, 1, 3, 3],
        "dropout": 0.0,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup_share": 0.1,
        "max_grad_norm": 5.0,
        "epochs": 1000,
        "max_steps": 900,
        "eval_every": 300,
        "save_every": 200,
    },
}


def pretraining_parser(description: str) -> argparse.ArgumentParser:
    """Build the parser of a pre-training script.

    Args:
        description (`str`): What the script does; printed by `--help`.

    Returns:
        `argparse.ArgumentParser`: The parser; scripts add what is theirs and call [`parse_with_preset`].
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), default="paper", help="sets the defaults of the rest"
    )
    data = parser.add_argument_group("data")
    data.add_argument("--video_dir", type=Path, help="CLASS/clip.mp4 files; rendered clips when left out")
    data.add_argument("--metadata", type=Path, help="CSV: file, class, and optionally split and group")
    data.add_argument(
        "--eval_fraction", type=float, default=0.1, help="share of groups held out, without a split"
    )
    data.add_argument("--num_workers", type=int, default=0, help="processes that decode")
    data.add_argument("--frame_cache", type=Path, help="folder for decoded frames; trades disk for decoding")
    data.add_argument("--short_side", type=int, default=256)
    data.add_argument("--crop_size", type=int, default=224)
    task = parser.add_argument_group("task")
    task.add_argument(
        "--task",
        type=_known_task,
        default="boundary",
        help=f"{', '.join(TASKS)}, or a class of your own as module:Class or folder/file.py:Class",
    )
    task.add_argument(
        "--case_repeats", type=int, nargs="+", help="clips a source gives to each case in an epoch"
    )
    defaults = SynthesisConfig()
    task.add_argument("--half_length", type=int, default=defaults.half_length)
    task.add_argument("--blend_half_width", type=int, default=defaults.blend_half_width)
    task.add_argument("--speeds", type=float, nargs="+", default=defaults.speeds)
    task.add_argument("--min_side_frames", type=int, default=defaults.min_side_frames)
    task.add_argument("--frame_stride", type=int, default=defaults.frame_stride)
    model = parser.add_argument_group("model")
    model.add_argument(
        "--backbone",
        default="resnet50",
        help=f"{', '.join(RESNET_VARIANTS)}, or a JSON file, folder or Hub id whose config is another image "
        "or video model's; its weights are fresh",
    )
    model.add_argument(
        "--width_multiplier", type=float, default=1.0, help="scales every layer's channels of a named ResNet"
    )
    model.add_argument(
        "--init_from", help="folder or Hub id of an image or video model to start from, weights and all"
    )
    model.add_argument("--shift_div", type=int, default=8)
    model.add_argument("--dropout", type=float, default=0.5)
    model.add_argument("--gradient_checkpointing", action="store_true")
    train = parser.add_argument_group("training")
    train.add_argument("--output_dir", type=Path, required=True)
    train.add_argument("--epochs", type=int, default=50)
    train.add_argument(
        "--max_steps",
        type=int,
        help="stop after so many optimizer steps, whatever the epochs; 0 saves the model as it starts, the "
        "baseline without pre-training",
    )
    train.add_argument("--batch_size", type=int, default=16, help="clips of one process in one batch")
    train.add_argument("--gradient_accumulation_steps", type=int, default=1)
    train.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    train.add_argument(
        "--learning_rate", type=float, help="default: 0.02 * total batch / 128 (sgd), 1e-3 (adamw)"
    )
    train.add_argument("--weight_decay", type=float, default=1e-4)
    train.add_argument("--momentum", type=float, default=0.9)
    train.add_argument("--schedule", choices=SCHEDULES, default="step")
    train.add_argument("--warmup_share", type=float, default=0.0, help="share of the steps")
    train.add_argument("--max_grad_norm", type=float, default=20.0)
    train.add_argument(
        "--mixed_precision", choices=("no", "bf16", "fp16"), help="default: what accelerate says"
    )
    train.add_argument("--cpu", action="store_true", help="train on the CPU even where there is a GPU")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--eval_every", type=int, help="optimizer steps between evaluations; default: every epoch"
    )
    train.add_argument("--save_every", type=int, default=500, help="optimizer steps between checkpoints")
    train.add_argument("--restart", action="store_true", help="ignore checkpoints in output_dir")
    train.add_argument("--report_to", nargs="*", default=[], choices=("tensorboard", "trackio"))
    return parser


def _known_task(task: str) -> str:
    try:
        find_pretext(task)
    except (ValueError, OSError, ImportError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return task


def parse_with_preset(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; `--preset` sets defaults, which any other option overrides."""
    parser.set_defaults(**PRESETS[parser.parse_known_args()[0].preset])
    return parser.parse_args()


# None of these touches a weight, except that another number of steps bends the schedule; a moved folder is
# the same data. The precision in effect is accelerate's to say.
_PLACES = {"output_dir", "video_dir", "metadata", "frame_cache", "cpu", "num_workers", "mixed_precision"}


_PLACES |= {"action_teacher", "boundary_teacher", "teacher_features"}


_PACE = {"preset", "epochs", "max_steps", "eval_every", "save_every", "report_to", "restart"}


def lasting_settings(args: argparse.Namespace) -> dict[str, Any]:  # Any: whatever an option holds
    """Return the options that a resumed run must repeat to be the run it was.

    Args:
        args (`argparse.Namespace`): The parsed command line.

    Returns:
        `dict`: Values by name, fit for JSON.
    """
    return {name: value for name, value in vars(args).items() if name not in _PLACES | _PACE}
