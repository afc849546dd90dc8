"""Reading of annotation and result files: text and JSON, plain or gzipped."""

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a UTF-8 file, gzipped if its name ends in `.gz`; a damaged one is a `ValueError`."""
    content = Path(path).read_bytes()
    try:
        return (gzip.decompress(content) if Path(path).suffix == ".gz" else content).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        kind = "JSON" if ".json" in Path(path).suffixes else "text"
        raise ValueError(f"{path} is not a readable {kind} file ({error}). Is it complete?") from error


def parse_json(text: str, path: str | os.PathLike[str]) -> Any:  # Any: parsed JSON
    """Return the content of a JSON text; the error of a damaged one names the file it stands in."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}). Is it complete?") from error


def read_json(path: str | os.PathLike[str]) -> Any:  # Any: parsed JSON
    """Return the content of a JSON file, gzipped if its name ends in `.gz`."""
    return parse_json(read_text(path), path)
