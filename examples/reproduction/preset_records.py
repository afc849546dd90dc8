"""The records of `benchmarks/compare_presets.py` as Markdown tables."""

import json
from pathlib import Path

import numpy as np

from .markdown import markdown_table

LEAKS = ("chance", "sampling", "ends", "sorted_differences", "differences")


def read_records(folder: Path) -> dict[str, list[dict]]:
    """Return all records of a step by name, the seeds of one together."""
    found: dict[str, list[dict]] = {}
    for path in sorted(folder.glob("*.json")):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text()))
    return found


def format_mean(values: list[float]) -> str:
    """Return a mean, and with several values how far the outermost lie."""
    text = f"{np.mean(values):.3f}"
    return text if len(values) < 2 else f"{text} ({min(values):.2f}-{max(values):.2f})"


def preset_tables(results: Path) -> str:
    """Return every table that has a record: shortcuts, own pretexts, probes, differences of probes."""
    parts = []
    leaks = [json.loads(path.read_text()) for path in sorted((results / "shortcuts").glob("*.json"))]
    if leaks:
        head = ["clips of", "chance", "sampling", "ends", "differences, sorted", "differences, in order"]
        parts.append(
            markdown_table(
                head, [[f"`{row['variant']}`", *(f"{row[key]:.3f}" for key in LEAKS)] for row in leaks]
            )
        )
    rows = []
    for name, records in read_records(results / "train").items():
        followed = [record["exchanged"] for record in records if "exchanged" in record]
        accuracy = format_mean([record["accuracy"] for record in records])
        rows.append([f"`{name}`", str(len(records)), accuracy, format_mean(followed) if followed else "-"])
    if rows:
        head = ["encoder", "seeds", "own pretext, held out", "answers that follow an exchanged transition"]
        parts.append(markdown_table(head, rows))
    probed = read_records(results / "probe")
    if probed:
        questions = list(next(iter(probed.values()))[0]["scores"])
        rows = [
            [
                f"`{name}`",
                str(len(records)),
                *(format_mean([r["scores"][q] for r in records]) for q in questions),
            ]
            for name, records in probed.items()
        ]
        parts.append(markdown_table(["features of", "seeds", *questions], rows))
    for path in sorted(results.glob("against-*.json")):
        compared = json.loads(path.read_text())
        questions = list(next(iter(compared.values()), {}))
        rows = [
            [f"`{name}`", *("{:+.3f} [{:+.3f}, {:+.3f}]".format(*row[question]) for question in questions)]
            for name, row in compared.items()
        ]
        parts.append(markdown_table([path.stem.replace("-", " "), *questions], rows))
    return "\n\n".join(parts)
