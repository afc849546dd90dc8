"""What a conversion found in a checkpoint and made of it, to be printed and kept in the record."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsp_hf.localization.localizer.state_dicts import shorten_names


@dataclass(frozen=True)
class ConvertedSetting:
    """One field of a converted model's config and where its value comes from."""

    name: str
    value: Any  # Any: fields of a config have different types
    # "argument", "file name", "keys" or "default"; of a localizer "argument", "weights" or "preset thumos14".
    origin: str

    def __str__(self) -> str:
        return f"{self.name} {self.value} ({self.origin})"


@dataclass(frozen=True)
class ConversionReport:
    """What [`convert_checkpoint`] found and made; `str()` of it is a readable summary."""

    source: str  # name of the file
    source_sha256: str
    output_folder: Path
    layout: str  # of the keys
    architecture: str  # for instance "resnet50"
    model_class: str
    num_labels: int | None  # None without a classifier
    settings: tuple[ConvertedSetting, ...]
    preprocessing: str
    renamed: tuple[tuple[str, str], ...]  # key in the file and key in the model of every tensor taken
    # Batch counters that the file lacks; they start at 0, and no output depends on them.
    filled: tuple[str, ...]
    left: tuple[str, ...]  # what the file holds beyond the weights that were taken
    notes: tuple[str, ...]  # what the owner should know

    @property
    def num_matched(self) -> int:
        """Tensors that were taken from the file."""
        return len(self.renamed)

    def to_record(self) -> dict[str, object]:
        """Return the report as JSON values: all but the folder's path and the long list of renamed keys."""
        return {
            "source": {"file": self.source, "sha256": self.source_sha256, "layout": self.layout},
            "architecture": self.architecture,
            "model_class": self.model_class,
            "num_labels": self.num_labels,
            "settings": _settings_as_json(self.settings),
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
        return _lay_out(f"{self.source} -> {self.output_folder}", rows)


@dataclass(frozen=True)
class LocalizerReport:
    """What [`convert_localizer_checkpoint`] found and made; `str()` of it is a readable summary."""

    source: str  # name of the file
    source_sha256: str
    output_folder: Path
    kind: str  # "gtad", "tan" or "lgi"
    preset: str  # the published setting it was read as
    settings: tuple[ConvertedSetting, ...]  # every field of the config
    num_tensors: int  # taken from the file
    left: tuple[str, ...]  # what the file holds beyond them

    @property
    def assumed(self) -> tuple[ConvertedSetting, ...]:
        """Settings that the weights do not show and that were not given."""
        return tuple(s for s in self.settings if s.origin not in ("argument", "weights"))

    def to_record(self) -> dict[str, object]:
        """Return the report as JSON values: all but the folder's path."""
        return {
            "source": {"file": self.source, "sha256": self.source_sha256, "layout": self.kind},
            "settings": _settings_as_json(self.settings),
            "num_tensors": self.num_tensors,
            "left": list(self.left),
        }

    def __str__(self) -> str:
        rows = [
            ("localizer", f"{self.kind}, {self.preset}"),
            ("from weights", _list_values(s for s in self.settings if s.origin == "weights")),
            ("given", _list_values(s for s in self.settings if s.origin == "argument") or "nothing"),
            ("assumed", ", ".join(map(str, self.assumed))),
            ("tensors", f"{self.num_tensors} taken"),
            ("left out", ", ".join(self.left) or "nothing"),
            ("sha256", self.source_sha256),
            ("note", "weights do not show what is assumed; pass what your training had otherwise"),
        ]
        return _lay_out(f"{self.source} -> {self.output_folder}", rows)


def _settings_as_json(settings: Iterable[ConvertedSetting]) -> dict[str, dict[str, Any]]:
    return {setting.name: {"value": setting.value, "origin": setting.origin} for setting in settings}


def _list_values(settings: Iterable[ConvertedSetting]) -> str:
    return ", ".join(f"{setting.name} {setting.value}" for setting in settings)


def _lay_out(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([title, *(f"  {name + ':':<15}{text}" for name, text in rows)])


def keep_plain_facts(facts: dict[str, str | int | float]) -> dict[str, str | int | float]:
    """Return the facts without numbers that JSON cannot hold."""
    return {name: value for name, value in facts.items() if isinstance(value, str) or math.isfinite(value)}
