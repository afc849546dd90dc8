"""Tables and the page of evidence as Markdown, from records alone."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .boundary_table import KINDS, ROWS, BoundaryTable
from .figures import FIGURES
from .markdown import markdown_table
from .plan import Records
from .plots import Panel, draw_dots
from .preset_records import preset_tables
from .probe_table import MEASURES, ProbeTable
from .probe_table import ROWS as PROBE_ROWS
from .probes import QUESTIONS
from .scoring import RESULT_FILES, rank_correlation
from .study import Cell, Study, View
from .tables import BOTH, CHAIN, TABLES, Row, Table

logger = logging.getLogger("reproduce")

FEWEST_ROWS = 4  # whose order is compared with the paper's

INTRODUCTION = Path(__file__).with_name("evidence_head.md")
SUMMARY_CAPTION = (
    "Differences in points of each localizer's metric of comparisons (average mAP of gtad, recall@1 at IoU "
    "0.5 of tan, mean IoU of lgi, pooled average precision of actionness), and p."
)
CAPTION = (
    "Cells are means over seeds in percent, in brackets the lowest and the highest seed. *Paper* columns are "
    "the paper's own numbers, at another scale: only the order of rows can be compared."
)


def format_cell(cell: Cell | None) -> str:
    """Return a mean in percent with the range over the seeds; `-` where nothing was measured."""
    if cell is None:
        return "-"
    values = 100 * np.array(cell.values)
    text = f"{values.mean():.2f}"
    return text if len(values) < 2 else f"{text} ({values.min():.2f}-{values.max():.2f})"


def format_counts(counts: Sequence[int]) -> str:
    """Return a count, or the range of several."""
    found = sorted(set(counts))
    return "-" if not found else str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"


def fill_table(study: Study, records: Records, view: View, table: Table) -> str:
    """Return a table in the paper's layout, its rank correlation with the paper's, and its comparisons."""
    numbers = range(len(table.columns))
    cells = {
        row.method: [study.cell(records, view, table, row, n) for n in numbers] for row in study.rows(table)
    }
    has_paper = any(value is not None for row in table.rows for value in row.paper)
    head = [table.head, *(column.head for column in table.columns), "seeds", "videos"]
    head += [f"paper: {column.head}" for column in table.columns] if has_paper else []
    lines = [_line(row, cells[row.method], has_paper) for row in study.rows(table)]
    parts = [markdown_table(head, lines), describe_backbones(study, table)]
    if table.has_correlation:
        parts.append(describe_correlation(table, study.rows(table), cells))
    parts += describe_comparisons(study, records, view, table)
    return "\n\n".join(part for part in parts if part)


def describe_backbones(study: Study, table: Table) -> str:
    """Return what the encoders of a table start from."""
    parts = dict.fromkeys(row.backbone or table.backbone for row in study.rows(table) if row.streams)
    titles = {part: study.trainer.backbones[study.backbones[part]].title for part in parts}
    named = [title if part in ("main", "ablation") else f"{part}: {title}" for part, title in titles.items()]
    return f"Encoders: {'; '.join(named)}."


def _line(row: Row, cells: Sequence[Cell | None], has_paper: bool) -> list[str]:
    measured = [cell for cell in cells if cell is not None]
    seeds = format_counts([len(cell.values) for cell in measured])
    videos = format_counts([count for cell in measured for count in cell.num_videos])
    papers = ["-" if value is None else f"{value:g}" for value in row.paper] if has_paper else []
    return [row.method, *map(format_cell, cells), seeds, videos, *papers]


def describe_correlation(
    table: Table, rows: Sequence[Row], cells: Mapping[str, Sequence[Cell | None]]
) -> str:
    """Return the rank correlation of every column with the paper's over the rows that both have."""
    found = []
    for number, column in enumerate(table.columns):
        pairs = [
            (float(np.mean(cell.values)), row.paper[number])
            for row in rows
            if (cell := cells[row.method][number]) is not None and row.paper[number] is not None
        ]
        if len(pairs) >= FEWEST_ROWS:
            ours, papers = zip(*pairs, strict=True)
            value = rank_correlation(ours, papers)
            text = "undefined" if np.isnan(value) else f"{value:.2f}"
            found.append(f"{column.head} {text} ({len(pairs)} rows)")
    return f"Rank correlation with the paper (Spearman): {', '.join(found)}." if found else ""


DIFFERENCE_HEAD = ("difference [95 %]", "p", "p < 0.05", "seeds", "videos")


def describe_difference(result: Mapping[str, Any]) -> list[str]:
    """Return the cells of a difference that was tested."""
    gap, low, high = (100 * result[name] for name in ("difference", "low", "high"))
    cells = [
        f"{gap:+.2f} [{low:+.2f}, {high:+.2f}]",
        f"{result['p']:.3f}",
        "yes" if result["p"] < 0.05 else "no",
    ]
    return [*cells, str(result["num_seeds"]), str(result["num_videos"])]


