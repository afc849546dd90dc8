"""The command `bsp-hf`: one file a command, in the folder of its panel; slow imports are inside of it."""

import inspect
import io
import re
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import get_args

import typer

from .application import app

# The panels of `bsp-hf --help` in its order, and their folders. Each command is a function in the file of its
# name, or an application with commands of its own.
_PANELS = {
    ("Pre-training", "pretraining"): ("synth", "prepare", "pretrain", "pretrain-fused"),
    ("Features", "features"): ("extract", "export"),
    ("Localization", "localization"): (
        "segment",
        "suggest",
        "annotations",
        "localize",
        "train-localizer",
        "eval",
    ),
    ("Checkpoints", "checkpoints"): ("convert", "onnx", "publish"),
    ("Looking at things", "inspection"): ("info", "picture", "doctor"),
}
# Commands whose unknown options are those of a training loop, or fields of a localizer's config.
_PASS_ON = ("pretrain", "pretrain-fused", "train-localizer", "convert")
_PASSING_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
# Of a line of the help: a terminal of 80, less the margin and the mark of a line that goes on.
_MOST_COLUMNS = 76
COMMANDS = {name: panel for (panel, _), names in _PANELS.items() for name in names}
_MODULES = {
    name: f".{folder}.{name.replace('-', '_')}" for (_, folder), names in _PANELS.items() for name in names
}


def _help_of(command: Callable[..., None]) -> str:
    r"""Return the docstring with `\b` as the character it names, which keeps the lines below it apart.

    Other paragraphs are one line, which the terminal breaks. Examples that are too long for one of 80 columns
    go on in the next line, as a shell reads them.
    """
    paragraphs = (inspect.getdoc(command) or "").replace("\\b\n", "\b\n").split("\n\n")
    return "\n\n".join(
        "\n".join(
            _break_example(line) if line.startswith("  bsp-hf ") else line for line in paragraph.splitlines()
        )
        if paragraph.startswith("\b")
        else paragraph.replace("\n", " ")
        for paragraph in paragraphs
    )


def _break_example(line: str) -> str:
    lines = ["  bsp-hf"]
    # An option and its value stay in one line.
    for word in re.findall(r"""(?:-[\w-]+ (?!-))?(?:"[^"]*"|'[^']*'|\S)+""", line)[1:]:
        if len(lines[-1]) + 1 + len(word) > _MOST_COLUMNS:
            lines.append("     ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines)


def _hide_type_of_flags(command: Callable[..., None]) -> None:
    """Keep a `<bool>` behind a flag, which takes no value, out of the help."""
    for annotation in command.__annotations__.values():
        for part in getattr(annotation, "__metadata__", ()):
            if isinstance(part, typer.models.OptionInfo) and bool in (
                annotation.__origin__,
                *get_args(annotation.__origin__),
            ):
                part.metavar = ""


for _name, _panel in COMMANDS.items():
    _module = import_module(_MODULES[_name], __name__)
    _command = getattr(_module, _name.replace("-", "_"))
    if isinstance(_command, typer.Typer):
        for _part in _command.registered_commands:
            if _part.callback:
                _hide_type_of_flags(_part.callback)
                _part.help = _help_of(_part.callback)
        app.add_typer(_command, name=_name, rich_help_panel=_panel)
    else:
        _hide_type_of_flags(_command)
        _settings = _PASSING_ON if _name in _PASS_ON else None
        app.command(name=_name, help=_help_of(_command), rich_help_panel=_panel, context_settings=_settings)(
            _command
        )


def _one_line(message: Warning | str, *place: object, **line: object) -> str:
    return f"{message}\n"


def main() -> None:
    """Run the command line; the entry point of the installed command."""
    warnings.formatwarning = _one_line  # users have no use for the line of code that warns
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be in letters that it does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
