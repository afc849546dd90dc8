"""`bsp-hf pretrain`: launches the training loop of `examples/pretrain.py` through Accelerate."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bsp_hf.pretraining.choices import TASKS

from ..loops import DryRun, LaunchOptions, OutputDir, ShowOptions, TrainingLoop

# The loop's other options of few values.
CHOICES = (
    "augmentation",
    "eval_segment_place",
    "start_features_error",
    "optimizer",
    "schedule",
    "mixed_precision",
)
LOOP = TrainingLoop("pretrain", "pretrain.py", "bsp_hf.pretraining.run.settings", "PretrainingSettings")

Preset = Annotated[
    str | None,
    Option(
        help="'paper', 'small', or 'demo' for minutes on the CPU of a laptop.",
        autocompletion=LOOP.complete("preset"),
    ),
]


@LOOP.completes(CHOICES)
def pretrain(
    context: typer.Context,
    video_dir: Annotated[
        Path | None, Option(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    output_dir: OutputDir = None,
    preset: Preset = None,
    task: Annotated[
        str | None,
        Option(help="The pretext; 'boundary' by default.", autocompletion=lambda: [*TASKS]),
    ] = None,
    launch: LaunchOptions = "",
    loop_options: ShowOptions = False,
    dry_run: DryRun = False,
    **choices: str | None,
) -> None:
    r"""Pre-train an encoder on boundaries synthesized from trimmed clips.

    Runs examples/pretrain.py through Accelerate; every option that is not listed here is passed to it.
    Stopped at any moment, the same command continues where it stopped.

    \b
    Examples:
      bsp-hf pretrain --preset demo --output-dir bsp-tsm-demo
      bsp-hf pretrain --video-dir clips/ --output-dir my-encoder --backbone resnet18 --batch-size 32
      bsp-hf pretrain --video-dir clips/ --output-dir my-encoder --launch "--multi_gpu --mixed_precision bf16"
    """
    given = {"video_dir": video_dir, "output_dir": output_dir, "preset": preset, "task": task}
    LOOP.launch(context, given | choices, launch, loop_options, dry_run)