def describe_comparisons(study: Study, records: Records, view: View, table: Table) -> list[str]:
    """Return the differences that were tested, as a table."""
    lines = []
    for comparison, localizer in study.comparisons(table):
        result = records.result(study.comparison_name(view, table, comparison, localizer))
        if result is None:
            continue
        lines.append([comparison.text, localizer, result["metric"], *describe_difference(result)])
    head = ["claim", "localizer", "metric", *DIFFERENCE_HEAD]
    return [markdown_table(head, lines)] if lines else []


def fill_probes(table: ProbeTable, records: Records) -> str:
    """Return the table of linear probes, in percent, and its comparisons; nothing if nothing is recorded."""
    head = ["features of", *(f"{q} ({QUESTIONS[q][1]})" for q in table.questions), "seeds", "videos"]
    lines = []
    for name, streams in PROBE_ROWS.items():
        cells = [table.cell(records, streams, question) for question in table.questions]
        seeds = format_counts([len(cell.values) for cell in cells if cell is not None])
        counts = ", ".join(format_counts(cell.num_videos) if cell is not None else "-" for cell in cells)
        lines.append([name, *map(format_cell, cells), seeds, counts])
    compared = []
    for comparison in CHAIN:
        for question in table.questions:
            result = records.result(table.comparison_name(comparison, question))
            if result is not None:
                compared.append([comparison.text, question, *describe_difference(result)])
    if all(line[-2] == "-" for line in lines):
        return ""
    head_compared = ["claim", "question", *DIFFERENCE_HEAD]
    parts = [markdown_table(head, lines)]
    return "\n\n".join([*parts, markdown_table(head_compared, compared)] if compared else parts)


def fill_boundaries(table: BoundaryTable, records: Records) -> str:
    """Return the table of boundaries found, F1 in percent; nothing if nothing is recorded."""
    cells = {row: [table.cell(records, kind, row) for kind in table.datasets] for row in ROWS}
    if all(cell is None for found in cells.values() for cell in found):
        return ""
    head = ["F1 within 0.25 s", *table.datasets, "seeds", "videos"]
    lines = []
    for row, found in cells.items():
        seeds = format_counts([len(cell.values) for cell in found if cell is not None])
        counts = ", ".join(format_counts(cell.num_videos) if cell is not None else "-" for cell in found)
        lines.append([row, *map(format_cell, found), seeds, counts])
    return markdown_table(head, lines)


def table_panels(study: Study, records: Records, table: Table) -> list[Panel]:
    """Return what a picture of a table shows: of every localizer and view the metric of comparisons."""
    panels = []
    for view in study.views:
        for localizer, (*_, metric) in RESULT_FILES.items():
            cells = {}
            for row in study.rows(table):
                for number, column in enumerate(table.columns):
                    if column.metric == metric and localizer == (column.localizer or row.localizer):
                        cell = study.cell(records, view, table, row, number)
                        if cell is not None:
                            cells[row.method] = cell
            if cells:
                panels.append(Panel(f"{localizer}, {view.name}: {metric}", cells))
    return panels


def picture_name(study: Study, name: str) -> str:
    return f"evidence_{study.name}_{name}.png"


def draw_tables(recorded: Sequence["RecordedStudy"], folder: Path) -> None:
    """Draw every table that has records, as the page shows it; without matplotlib only say so."""
    if find_spec("matplotlib") is None:
        logger.warning("no pictures are drawn: pip install matplotlib")
        return
    for one in recorded:
        for table in TABLES.values():
            panels = table_panels(one.study, one.records, table)
            if panels:
                ours = [row.method for row in table.rows if row.streams == BOTH]
                draw_dots(panels, heading(table), folder / picture_name(one.study, table.name), ours)


def summarize(studies: Sequence[tuple[Study, Records]]) -> str:
    """Return the chain of claims with its differences, a column for each localizer and kind of videos."""
    columns: dict[str, list[str]] = {}
    for study, records in studies:
        for view in study.views:
            for table in TABLES.values():
                if table.comparisons != CHAIN:
                    continue
                for comparison, localizer in study.comparisons(table):
                    name = study.comparison_name(view, table, comparison, localizer)
                    result = records.result(name)
                    if result is None:
                        continue
                    cells = columns.setdefault(f"{localizer}, {view.name}", ["-"] * len(CHAIN))
                    gap, p = describe_difference(result)[:2]
                    cells[CHAIN.index(comparison)] = f"{gap.partition(' ')[0]} (p {p})"
    if not columns:
        return ""
    lines = [
        [comparison.text, *(cells[place] for cells in columns.values())]
        for place, comparison in enumerate(CHAIN)
    ]
    return markdown_table(["claim", *columns], lines)


def has_any(study: Study, records: Records, view: View, table: Table) -> bool:
    """Return whether a record of a table is there."""
    return any(
        study.cell(records, view, table, row, number) is not None
        for row in study.rows(table)
        for number in range(len(table.columns))
    )


def describe_separation(result: Mapping[str, Any]) -> str:
    """Return the record of Figure 4 in a line."""
    found = [f"{name} AUC {value['auc']:.3f}" for name, value in result.items() if isinstance(value, dict)]
    return f"{', '.join(found)}; {result['num_videos']} videos"


