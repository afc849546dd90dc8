"""`bsp-hf info`: everything that one wants to know of a video, features or a checkpoint."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..application import SOME_FAILED, report_errors


def info(
    files: Annotated[
        list[Path], Argument(help="Videos, feature files or folders, checkpoint files or folders.")
    ],
    read_all: Annotated[
        bool, Option("--read-all", help="Decode videos to the end: frames, true length, damage.")
    ] = False,
    most: Annotated[int, Option(help="Most videos of a feature folder to list.")] = 10,
    as_json: Annotated[bool, Option("--json", help="Print JSON: one object, facts by file.")] = False,
) -> None:
    r"""Describe a file: a video, features of videos, or a checkpoint. Times are in seconds.

    \b
    Examples:
      bsp-hf info recording.mp4 --read-all
      bsp-hf info features/recording.npz
      bsp-hf info bsp-tsm-r50 tsm_kinetics.pth.tar --json
    """
    described, problems = {}, {}
    # Nothing here is loaded by an Auto class, and registering takes seconds.
    with report_errors(registers=False):
        from .describe import describe

        for path in files:
            try:
                described[str(path)] = describe(path, read_all, most)
            except (OSError, ValueError, ImportError) as error:
                problems[str(path)] = str(error)
        if not described:
            raise ValueError("; ".join(problems.values()))
    if as_json:
        errors = {name: {"error": text} for name, text in problems.items()}
        typer.echo(json.dumps({**described, **errors}, indent=2, default=str))
    else:
        typer.echo("\n\n".join(f"{name}\n{_lay_out(facts)}" for name, facts in described.items()))
    for text in () if as_json else problems.values():
        typer.echo(f"Error: {text}", err=True)
    if problems:
        raise typer.Exit(SOME_FAILED)


def _lay_out(facts: dict[str, object]) -> str:
    width = max(len(_as_label(name)) for name in facts)
    return "\n".join(f"  {_as_label(name):<{width}}  {_with_unit(name, v)}" for name, v in facts.items())


def _as_label(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _with_unit(name: str, value: object) -> str:
    if not name.endswith("_s") or value is None:
        return _as_text(value)
    if isinstance(value, dict):
        return ", ".join(f"{part} {_with_unit(name, number)}" for part, number in value.items())
    return f"{_as_text(value)} s"


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return "not stated" if value is None else str(value)
