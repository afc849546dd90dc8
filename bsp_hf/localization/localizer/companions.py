"""Files that lie beside a saved localizer: how they are found, and what writes itself there."""

from os import PathLike
from pathlib import Path
from typing import Protocol

from transformers.utils import cached_file

WORD_VECTORS_FILE = "word_vectors.npz"
TEXT_ENCODER_FOLDER = "text_encoder"


class Companion(Protocol):
    """What a localizer needs to read sentences: a vocabulary, word vectors or a text encoder."""

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write it into the localizer's folder, under the name by which it is found there."""


def find_companion_file(
    name_or_path: str | PathLike[str], file_name: str, revision: str | None = None
) -> Path | None:
    """Return the path of a file beside the model in a folder or a Hub repository; None if there is none."""
    if not str(name_or_path):
        return None
    try:
        return Path(str(cached_file(str(name_or_path), file_name, revision=revision)))
    except OSError:
        return None
