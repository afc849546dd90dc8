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
        return load_json(text)
    except _RepeatedKeyError as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}). Is it complete?") from error


def load_json(text: str) -> Any:  # Any: parsed JSON
    """Return the content of a JSON text.

    A key that stands twice in a record is a `ValueError` too: one of the two would be lost.
    """
    try:
        return json.loads(text, object_pairs_hook=_to_record)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _RepeatedKeyError(ValueError):
    """A key stands twice in one record."""


def _to_record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {repeated!r} stands twice in one record; keep one of the two.")
    return record


def read_json(path: str | os.PathLike[str]) -> Any:  # Any: parsed JSON
    """Return the content of a JSON file, gzipped if its name ends in `.gz`."""
    return parse_json(read_text(path), path)


def read_json_object(path: Path) -> dict[str, Any]:  # Any: as above
    """Return the object of a JSON file; empty where there is none."""
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
