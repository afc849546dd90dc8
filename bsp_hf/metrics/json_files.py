"""Reading of annotation and result files: JSON, plain or gzipped."""

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any


def read_json(path: str | os.PathLike[str]) -> Any:  # Any: the leaves of somebody's JSON
    """Return the content of a JSON file.

    Args:
        path (`str` or `os.PathLike`): A UTF-8 file; gzipped if its name ends in `.gz`.

    Returns:
        `Any`: The parsed content.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not JSON, or damaged.
    """
    content = Path(path).read_bytes()
    try:
        return json.loads(gzip.decompress(content) if Path(path).suffix == ".gz" else content)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}). Is it complete?") from error
