"""Sentences to what a saved grounding network reads, with the words or text encoder that lie beside it."""

from os import PathLike
from pathlib import Path

from transformers.utils import cached_file

WORD_VECTORS_FILE = "word_vectors.npz"


def find_companion_file(
    name_or_path: str | PathLike[str], file_name: str, revision: str | None = None
) -> Path | None:
    """Find a file that may lie beside a model.

    Args:
        name_or_path (`str` or `PathLike`): The model's folder or Hub id.
        file_name (`str`): The file, relative to it.
        revision (`str`, *optional*): Commit on the Hub.

    Returns:
        `Path` or `None`: Where it is on this machine; none if the model has no such file.
    """
    if not str(name_or_path):
        return None
    found = cached_file(
        str(name_or_path),
        file_name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(str(found))
