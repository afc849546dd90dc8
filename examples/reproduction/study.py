"""A scale of the study: its data sets, encoders and localizers, and the steps that fill a table."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .features import reduce_features, write_durations
from .plan import Plan, Records, Step, run_command
from .recipes import Encoder, Stream, Trainer
from .scoring import RESULT_FILES, Truth, paired_difference, predicted_videos, score, score_of_draws
from .tables import Comparison, Row, Table, rows_of

logger = logging.getLogger("reproduce")

EXTRACT, LOCALIZE = "examples/extract_features.py", "examples/train_localizer.py"
# Extraction ends so where some videos cannot be read, and a missing video is no reason to stop.
SOME_FAILED = 1


@dataclass(frozen=True, eq=False)
class Dataset:
    """Untrimmed videos with annotations.

    Args:
        name (`str`): In the names of records.
        title (`str`): In a table.
        videos (`Path`): Folder of the videos.
        truth (`Truth`): What localizers are scored by.
        annotations (`tuple[str, ...]`): Options of a localizer's training that name the annotations.
        make (`Step`, *optional*): Makes videos or annotations.
        by_localizer (`Mapping`): Further options by localizer.
        has_durations (`bool`): Whether lengths are annotated; if not, `truth.durations` is written from the
            features.
    """

    name: str
    title: str
    videos: Path
    truth: Truth
    annotations: tuple[str, ...]
    make: Step | None = None
    by_localizer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_durations: bool = True


@dataclass(frozen=True, eq=False)
class View:
    """One filling of the tables: the data set of each localizer, by its name."""

    name: str
    title: str
    datasets: Mapping[str, Dataset]


@dataclass(frozen=True)
class Cell:
    """One number of a table: a metric over the seeds, in the order of the seeds."""

    values: tuple[float, ...]
    num_videos: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """One scale.

    Args:
        name (`str`): `"mini"` or `"paper"`.
        work (`Path`): Where encoders, features and localizers are written.
        trainer (`Trainer`): Trains encoders.
        views (`tuple[View, ...]`): Fillings of the tables.
        backbones (`Mapping[str, str]`): Names of the trainer's backbones by their part: `"main"`,
            `"ablation"`, `"shallow"` and `"deep"`.
        seeds (`int`): Seeds of a row.
        claim_seeds (`int`): Seeds of a row that a claim rests on.
        width (`int`, *optional*): Width that features are reduced to; not at all by default.
        has_extras (`bool`): Whether the rows are filled that the paper's tables lack.
        only_predicted (`bool`): Whether scores are over the videos with predictions, where some are missing.
        extraction (`tuple[str, ...]`): Options of every extraction.
        localization (`Mapping[str, tuple[str, ...]]`): Options of the training of each localizer.
        localizer_extra (`tuple[str, ...]`): Options of the user, which hold.
        num_draws (`int`): Draws of videos of a comparison.
    """

    name: str
    work: Path
    trainer: Trainer
    views: tuple[View, ...]
    backbones: Mapping[str, str]
    seeds: int
    claim_seeds: int
    width: int | None
    has_extras: bool
    only_predicted: bool
    extraction: tuple[str, ...]
    localization: Mapping[str, tuple[str, ...]]
    localizer_extra: tuple[str, ...] = ()
    num_draws: int = 500

    def rows(self, table: Table) -> Sequence[Row]:
        return rows_of(table, self.has_extras)

    def seeds_of(self, row: Row) -> range:
        return range(max(self.claim_seeds, self.seeds) if row.has_claim else self.seeds)

    def backbone(self, table: Table, row: Row | None = None) -> str:
        return self.backbones[(row and row.backbone) or table.backbone]

    def encoder(self, backbone: str, stream: Stream, seed: int) -> Encoder:
        return Encoder(backbone, self.trainer.recipe(stream.recipe), seed + stream.seed_offset)

    def row_name(self, backbone: str, streams: Sequence[Stream], seed: int) -> str:
        return "+".join(self.encoder(backbone, stream, seed).name for stream in streams)

    def add_table(self, plan: Plan, table: Table) -> None:
        """Add every step that fills a table."""
        for view in self.views:
            for row in self.rows(table):
                for localizer in table.localizers(row):
                    for seed in self.seeds_of(row):
                        dataset = view.datasets[localizer]
                        self.add_score(plan, dataset, localizer, self.backbone(table, row), row, seed)
            for comparison, localizer in self.comparisons(table):
                self.add_comparison(plan, view, table, comparison, localizer)

    def comparisons(self, table: Table) -> Iterator[tuple[Comparison, str]]:
        """Yield the comparisons whose rows are filled here, once a localizer."""
        filled = [
            (row.streams, name)
            for row in self.rows(table)
            if row.backbone is None
            for name in table.localizers(row)
        ]
        for localizer in dict.fromkeys(name for _, name in filled):
            for comparison in table.comparisons:
                if {(comparison.ours, localizer), (comparison.theirs, localizer)} <= set(filled):
                    yield comparison, localizer

    def add_extraction(self, plan: Plan, dataset: Dataset, encoder: Encoder) -> Path:
        """Add the features of a data set by an encoder; return their folder."""
        self.trainer.add(plan, encoder)
        if dataset.make is not None:
            plan.add(dataset.make)
        folder = self.work / "features" / dataset.name / encoder.name
        model = self.trainer.folder(encoder)
        words = ("python", EXTRACT, "--videos", str(dataset.videos), "--model", str(model))
        words += (*self.extraction, "--output", str(folder))
        log = self.work / "logs" / "extract" / dataset.name / f"{encoder.name}.log"

        def make() -> dict:
            status = run_command(words, log, good=(0, SOME_FAILED))
            failures = folder / "failures.csv"
            if status and not failures.is_file():  # Python ends with the same status
                raise RuntimeError(f"the extraction failed; see {log}.")
            if not dataset.has_durations and dataset.truth.durations is not None:
                write_durations(folder, dataset.truth.durations)
            rows = failures.read_text(encoding="utf-8").splitlines()[1:] if failures.is_file() else []
            return {"num_tracks": sum(1 for _ in folder.rglob("*.npy")), "num_failed": len(rows)}

        plan.add(Step(f"extract/{dataset.name}/{encoder.name}", words, make))
        return folder

    def add_features(
        self, plan: Plan, dataset: Dataset, backbone: str, streams: Sequence[Stream], seed: int
    ) -> list[Path]:
        """Add the features of a row; return what a localizer reads."""
        encoders = [self.encoder(backbone, stream, seed) for stream in streams]
        folders = [self.add_extraction(plan, dataset, encoder) for encoder in encoders]
        if self.width is None:
            return folders
        name = self.row_name(backbone, streams, seed)
        output = self.work / "reduced" / dataset.name / name
        width = self.width

        def make() -> dict:
            everything = dataset.truth.annotations
            videos = Truth(everything).videos
            training = [video.video_id for video in videos.videos if video.subset != dataset.truth.subset]
            return reduce_features(folders, [v.video_id for v in videos.videos], training, width, output)

        words = ("reduce_features", *map(str, folders), "--width", str(width), "--output", str(output))
        plan.add(Step(f"reduce/{dataset.name}/{name}", words, make))
        return [output]

    def localizer_folder(self, dataset: Dataset, localizer: str, name: str) -> Path:
        return self.work / "localizers" / dataset.name / localizer / name

    def add_score(
        self, plan: Plan, dataset: Dataset, localizer: str, backbone: str, row: Row, seed: int
    ) -> None:
        """Add the training of a localizer on the features of a row, and its score."""
        features = self.add_features(plan, dataset, backbone, row.streams, seed)
        name = self.row_name(backbone, row.streams, seed)
        folder = self.localizer_folder(dataset, localizer, name)
        words = ("python", LOCALIZE, "--localizer", localizer, *dataset.annotations)
        words += ("--features", *map(str, features), *dataset.by_localizer.get(localizer, ()))
        words += (*self.localization.get(localizer, ()), "--seed", str(seed), *self.localizer_extra)
        words += ("--output_dir", str(folder))
        log = self.work / "logs" / "localize" / dataset.name / localizer / f"{name}.log"

        def make() -> dict:
            run_command(words, log)
            return score(localizer, folder, dataset.truth, self.only_predicted)

        plan.add(Step(score_name(dataset, localizer, name), words, make))

    def add_comparison(
        self, plan: Plan, view: View, table: Table, comparison: Comparison, localizer: str
    ) -> None:
        """Add the difference of two rows over the seeds that both have."""
        dataset = view.datasets[localizer]
        seeds = self.comparison_seeds(table, comparison)
        sides = [
            [
                self.localizer_folder(dataset, localizer, self.row_name(self.backbone(table), side, seed))
                for seed in seeds
            ]
            for side in (comparison.ours, comparison.theirs)
        ]

        def make() -> dict:
            truth = dataset.truth
            found = [predicted_videos(localizer, path, truth) for side in sides for path in side]
            videos = [video for video in found[0] if all(video in other for other in map(set, found))]
            scorers = [[score_of_draws(localizer, path, truth, videos) for path in side] for side in sides]
            difference = paired_difference(scorers[0], scorers[1], len(videos), self.num_draws)
            return asdict(difference) | {"metric": RESULT_FILES[localizer][3]}

        words = ("paired_difference", localizer, *(str(path) for side in sides for path in side))
        words += ("--num_draws", str(self.num_draws))
        plan.add(Step(self.comparison_name(view, table, comparison, localizer), words, make))

    def comparison_seeds(self, table: Table, comparison: Comparison) -> range:
        counts = [
            len(self.seeds_of(row))
            for row in self.rows(table)
            if row.streams in (comparison.ours, comparison.theirs)
        ]
        return range(min(counts))

    def compared(self, comparison: Comparison, num_seeds: int) -> str:
        """Return the end of the name of a comparison's record."""
        sides = [
            "+".join(
                self.encoder("", stream, 0).recipe
                + (f"_{1 + stream.seed_offset}" if stream.seed_offset else "")
                for stream in side
            )
            for side in (comparison.ours, comparison.theirs)
        ]
        return f"{'-over-'.join(sides)}-{num_seeds}"

    def comparison_name(self, view: View, table: Table, comparison: Comparison, localizer: str) -> str:
        end = self.compared(comparison, len(self.comparison_seeds(table, comparison)))
        return f"compare/{view.datasets[localizer].name}/{localizer}/{self.backbone(table)}/{end}"

    def cell(self, records: Records, view: View, table: Table, row: Row, number: int) -> Cell | None:
        """Return what is recorded of a row in a column; `None` where nothing is."""
        column = table.columns[number]
        localizer = column.localizer or row.localizer
        if not row.streams or localizer is None:
            return None
        found = [
            records.result(
                score_name(
                    view.datasets[localizer],
                    localizer,
                    self.row_name(self.backbone(table, row), row.streams, seed),
                )
            )
            for seed in self.seeds_of(row)
        ]
        done = [result for result in found if result is not None]
        if not done:
            return None
        values = tuple(result["metrics"][column.metric] for result in done)
        return Cell(values, tuple(result["num_videos"] for result in done))


def score_name(dataset: Dataset, localizer: str, row_name: str) -> str:
    """Return the name of the record of a localizer's score."""
    return f"score/{dataset.name}/{localizer}/{row_name}"
