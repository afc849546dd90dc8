"""`bsp-hf pretrain-fused`: launches the loop of `examples/pretrain_fused.py` through Accelerate."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ..loops import DryRun, LaunchOptions, OutputDir, ShowOptions, TrainingLoop
from .pretrain import CHOICES, Preset

LOOP = TrainingLoop(
    "pretrain-fused", "pretrain_fused.py", "bsp_hf.pretraining.run.settings", "FusedPretrainingSettings"
)


@LOOP.completes((*CHOICES, "squared_error_reduction"))
def pretrain_fused(
    context: typer.Context,
    fusion: Annotated[
        str | None,
        Option(
            help="two-stream, two-head or distillation; needed.",
            autocompletion=LOOP.complete("fusion"),
        ),
    ] = None,
    action_teacher: Annotated[
        str | None, Option(help="Trained encoder of actions: a folder or a Hub id.")
    ] = None,
    boundary_teacher: Annotated[
        str | None, Option(help="Trained encoder of boundaries: a folder or a Hub id.")
    ] = None,
    video_dir: Annotated[
        Path | None, Option(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    output_dir: OutputDir = None,
    preset: Preset = None,
    launch: LaunchOptions = "",
    loop_options: ShowOptions = False,
    dry_run: DryRun = False,
    **choices: str | None,
) -> None:
    r"""Fuse an encoder of actions with one of boundaries: two streams, two heads, or a distilled student.

    Runs examples/pretrain_fused.py through Accelerate; every option that is not listed here is passed to it.
    Two streams need no training. Stopped at any moment, the same command continues where it stopped.

    \b
    Examples:
      bsp-hf pretrain-fused --fusion two-stream --action-teacher a/ --boundary-teacher b/ --output-dir two/
      bsp-hf pretrain-fused --fusion two-head --video-dir clips/ --output-dir two-head/
      bsp-hf pretrain-fused --fusion distillation --action-teacher a/ --boundary-teacher b/ --output-dir one/
    """
    teachers = {"action_teacher": action_teacher, "boundary_teacher": boundary_teacher}
    given = {"fusion": fusion, "video_dir": video_dir, "output_dir": output_dir, "preset": preset}
    LOOP.launch(context, given | teachers | choices, launch, loop_options, dry_run)
