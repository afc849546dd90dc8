"""The installed command `bsp-hf`, which answers --help, --version and completion without transformers.

`import bsp_hf` registers the package with transformers, and that takes seconds. Where this module was
imported first, the package leaves registration to the commands: each registers before it does anything
(`bsp_hf.cli.application.report_errors`).
"""


def main() -> None:
    """Run the command line."""
    from bsp_hf.cli import main as run

    run()


__all__ = ["main"]
