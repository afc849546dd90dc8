"""Entry point of the command `bsp-hf`.

It lies outside the package, because importing `bsp_hf` registers with transformers, which takes seconds. A
program that begins here leaves that to the commands that need it: `bsp-hf --help` need not wait.
"""

import sys

import bsp_hf_threads  # noqa: F401  # before torch


def main() -> None:
    """Run the command line."""
    try:
        from bsp_hf.cli import main as run

        run()
    except KeyboardInterrupt:  # while something slow is imported; commands say so themselves
        sys.stderr.write("Stopped.\n")
        sys.exit(130)
