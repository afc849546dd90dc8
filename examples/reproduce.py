"""Fill the tables and figures of the paper: in miniature within hours, or at the paper's scale on a cluster.

    python examples/reproduce.py --scale mini --table 1 7 --data DATA --init_from lite0 --output_dir mini
    python examples/reproduce.py --scale paper --table 1 2 3 --figure 2 4 --data DATA --output_dir paper \
        --launch "--multi_gpu --mixed_precision bf16" --dry_run
    python examples/reproduce.py --report docs/evidence.md

A table is filled by steps: train an encoder, extract features, train a localizer, score it, compare two rows
by drawing videos. Each is a command or function of the package and leaves a small JSON record; what is
recorded is not done again, so that a run that was stopped goes on, and several tables share their encoders.
Tables are printed and written to OUTPUT_DIR/tables.md. --report writes the page of evidence from records.

`examples/reproduction/mini.py` and `paper.py` say what --data must hold. What is missing is listed before
anything starts. EfficientNet-Lite0 for --init_from is made as docs/pretraining.md shows.
"""

import json
import logging
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from reproduction import mini, paper
from reproduction.boundary_table import BoundaryTable
from reproduction.figures import FIGURES, add_figure_2, add_figure_4
from reproduction.plan import Plan, Records
from reproduction.probe_table import ProbeTable
from reproduction.report import EXTRAS, RecordedStudy, draw_tables, evidence_page, write_tables
from reproduction.study import Study
from reproduction.tables import TABLES

from bsp_hf.files import atomic_write_text
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings, settings_to_dict
from bsp_hf.training.options import option

SCALES = ("mini", "paper")
# What the records of a run are read by, later.
LASTING = ("scale", "seeds", "claim_seeds", "synthesis", "width", "num_draws", "num_videos", "kinds")


@dataclass(kw_only=True)
class ReproductionSettings:
    """What is filled, of what, and how.

    Raises:
        ValueError: If a value makes no sense; the message names the option.
    """

    table: list[str] = option([], f"tables to fill: {', '.join((*TABLES, *EXTRAS))}")
    figure: list[str] = option([], f"figures to draw: {', '.join(FIGURES)}")
    scale: str = option("mini", "settings and data", SCALES)
    data: Path | None = option(None, "folder of the data")
    output_dir: Path = option(Path("runs/reproduce"), "encoders, features, localizers, tables")
    records: Path | None = option(None, "folder of the records; default: OUTPUT_DIR/records")
    report: Path | None = option(None, "write the page of evidence from the records below --results")
    results: Path = option(Path("results"), "folder of recorded runs, one folder each, and of presets")
    init_from: str | None = option(None, "mini: folder of the image network that encoders start from")
    resnet18: str = option("microsoft/resnet-18", "paper: folder or Hub id of the ablations' backbone")
    resnet50: str = option("microsoft/resnet-50", "paper: folder or Hub id of the main backbone")
    seeds: int | None = option(None, "seeds of a row; default: 3 (mini), 1 (paper)")
    claim_seeds: int | None = option(
        None, "seeds of a row that a claim rests on; default: 5 (mini), 1 (paper)"
    )
    synthesis: str = option("text", "preset of the boundary encoder", tuple(SYNTHESIS_PRESETS))
    max_steps: int | None = option(None, "steps of every training; default: 400 (mini), 50 epochs (paper)")
    width: int = option(96, "mini: principal components that features are reduced to")
    num_videos: int = option(90, "mini: concatenated videos, a third of which test")
    kinds: list[str] = option(list(mini.KINDS), "mini: kinds of videos that tables are filled on", mini.KINDS)
    num_draws: int = option(500, "draws of videos of a comparison")
    launch: str = option("", "start trainings by accelerate launch with these options")
    pretraining: str = option("", "further options of every pre-training")
    extraction: str = option("", "further options of every extraction")
    localizer: str = option("", "further options of every localizer's training")
    dry_run: bool = option(False, "print the commands and do nothing")

    def __post_init__(self) -> None:
        for name, known in (("table", (*TABLES, *EXTRAS)), ("figure", tuple(FIGURES))):
            unknown = [value for value in getattr(self, name) if value not in known]
            if unknown:
                raise ValueError(f"argument --{name}: {unknown[0]!r} is not one of {', '.join(known)}.")
        for name in ("seeds", "claim_seeds", "width", "num_draws", "num_videos"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"argument --{name}: {value} must be at least 1.")
        for name in EXTRAS:
            if name in self.table and self.scale != "mini":
                raise ValueError(f"argument --table: {name} needs --scale mini.")
        if not (self.table or self.figure or self.report):
            raise ValueError("there is nothing to do; pass --table, --figure or --report.")
        if (self.table or self.figure) and self.data is None:
            raise ValueError(
                f"argument --data: pass the folder of the data; see reproduction/{self.scale}.py."
            )
        # Absolute, so that records can leave them out wherever they stand.
        self.output_dir = self.output_dir.resolve()
        self.data = None if self.data is None else self.data.resolve()
        if self.init_from is not None and Path(self.init_from).exists():
            self.init_from = str(Path(self.init_from).resolve())

    @property
    def pretraining_words(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.pretraining))

    @property
    def extraction_words(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.extraction))

    @property
    def localizer_words(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.localizer))

    @property
    def places(self) -> dict[str, str]:
        """What differs from machine to machine, by the name that records have in its place."""
        found = {
            "OUTPUT": str(self.output_dir),
            "DATA": str(self.data or ""),
            "INIT_FROM": self.init_from or "",
        }
        return found | {"RESNET18": self.resnet18, "RESNET50": self.resnet50}


