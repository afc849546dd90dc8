"""The command `bsp-hf`: one file a command; whatever is slow to import is imported inside it."""

import inspect
from collections.abc import Callable
from importlib import import_module

import typer

from .application import app

# In the order in which `bsp-hf --help` shows them; each is a function in the file of its name, or an
# application with commands of its own.
COMMANDS = (
    "synth",
    "pretrain",
    "extract",
    "export",
    "localize",
    "eval",
    "convert",
    "onnx",
    "publish",
    "info",
    "picture",
    "doctor",
)

_PANELS = {
    "Pre-training": ("synth", "pretrain"),
    "Features": ("extract", "export"),
    "Localization": ("localize", "eval"),
    "Checkpoints": ("convert", "onnx", "publish"),
    "Looking at things": ("info", "picture", "doctor"),
}


def _help_of(command: Callable[..., None]) -> str:
    r"""Return the docstring with `\b` as the character it names, which keeps the lines below it apart."""
    return (inspect.getdoc(command) or "").replace("\\b\n", "\b\n")


for _name in COMMANDS:
    _module = import_module(f".{_name}", __name__)
    _command = getattr(_module, _name)
    _panel = next((panel for panel, names in _PANELS.items() if _name in names), None)
    if isinstance(_command, typer.Typer):
        for _part in _command.registered_commands:
            _part.help = _help_of(_part.callback) if _part.callback else _part.help
        app.add_typer(_command, name=_name, rich_help_panel=_panel)
    else:
        _settings = getattr(_module, "CONTEXT_SETTINGS", None)
        app.command(name=_name, help=_help_of(_command), rich_help_panel=_panel, context_settings=_settings)(
            _command
        )


def main() -> None:
    """Run the command line; the entry point of the installed command."""
    app()


__all__ = ["app", "main"]
