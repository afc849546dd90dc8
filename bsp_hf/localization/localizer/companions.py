"""Files saved with a localizer: their names, and how they are found."""

from os import PathLike
from pathlib import Path
from typing import Protocol

from transformers.utils import cached_file

WORD_VECTORS_FILE = "word_vectors.npz"
TEXT_ENCODER_FOLDER = "text_encoder"


class Companion(Protocol):
    """A part of a localizer that reads sentences: a vocabulary, word vectors or a text encoder."""

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write it into the localizer's folder, under its own name."""


def find_companion_file(
    name_or_path: str | PathLike[str], file_name: str, revision: str | None = None
) -> Path | None:
    """Return the path of a file in a model's folder or Hub repository; None if there is none."""
    if not str(name_or_path):
        return None
    try:
        return Path(str(cached_file(str(name_or_path), file_name, revision=revision)))
    except OSError:
        return None
