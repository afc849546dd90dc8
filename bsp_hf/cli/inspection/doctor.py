"""`bsp-hf doctor`: what works on this machine, what is missing, and the command that fixes it."""

import json
from typing import Annotated

import typer
from typer import Option

from ..application import NOTHING_DONE, SOME_FAILED, report_errors

_MARKS = {"ok": "ok", "optional": "--", "problem": "!!", "broken": "XX"}


def doctor(
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    r"""Check this installation: versions, devices, decoder, extras; print what fixes each problem.

    Exit status: 0 all works (extras may be missing), 1 something does not work, 2 the package cannot run.

    \b
    Examples:
      bsp-hf doctor
      bsp-hf doctor --json | python -m json.tool
    """
    with report_errors(registers=False):
        from .checkup import check_everything

        findings = check_everything()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{_MARKS[finding.state]}  {finding.name:<{width}}  {finding.text}")
            if finding.remedy:
                typer.echo(f"    {'':<{width}}  fix it with: {finding.remedy}")
        typer.echo("\nok works   -- optional, not installed   !! does not work   XX nothing works without it")
        typer.echo("This package contains no compiled code; do not trust a 'fix' that downloads a binary.")
    states = {finding.state for finding in findings}
    if "broken" in states:
        raise typer.Exit(NOTHING_DONE)
    if "problem" in states:
        raise typer.Exit(SOME_FAILED)
