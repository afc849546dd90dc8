"""`bsp-hf train-localizer`: launches the loop of `examples/train_localizer.py` through Accelerate."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ..loops import DryRun, LaunchOptions, OutputDir, ShowOptions, TrainingLoop

LOOP = TrainingLoop(
    "train-localizer",
    "train_localizer.py",
    "bsp_hf.localization.training.settings",
    "LocalizerTrainingSettings",
)


@LOOP.completes(("annotation_layout", "feature_layout", "mixed_precision"))
def train_localizer(
    context: typer.Context,
    localizer: Annotated[
        str | None,
        Option(
            help="gtad, tan, lgi or actionness; needed.",
            autocompletion=LOOP.complete("localizer"),
        ),
    ] = None,
    preset: Annotated[
        str | None, Option(help="Published setting, such as thumos14; default: the localizer's first.")
    ] = None,
    annotations: Annotated[
        Path | None, Option(help="File of annotations, or CrossTask's folder; needed.")
    ] = None,
    output_dir: OutputDir = None,
    launch: LaunchOptions = "",
    loop_options: ShowOptions = False,
    dry_run: DryRun = False,
    **choices: str | None,
) -> None:
    r"""Train a localizer on features: G-TAD, 2D-TAN, LGI or linear actionness, as published.

    Runs examples/train_localizer.py through Accelerate; every option that is not listed here is passed to it:
    --features FOLDER ... is needed, and what to evaluate on. Stopped at any moment, the same command
    continues where it stopped.

    \b
    Examples:
      bsp-hf train-localizer --localizer gtad --annotations a.json --features f/ --eval-fraction 0.2 -o gtad/
      bsp-hf train-localizer --localizer gtad --annotations a.json --features f/ g/ --eval-subset val -o gtad/
      bsp-hf train-localizer --localizer tan --preset charades --loop-options
    """
    given = {"localizer": localizer, "preset": preset, "annotations": annotations, "output_dir": output_dir}
    LOOP.launch(context, given | choices, launch, loop_options, dry_run)
