"""Tables of videos: CSV files whose first line names the columns."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bsp_hf.files import guess_encoding

# What a column may be called, for extraction and pre-training alike.
_COLUMNS = {
    "file": ("file", "file_name", "path", "video"),
    "id": ("id", "video_id", "youtube_id"),
    "start_s": ("start_s", "start", "time_start"),
    "end_s": ("end_s", "end", "time_end"),
    "label": ("class", "label"),
    "split": ("split",),
    "group": ("group",),
}


@dataclass(frozen=True)
class TableRow:
    """A row of a table of videos: the place of its line for messages, and texts by the column's meaning.

    The meanings are `file`, `id`, `start_s`, `end_s`, `label`, `split` and `group`; a text is empty where the
    table has none.
    """

    place: str
    values: Mapping[str, str]

    def __getitem__(self, meaning: str) -> str:
        return self.values[meaning]

    def read_seconds(self, meaning: str) -> float | None:
        """Return a number of seconds, `None` for an empty cell."""
        text = self.values[meaning]
        try:
            return float(text) if text else None
        except ValueError:
            raise ValueError(f"{self.place}: {meaning} must be a number of seconds, got {text!r}.") from None


def read_table(path: Path, needed: Sequence[str] = ("file",)) -> Iterator[TableRow]:
    """Read a table of videos, row by row; the columns of the meanings in `needed` must be there."""
    try:
        with path.open(encoding=guess_encoding(path), newline="") as file:
            reader = csv.DictReader(file)
            columns = _find_columns(path, list(reader.fieldnames or ()), needed)
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                missing = [columns[meaning] for meaning in needed if row[columns[meaning]] is None]
                values = {meaning: (row.get(columns.get(meaning, "")) or "").strip() for meaning in _COLUMNS}
                if "file" in columns and not values["file"]:
                    missing.append(columns["file"])
                if missing:
                    raise ValueError(f"{place}: the row lacks {missing[0]}.")
                yield TableRow(place, values)
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}.") from error


def has_column(path: Path, name: str) -> bool:
    """Return whether the first line of a table names a column."""
    try:
        with path.open(encoding=guess_encoding(path), newline="") as file:
            return name in next(csv.reader(file), [])
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}.") from error


def _find_columns(path: Path, names: list[str], needed: Sequence[str]) -> dict[str, str]:
    columns = {
        meaning: name
        for meaning, known in _COLUMNS.items()
        for name in names
        if (name or "").strip().lower() in known
    }
    if not columns.keys() >= set(needed):
        wanted = [f"{_COLUMNS[meaning][0]} (or {', '.join(_COLUMNS[meaning][1:])})" for meaning in needed]
        raise ValueError(
            f"{path} needs the columns {' and '.join(wanted)}, named in its first line; it has {names}."
        )
    return columns