def describe_runs(records: Records) -> str:
    """Return on what the records were made, for how many steps encoders were trained, and the time of all."""
    every = {name: record for name in records if (record := records.read(name)) is not None}
    machines = {f"{r['hardware']['device']} ({r['hardware']['processor']})" for r in every.values()}
    versions = {f"torch {r['versions']['torch']}" for r in every.values()}
    commits = {str(r["commit"])[:12] for r in every.values()}
    steps = {str(r["result"]["steps"]) for name, r in every.items() if name.startswith("train/")}
    spent: dict[str, float] = {}
    for name, record in every.items():
        kind = name.partition("/")[0]
        spent[kind] = spent.get(kind, 0.0) + record["seconds"]
    parts = [
        f"run on {', '.join(sorted(machines))}",
        *sorted(versions),
        f"commits {', '.join(sorted(commits))}",
    ]
    parts += [f"trainings of {', '.join(sorted(steps))} steps (0 for untrained ones)"] if steps else []
    times = [f"{kind} {seconds / 60:.0f} min" for kind, seconds in spent.items()]
    parts.append(f"time by step: {', '.join(times)}")
    return "; ".join(parts) + "."


@dataclass(frozen=True)
class Extra:
    """A table that the paper has not."""

    title: str
    holds: str
    fill: Callable[[Any, Records], str]


EXTRAS = {
    "probes": Extra(
        "Linear probes",
        "what single snippets know, by a linear classifier of 96 principal components of their features: "
        + "; ".join(f"*{name}* ({MEASURES[how]})" for name, (_, how) in QUESTIONS.items()),
        fill_probes,
    ),
    "boundaries": Extra(
        "Boundaries found",
        "F1 within 0.25 s of " + "; ".join(f"*{kind}*: {text}" for kind, text in KINDS.items()),
        fill_boundaries,
    ),
}


def write_tables(
    study: Study, records: Records, names: Sequence[str], extras: Mapping[str, ProbeTable | BoundaryTable]
) -> str:
    """Return the tables that were asked for as one Markdown text."""
    parts = []
    for name in names:
        if name in EXTRAS:
            parts.append(f"## {EXTRAS[name].title}\n\n{EXTRAS[name].fill(extras[name], records)}")
            continue
        table = TABLES[name]
        for view in study.views:
            parts.append(f"## {heading(table)}\n\n{view.title}.\n\n{fill_table(study, records, view, table)}")
    return "\n\n".join([*parts, CAPTION])


def heading(table: Table) -> str:
    return f"Table {table.name}: {table.title}" if table.name.isdigit() else table.title


@dataclass(frozen=True)
class RecordedStudy:
    """A scale with its records and the tables that the paper has not."""

    study: Study
    records: Records
    extras: Mapping[str, ProbeTable | BoundaryTable]


def evidence_page(recorded: Sequence[RecordedStudy], presets: Path) -> str:
    """Return the page `docs/evidence.md`: commands, what each table holds, and what is recorded of it."""
    parts = [INTRODUCTION.read_text(encoding="utf-8").rstrip()]
    studies = [(one.study, one.records) for one in recorded]
    for study, records in studies:
        if any(True for _ in records):
            parts.append(f"Recorded at scale `{study.name}`: {describe_runs(records)}")
    summary = summarize(studies)
    if summary:
        parts.append(f"## The claims at a glance\n\n{SUMMARY_CAPTION}\n\n{summary}")
    for table in TABLES.values():
        parts.append(f"## {heading(table)}\n\n`--table {table.name}`: {table.holds}.")
        filled = [
            f"{view.title}, scale `{study.name}`:\n\n{fill_table(study, records, view, table)}"
            for study, records in studies
            for view in study.views
            if has_any(study, records, view, table)
        ]
        filled += [
            f"![Table {table.name}, a dot for each seed](images/{picture_name(study, table.name)})"
            for study, records in studies
            if table_panels(study, records, table)
        ]
        parts += filled or [NOT_RECORDED]
    for name, extra in EXTRAS.items():
        parts.append(f"## {extra.title}\n\n`--table {name}`: {extra.holds}.")
        found = [extra.fill(one.extras[name], one.records) for one in recorded if name in one.extras]
        parts += [text for text in found if text] or [NOT_RECORDED]
    for number, text in FIGURES.items():
        parts.append(f"## Figure {number}\n\n`--figure {number}`: {text}.")
        lines = [
            f"- {study.name}, {name}: {describe_separation(result)}"
            for study, records in studies
            for name in records
            if name.startswith(f"figures/{number}-") and (result := records.result(name)) is not None
        ]
        parts += ["\n".join(lines)] if lines else []
    parts.append(PRESETS_INTRODUCTION)
    parts.append(preset_tables(presets) or NOT_RECORDED)
    parts.append(CAPTION)
    return "\n\n".join(parts) + "\n"


NOT_RECORDED = "No run is recorded yet."

PRESETS_INTRODUCTION = """## Presets of the synthesis in another comparison

`python benchmarks/compare_presets.py` trains an encoder of every preset at equal cost and probes its frozen
features."""
