"""Commands that launch a training loop of `examples/` through Accelerate, which takes all its options."""

import inspect
import logging
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from .application import report_errors
from .early_checks import check_model

_PACKAGE = Path(__file__).resolve().parents[1]
# Folders that a loop makes, and the encoders that it reads.
_OUTPUTS = {"output_dir", "frame_cache", "teacher_features"}
_ENCODERS = ("action_teacher", "boundary_teacher")

OutputDir = Annotated[Path | None, Option("--output-dir", "-o", help="Folder of the result; needed.")]
LaunchOptions = Annotated[str, Option(help="Options of `accelerate launch`, in one pair of quotes.")]
ShowOptions = Annotated[bool, Option("--loop-options", help="Show all options of the loop, and stop.")]
DryRun = Annotated[bool, Option("--dry-run", help="Print the command that would run, and stop.")]


def find_example(name: str) -> Path:
    """Return the script of an example: the copy of an installed package, or that of the checkout."""
    # In this order, because other packages leave an `examples` beside an installed one.
    places = (_PACKAGE / "_examples" / name, _PACKAGE.parent / "examples" / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{name} is at neither of {places[0]} and {places[1]}; install bsp_hf again.")


@dataclass(frozen=True)
class TrainingLoop:
    """A script of `examples/`, and the dataclass of its settings, which is imported when it is needed."""

    command: str
    script: str
    module: str
    settings: str

    def complete(self, name: str) -> Callable[[], list[str]]:
        """Return what lists the values of an option for the shell."""

        def list_values() -> list[str]:
            settings_class = getattr(import_module(self.module), self.settings)
            return next([*item.metadata["choices"]] for item in fields(settings_class) if item.name == name)

        return list_values

    def completes(self, names: Iterable[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator that has the shell complete the values of these options of the loop, too.

        They are passed to the command by the name of the option, and do not lengthen its help.
        """

        def decorate(command: Callable[..., None]) -> Callable[..., None]:
            shown = inspect.signature(command).parameters
            parameters = [item for item in shown.values() if item.kind is not item.VAR_KEYWORD]
            for name in names:
                spellings = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
                option = Option(*spellings, hidden=True, autocompletion=self.complete(name))
                kind, place = Annotated[str | None, option], inspect.Parameter.KEYWORD_ONLY
                parameters.append(inspect.Parameter(name, place, default=None, annotation=kind))
            run = wraps(command)(lambda **given: command(**given))
            # Typer reads both.
            run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
            run.__annotations__ = {item.name: item.annotation for item in parameters}
            return run

        return decorate

    # Any: values of options
    def launch(
        self, context: typer.Context, given: dict[str, Any], launch: str, loop_options: bool, dry_run: bool
    ) -> None:
        """Check the options, and run the loop; what it does not know itself is in the context's arguments."""
        with report_errors(registers=False):
            script = find_example(self.script)
            if loop_options:
                shown = subprocess.run([sys.executable, str(script), "--help"], check=False)
                raise typer.Exit(shown.returncode)
            words = [
                text
                for name, value in given.items()
                if value is not None
                for text in (f"--{name}", str(value))
            ]
            words += [_spell_as_script(word) for word in context.args]
            if given["output_dir"] is None:
                raise ValueError("--output-dir is missing: the folder of the result.")

            from bsp_hf.training.command_line import parse_settings

            module: Any = import_module(self.module)  # Any: mypy does not know its names
            presets = getattr(module, "PRESETS", None)
            # Before the launcher starts, which would end with a traceback of its own.
            settings = parse_settings(
                getattr(module, self.settings), words, presets=presets, prog=f"bsp-hf {self.command}"
            )
            arguments = [*shlex.split(launch), str(script), *words]
            if dry_run:
                typer.echo(shlex.join([sys.executable, "-m", "accelerate.commands.launch", *arguments]))
                return
            _check_inputs(settings)

            from accelerate.commands.launch import launch_command, launch_command_parser

            # Of defaults that it chose; what matters of them, the loop says.
            logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)
            # The loop gets Ctrl-C, too, and says how to go on. It would inherit SIG_IGN, but no handler.
            before = signal.signal(signal.SIGINT, lambda *_: None)
            try:
                launch_command(launch_command_parser().parse_args(arguments))
            except subprocess.CalledProcessError as error:  # the loop itself has said why
                raise typer.Exit(error.returncode) from error
            finally:
                signal.signal(signal.SIGINT, before)


def _spell_as_script(word: str) -> str:
    """Turn `--video-dir` into `--video_dir`, which is how the loop spells its options."""
    return re.sub(r"^--[\w-]+", lambda name: "--" + name[0][2:].replace("-", "_"), word)


def _check_inputs(settings: Any) -> None:  # Any: a dataclass
    """Check that the files, folders and encoders that a loop reads exist."""
    for name, value in vars(settings).items():
        paths = (
            settings.feature_paths if name == "features" else value if isinstance(value, list) else [value]
        )
        for path in paths if name not in _OUTPUTS else ():
            if name == "video_dir" and path is not None and not path.is_dir():
                raise ValueError(f"{path} is not a folder; pass the one that holds CLASS/clip.mp4.")
            if isinstance(path, Path) and not path.exists():
                raise ValueError(f"--{name.replace('_', '-')}: {path} does not exist.")
        if name in _ENCODERS and value is not None:
            check_model(value)
