"""What a conversion found in a checkpoint and made of it, to be read and to be kept beside the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ConvertedSetting:
    """One setting of the converted encoder and where its value comes from.

    Args:
        name (`str`): Field of [`BSPConfig`].
        value (`int`, `float` or `str`): Its value.
        origin (`str`): `"argument"`, `"file name"`, `"keys"` or `"default"`.
    """

    name: str
    value: int | float | str
    origin: str

    def __str__(self) -> str:
        return f"{self.name} {self.value} ({self.origin})"


@dataclass(frozen=True)
class ConversionReport:
    """What [`convert_checkpoint`] found in a checkpoint and made of it; `str()` of it is a readable summary.

    Args:
        source (`str`): Name of the file the weights come from.
        source_sha256 (`str`): Digest of that file.
        output_folder (`Path`): The folder that was written.
        layout (`str`): Name of the layout of the keys.
        architecture (`str`): For instance `"resnet50"`.
        model_class (`str`): Class of the saved model.
        num_labels (`int`, *optional*): Classes of its classifier; `None` without one.
        settings (`tuple[ConvertedSetting, ...]`): Settings of the encoder.
        preprocessing (`str`): What happens to a frame in front of the network.
        renamed (`tuple[tuple[str, str], ...]`): Key in the file and key in the model of every tensor taken.
        filled (`tuple[str, ...]`): Batch counters that the file lacks. They start at zero; no output depends
            on them.
        left (`tuple[str, ...]`): What the file holds beyond the weights that were taken.
        notes (`tuple[str, ...]`): What the owner should know.
    """

    source: str
    source_sha256: str
    output_folder: Path
    layout: str
    architecture: str
    model_class: str
    num_labels: int | None
    settings: tuple[ConvertedSetting, ...]
    preprocessing: str
    renamed: tuple[tuple[str, str], ...]
    filled: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def num_matched(self) -> int:
        """Tensors that were taken from the file."""
        return len(self.renamed)

    def to_record(self) -> dict[str, object]:
        """Return the report as plain values for `training_record.json`.

        Returns:
            `dict[str, object]`: Every field but the folder's path and the long list of renamed keys.
        """
        return {
            "source": {"file": self.source, "sha256": self.source_sha256, "layout": self.layout},
            "architecture": self.architecture,
            "model_class": self.model_class,
            "num_labels": self.num_labels,
            "settings": {s.name: {"value": s.value, "origin": s.origin} for s in self.settings},
            "preprocessing": self.preprocessing,
            "num_tensors": {"matched": self.num_matched, "filled": len(self.filled)},
            "left": list(self.left),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        classes = "no classifier" if self.num_labels is None else f"classifier of {self.num_labels} classes"
        weights = f"{self.num_matched} tensors matched"
        if changed := [pair for pair in self.renamed if pair[0] != pair[1]]:
            weights += f", {len(changed)} renamed (first: {changed[0][0]} -> {changed[0][1]})"
        if self.filled:
            weights += f", {len(self.filled)} batch counters absent and set to 0"
        rows = [
            ("layout", self.layout),
            ("architecture", self.architecture),
            ("model", f"{self.model_class}, {classes}"),
            ("settings", ", ".join(map(str, self.settings))),
            ("preprocessing", self.preprocessing),
            ("weights", weights),
            ("left", shorten_names(self.left) or "nothing"),
            *(("note", note) for note in self.notes),
        ]
        lines = [f"{self.source} -> {self.output_folder}"]
        return "\n".join(lines + [f"  {title + ':':<15}{text}" for title, text in rows])


def shorten_names(names: Sequence[str], most: int = 6) -> str:
    """Join names for a message, and count those that would make it unreadable.

    Args:
        names (`Sequence[str]`): The names.
        most (`int`, *optional*, defaults to 6): How many are written out.

    Returns:
        `str`: For instance `"a, b and 3 more"`; empty without names.
    """
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def keep_plain_facts(facts: dict[str, str | int | float]) -> dict[str, str | int | float]:
    """Drop numbers that JSON cannot hold.

    Args:
        facts (`dict`): Names and values.

    Returns:
        `dict`: Those that are text or finite.
    """
    return {name: value for name, value in facts.items() if isinstance(value, str) or math.isfinite(value)}
