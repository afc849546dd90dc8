"""Reads the names of a classifier's classes."""

import json
from collections.abc import Sequence
from pathlib import Path


def read_label_names(labels: str | Path | Sequence[str], num_labels: int) -> list[str]:
    """Return the names of a classifier's classes in their order, given or read from a file.

    A file is plain text with one name a line, a JSON list, or a JSON object from numbers to names or from
    names to numbers.
    """
    if not isinstance(labels, (str, Path)):
        names, where = [str(name) for name in labels], "labels"
    else:
        path, where = Path(labels), f"label file {Path(labels).name}"
        text = path.read_text(encoding="utf-8-sig")
        names = _names_of_json(text, where) if path.suffix == ".json" else text.rstrip().splitlines()
    names = [name.strip() for name in names]
    if len(names) != num_labels:
        raise ValueError(f"{where} holds {len(names)} names, the classifier has {num_labels} classes.")
    # Double names are let through: ImageNet's own list has two cranes.
    if "" in names:
        raise ValueError(f"{where}: the name of class {names.index('')} is empty.")
    return names


def _names_of_json(text: str, where: str) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not valid JSON: {error}.") from error
    if isinstance(content, list):
        return [str(name) for name in content]
    if isinstance(content, dict) and content:
        pairs = content.items()
        if all(isinstance(value, int) for value in content.values()):
            pairs = {number: name for name, number in pairs}.items()
        by_number = {str(number): str(name) for number, name in pairs}
        if set(by_number) == {str(number) for number in range(len(content))}:
            return [by_number[str(number)] for number in range(len(content))]
    raise ValueError(
        f"{where} must hold a list of names, or an object that pairs every number from 0 on with one name."
    )
