"""The table of linear probes: what single snippets know, without a localizer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bsp_hf.features import FeatureSource
from bsp_hf.files import atomic_file

from .boundary_table import boundaries_file
from .concatenation import FPS
from .plan import Plan, Records, Step, read_json
from .probes import (
    QUESTIONS,
    Answers,
    ProbeVideo,
    answer,
    cycle_video,
    episode_truths,
    join_truths,
    measure,
    score_of_answers,
)
from .recipes import Stream
from .scoring import paired_difference
from .study import Cell, Dataset, Study
from .tables import BOTH, BOUNDARY, CHAIN, ENSEMBLE, IMAGENET, RANDOM, VANILLA, Comparison

ROWS = {
    "random": RANDOM,
    "ImageNet": IMAGENET,
    "BSP alone": BOUNDARY,
    "vanilla": VANILLA,
    "two vanillas": ENSEMBLE,
    "vanilla + BSP": BOTH,
}
MEASURES = {
    "ap": "average precision",
    "accuracy": "accuracy",
    "within": "average precision above the base rate",
}


@dataclass(frozen=True)
class ProbeTable:
    """Adds the steps of the table and reads its cells.

    Args:
        study (`Study`): The miniature scale.
        datasets (`Mapping[str, Dataset]`): Data sets by the kind of their videos, as `QUESTIONS` names it.
    """

    study: Study
    datasets: Mapping[str, Dataset]

    @property
    def questions(self) -> list[str]:
        return [question for question, (kind, _) in QUESTIONS.items() if kind in self.datasets]

    @property
    def seeds(self) -> range:
        return range(max(self.study.claim_seeds, self.study.seeds))

    def row_name(self, streams: tuple[Stream, ...], seed: int) -> str:
        return self.study.row_name(self.study.backbones["main"], streams, seed)

    def answers_path(self, streams: tuple[Stream, ...], seed: int) -> Path:
        return self.study.work / "answers" / f"{self.row_name(streams, seed)}.npz"

    def add(self, plan: Plan) -> None:
        for streams in ROWS.values():
            for seed in self.seeds:
                self._add_row(plan, streams, seed)
        for comparison in CHAIN:
            for question in self.questions:
                self._add_comparison(plan, comparison, question)

    def _add_row(self, plan: Plan, streams: tuple[Stream, ...], seed: int) -> None:
        backbone = self.study.backbones["main"]
        folders = {
            kind: [
                self.study.add_extraction(plan, dataset, self.study.encoder(backbone, stream, seed))
                for stream in streams
            ]
            for kind, dataset in self.datasets.items()
        }
        path = self.answers_path(streams, seed)
        every = [str(folder) for some in folders.values() for folder in some]
        words = ("probe", *every, "--output", str(path))
        plan.add(Step(f"probe/{self.row_name(streams, seed)}", words, lambda: self._probe(folders, path)))

    def _probe(self, folders: Mapping[str, list[Path]], path: Path) -> dict:
        scores, num_videos, kept = {}, {}, {}
        for kind, dataset in self.datasets.items():
            videos, features = read_videos(kind, dataset, FeatureSource(folders[kind]))
            for question in [name for name in self.questions if QUESTIONS[name][0] == kind]:
                answers = answer(question, videos, features)
                scores[question] = measure(question, answers)
                num_videos[question] = len(answers.names)
                kept |= {f"{question}|{part}": value for part, value in vars(answers).items()}
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **kept)
        return {"scores": scores, "num_videos": num_videos}

    def _add_comparison(self, plan: Plan, comparison: Comparison, question: str) -> None:
        sides = [
            [self.answers_path(streams, seed) for seed in self.seeds]
            for streams in (comparison.ours, comparison.theirs)
        ]

        def make() -> dict:
            answers = [[read_answers(path, question) for path in side] for side in sides]
            ours, theirs = ([score_of_answers(question, one) for one in side] for side in answers)
            num_videos = len(answers[0][0].names)
            return asdict(paired_difference(ours, theirs, num_videos, self.study.num_draws))

        words = ("paired_difference", question, *(str(path) for side in sides for path in side))
        words += ("--num_draws", str(self.study.num_draws))
        plan.add(Step(self.comparison_name(comparison, question), words, make))

    def comparison_name(self, comparison: Comparison, question: str) -> str:
        end = self.study.compared(comparison, len(self.seeds))
        return f"compare/probes/{question.replace(' ', '-')}/{end}"

    def cell(self, records: Records, streams: tuple[Stream, ...], question: str) -> Cell | None:
        """Return the scores of a row for a question over the seeds."""
        found = [records.result(f"probe/{self.row_name(streams, seed)}") for seed in self.seeds]
        done = [result for result in found if result is not None]
        if not done:
            return None
        return Cell(
            tuple(result["scores"][question] for result in done),
            tuple(result["num_videos"][question] for result in done),
        )


def read_answers(path: Path, question: str) -> Answers:
    """Return the answers to a question that a probe left."""
    with np.load(path) as kept:
        return Answers(*(kept[f"{question}|{part}"] for part in ("videos", "scores", "labels")))


def read_videos(
    kind: str, dataset: Dataset, source: FeatureSource
) -> tuple[list[ProbeVideo], list[np.ndarray]]:
    """Return the videos of a kind with their truths, and the features of their snippets."""
    truths_path = dataset.truth.annotations if kind == "quva" else boundaries_file(dataset.truth.annotations)
    entries = read_json(dataset.videos / "annotations.json" if kind == "sim" else truths_path)
    if kind == "quva":
        entries = {name: entry for name, entry in entries.items() if entry["source"] == "quva"}
    classes = sorted({label for entry in entries.values() for label in entry.get("labels", ())})
    videos, features = [], []
    for name, entry in entries.items():
        found = source.read(name)
        if found.record is None:
            raise ValueError(f"the features of {name} lack the record of how they were made.")
        starts = np.arange(len(found.features)) * found.record.stride_frames
        video: ProbeVideo | None
        if kind == "quva":
            video = cycle_video(name, starts, entry)
        else:
            if kind == "sim":
                truths = episode_truths(starts, entry)
            else:
                edges = np.rint(np.array([*entry["boundaries"][0], entry["duration"]]) * FPS).astype(int)
                labels = [classes.index(label) for label in entry["labels"]]
                truths = join_truths(starts, edges, np.repeat(labels, np.diff([0, *edges])))
            is_test = np.full(len(starts), entry["subset"] == dataset.truth.subset)
            video = ProbeVideo(name=name, starts=starts, truths=truths, is_test=is_test)
        if video is not None:
            videos.append(video)
            features.append(found.features)
    return videos, features