def check_inputs(settings: ReproductionSettings) -> None:
    """Raise with everything that is missing, before anything starts."""
    if settings.scale == "mini":
        missing = mini.missing_inputs(settings)
    else:
        tables = [TABLES[name] for name in settings.table if name in TABLES] + (
            [TABLES["1"]] if "4" in settings.figure else []
        )
        missing = paper.missing_inputs(settings.data, paper.needed_folders(tables))
    if missing:
        raise ValueError("missing: " + "; ".join(missing) + ".")


def make_study(settings: ReproductionSettings) -> Study:
    launch = ("accelerate", "launch", *shlex.split(settings.launch)) if settings.launch else ("python",)
    return (mini if settings.scale == "mini" else paper).make_study(settings, launch)


def make_extras(study: Study, settings: ReproductionSettings) -> dict[str, ProbeTable | BoundaryTable]:
    """Return the tables that the paper has not, by name."""
    if study.name != "mini":
        return {}
    views = {view.name: view.datasets["gtad"] for view in study.views}
    real = mini.real_videos_dataset(settings.data)
    probed = {kind: views[name] for kind, name in (("joins", "joined"), ("sim", "episodes")) if name in views}
    return {
        "probes": ProbeTable(study, {**probed, "quva": real}),
        "boundaries": BoundaryTable(study, {**views, "cycles": real, "edited": real}),
    }


def make_plan(study: Study, settings: ReproductionSettings) -> Plan:
    """Return every step of what was asked for."""
    plan = Plan()
    extras = make_extras(study, settings)
    for name in settings.table:
        if name in extras:
            extras[name].add(plan)
        else:
            study.add_table(plan, TABLES[name])
    if "2" in settings.figure:
        is_mini = settings.scale == "mini"
        clips = settings.data / ("actions_mini" if is_mini else "kinetics400")
        add_figure_2(plan, study, clips, clips / "splits.csv" if is_mini else None)
    if "4" in settings.figure:
        add_figure_4(plan, study)
    return plan


def fill(settings: ReproductionSettings) -> None:
    """Do what is not recorded, and print and write the tables."""
    check_inputs(settings)
    study = make_study(settings)
    plan = make_plan(study, settings)
    records = Records(settings.records or settings.output_dir / "records", settings.places)
    if settings.dry_run:
        print(plan.describe(records))
        return
    values = settings_to_dict(settings)
    described = json.dumps({name: values[name] for name in LASTING}, indent=1) + "\n"
    atomic_write_text(records.folder / "settings.json", described)
    plan.run(records, settings.output_dir)
    text = write_tables(study, records, settings.table, make_extras(study, settings))
    atomic_write_text(settings.output_dir / "tables.md", text + "\n")
    print(text)


def write_report(settings: ReproductionSettings) -> None:
    """Write the page of evidence from the records of every run below the folder of results."""
    found = []
    for path in sorted(settings.results.glob("*/settings.json")):
        lasting = json.loads(path.read_text(encoding="utf-8"))
        run = replace(settings, data=Path("DATA"), init_from="INIT_FROM", **lasting)
        study = make_study(run)
        found.append(RecordedStudy(study, Records(path.parent), make_extras(study, run)))
    atomic_write_text(settings.report, evidence_page(found, settings.results / "presets"))
    draw_tables(found, settings.report.with_name("images"))


def main() -> None:
    settings = parse_settings(ReproductionSettings, description=__doc__)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("reproduce").setLevel("INFO")
    try:
        if settings.table or settings.figure:
            fill(settings)
        if settings.report is not None:
            write_report(settings)
    except RuntimeError as error:  # a step that failed; its log says more
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    with exit_on_mistakes():
        main()
