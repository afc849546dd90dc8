"""Runs a command of `bsp-hf` in this process."""

import re

from typer.testing import CliRunner

from bsp_hf.cli.application import app

runner = CliRunner()


def bsp(*words, code: int = 0) -> str:
    """Run a command and return all it said, without colours."""
    result = runner.invoke(app, [str(word) for word in words])
    said = result.stdout + result.stderr
    assert result.exit_code == code, (said, result.exception)
    return re.sub(r"\x1b\[[0-9;]*m", "", said)


def plain(text: str) -> str:
    """Without frames and line breaks, whatever the width of the terminal."""
    return re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", text))
