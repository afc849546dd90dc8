"""The command `bsp-hf`: one file a command; whatever is slow to import is imported inside it."""

from importlib import import_module

from .application import app

# In the order in which `bsp-hf --help` shows them; each is a function in the file of its name.
COMMANDS = ("synth", "extract", "export", "convert", "publish")

for _name in COMMANDS:
    app.command()(getattr(import_module(f".{_name}", __name__), _name))


def main() -> None:
    """Run the command line; the entry point of the installed command."""
    app()


__all__ = ["app", "main"]
