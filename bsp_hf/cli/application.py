"""The command-line application: exit codes, error reporting, and what is common to every command."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer import Option

SOME_FAILED = 1
NOTHING_DONE = 2
# What shells say of a command that Ctrl-C has stopped.
STOPPED = 130

app = typer.Typer(
    name="bsp-hf",
    help="Boundary-sensitive pre-training of video encoders, their features, and temporal localization.\n\n"
    "Exit status: 0 all done, 1 some of it failed, 2 nothing done.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from bsp_hf import __version__

        typer.echo(f"bsp_hf {__version__}")
        raise typer.Exit


@app.callback()
def _set_up(
    version: Annotated[
        bool,
        Option("--version", callback=_print_version, is_eager=True, metavar="", help="Print the version."),
    ] = False,
) -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


@contextmanager
def report_errors(registers: bool = True) -> Iterator[None]:
    """Turn what a user can correct into one line and exit status 2, and Ctrl-C into one and status 130.

    Anything else keeps its traceback. With `registers`, the package is registered with transformers first,
    which is slow and which `import bsp_hf` leaves to the commands of `bsp_hf_command`.
    """
    try:
        if registers:
            register_package()
        yield
    except Exception as error:
        text = _explain(error)
        if text is None:
            raise
        typer.echo(f"Error: {text}", err=True)
        raise typer.Exit(NOTHING_DONE) from error
    except KeyboardInterrupt as interrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(STOPPED) from interrupt


def register_package() -> None:
    """Register the package with transformers, which then shows no progress of loading weights."""
    from transformers.utils import logging as transformers_logging

    from bsp_hf.registration import register

    register()
    transformers_logging.disable_progress_bar()


def _explain(error: Exception) -> str | None:
    """Return in one line what a user can correct; `None` for an error of the program itself."""
    from huggingface_hub.errors import StrictDataclassError

    if isinstance(error, StrictDataclassError):  # a field of a config; the reason is in its cause
        return str(error.__cause__ or error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    if not isinstance(error, OSError | ValueError | TypeError | ImportError):
        return None
    # transformers' pipelines quote the traceback of what they could not load; the reason is its last line.
    _, traceback, rest = str(error).partition("Traceback (most recent call last)")
    return rest.strip().splitlines()[-1].partition(": ")[2] if traceback else str(error)


def list_failures(failures: Iterable[tuple[str, str]]) -> None:
    """Print a line about each video that failed, by its name and the reason, which may begin with it."""
    for name, reason in failures:
        typer.echo(reason if name in reason else f"{name}: {reason}", err=True)
