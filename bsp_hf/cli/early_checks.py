"""Checks of arguments that run before anything slow is imported or loaded."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import typer

from bsp_hf.files import check_checkpoint_files
from bsp_hf.pretrained import find_packaged


def find_model(name: str | None, default: str = "") -> str:
    """Return the folder or id of a model: a packaged one by its name, and without a name the default."""
    if name is None:
        typer.echo(f"no --model: {default}, which comes with the package", err=True)
        name = default
    name = find_packaged(name)
    check_model(name)
    return name


def check_model(name: str) -> None:
    """Check that a model is a checkpoint folder, or an id `OWNER/NAME` that the Hub or its cache may have."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"{name} is not a checkpoint folder: config.json is missing.")
        check_checkpoint_files(folder)
        return
    if folder.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        raise ValueError(f"{name} is neither a checkpoint folder here nor an id OWNER/NAME on the Hub.")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE and not isinstance(try_to_load_from_cache(name, "config.json"), str):
        raise ValueError(
            f"{name} is neither a folder here nor in the cache of the Hub, and offline mode is enabled: "
            "unset HF_HUB_OFFLINE to download it."
        )


def check_inputs(inputs: Iterable[str]) -> None:
    """Check that files and folders exist; patterns and addresses pass."""
    for word in inputs:
        if not (re.search(r"[*?\[{]", word) or "://" in word or os.path.lexists(word)):
            raise ValueError(f"{word} does not exist: give a folder, a video, a list or a pattern.")


def refuse_existing(output: Path, force: bool) -> None:
    """Check that nothing is written over, unless it is asked for."""
    if output.exists() and not force:
        raise ValueError(f"{output} exists; delete it, pass --force, or choose another output.")
