"""`bsp-hf pretrain`: launches the training loop of `examples/pretrain.py` through Accelerate."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ..application import report_errors

_PACKAGE = Path(__file__).resolve().parents[2]
# What this command does not know is an option of the loop.
CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def find_example(name: str) -> Path:
    """Return the script of an example: the copy of an installed package, or that of the checkout."""
    # In this order, because other packages leave an `examples` beside an installed one.
    places = (_PACKAGE / "_examples" / name, _PACKAGE.parent / "examples" / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{name} is at neither of {places[0]} and {places[1]}; install bsp_hf again.")


def _spell_as_script(word: str) -> str:
    """Turn `--video-dir` into `--video_dir`, which is how the loop spells its options."""
    return re.sub(r"^--[\w-]+", lambda name: "--" + name[0][2:].replace("-", "_"), word)


def pretrain(
    context: typer.Context,
    video_dir: Annotated[
        Path | None, Option(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    output_dir: Annotated[
        Path | None, Option("--output-dir", "-o", help="Folder for the encoder; needed.")
    ] = None,
    preset: Annotated[
        str | None, Option(help="'paper', or 'demo' for minutes on the CPU of a laptop.")
    ] = None,
    task: Annotated[str | None, Option(help="The pretext; 'boundary' by default.")] = None,
    launch: Annotated[str, Option(help="Options of `accelerate launch`, in one pair of quotes.")] = "",
    loop_options: Annotated[
        bool, Option("--loop-options", help="Show all options of the loop, and stop.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the command that would run, and stop.")] = False,
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
    with report_errors(registers=False):
        script = find_example("pretrain.py")
        if loop_options:
            raise typer.Exit(subprocess.run([sys.executable, str(script), "--help"], check=False).returncode)
        given = {"--video_dir": video_dir, "--output_dir": output_dir, "--preset": preset, "--task": task}
        words = [text for name, value in given.items() if value is not None for text in (name, str(value))]
        words += [_spell_as_script(word) for word in context.args]
        if output_dir is None:
            raise ValueError("--output-dir is missing: the folder for the encoder.")
        if video_dir is not None and not video_dir.is_dir() and not dry_run:
            raise ValueError(f"{video_dir} is not a folder; pass the one that holds CLASS/clip.mp4.")

        from bsp_hf.pretraining.run.settings import PRESETS, PretrainingSettings
        from bsp_hf.training.command_line import parse_settings

        # Before the launcher starts, which would end with a traceback of its own.
        parse_settings(PretrainingSettings, words, presets=PRESETS, prog="bsp-hf pretrain")
        arguments = [*shlex.split(launch), str(script), *words]
        if dry_run:
            typer.echo(shlex.join([sys.executable, "-m", "accelerate.commands.launch", *arguments]))
            return

        from accelerate.commands.launch import launch_command, launch_command_parser

        try:
            launch_command(launch_command_parser().parse_args(arguments))
        except subprocess.CalledProcessError as error:  # the loop itself has said why
            raise typer.Exit(error.returncode) from error
