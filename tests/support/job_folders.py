"""What an extraction job left: its files, and its table of failures."""

import csv
from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def reasons(path: Path) -> dict[str, str]:
    """The reason of each file in a table of failures."""
    with path.open(newline="") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
