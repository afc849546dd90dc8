"""The table of boundaries found: without a network, by features of encoders, by the boundary classifier."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bsp_hf import pretrained_path
from bsp_hf.pretrained import DEFAULT_DETECTOR

from .boundaries import (
    BoundaryVideo,
    Peaks,
    boundary_scores,
    feature_curve,
    find_peaks,
    response_reader,
)
from .plan import Plan, Records, Step, read_json
from .recipes import Stream
from .scoring import Truth
from .signals import DETECTORS, frame_curves
from .study import Cell, Dataset, Study

logger = logging.getLogger("reproduce")

WITHOUT_NETWORK = ("frame differences", "colour histograms", "content", "adaptive")
ENCODERS = {
    "random, feature differences": "random",
    "ImageNet, feature differences": "imagenet",
    "vanilla, feature differences": "vanilla",
    "BSP, feature differences": "boundary",
}
CLASSIFIER = "BSP, boundary response"
PACKAGED = f"{DEFAULT_DETECTOR} as shipped, with cuts seen in the pictures"
# Not of a seed: what needs no training of this study.
FIXED = (*DETECTORS, PACKAGED)
ROWS = (*WITHOUT_NETWORK, *ENCODERS, CLASSIFIER, *FIXED)
KINDS = {
    "joined": "joins of concatenated clips (cuts and fades)",
    "episodes": "phase boundaries of continuous episodes, no cut",
    "cycles": "ends of cycles of one repeated action (QUVA); no training part",
    "edited": "cuts of edited videos, TransNetV2's answers as truth; no training part",
}


@dataclass(frozen=True)
class BoundaryTable:
    """Adds the steps of the table and reads its cells.

    Args:
        study (`Study`): The miniature scale.
        datasets (`Mapping[str, Dataset]`): Data sets whose features are extracted, by kind.
    """

    study: Study
    datasets: Mapping[str, Dataset]

    def add(self, plan: Plan) -> None:
        for name, detector in DETECTORS.items():
            if not detector.is_installed:
                logger.warning("the row %s is left out; pip install %s", name, detector.package)
        for kind, dataset in self.datasets.items():
            if dataset.make is not None:
                plan.add(dataset.make)
            words = ("find_boundaries", kind, str(dataset.videos), "--without_network")
            plan.add(Step(f"boundaries/{kind}/without-network", words, lambda kind=kind: self._frames(kind)))
            for name, read in self._fixed().items():
                words = ("find_boundaries", kind, str(dataset.videos), "--by", name)
                step = Step(
                    _fixed_name(kind, name), words, lambda kind=kind, read=read: self._peaks(kind, read)
                )
                plan.add(step)
            for seed in range(self.study.seeds):
                for recipe in ENCODERS.values():
                    encoder = self.study.encoder(self.study.backbones["main"], Stream(recipe), seed)
                    folder = self.study.add_extraction(plan, dataset, encoder)
                    words = ("find_boundaries", kind, "--features", str(folder))
                    plan.add(
                        Step(
                            f"boundaries/{kind}/features-{encoder.name}",
                            words,
                            lambda kind=kind, folder=folder: self._features(kind, folder),
                        )
                    )
                model = self.study.trainer.folder(self._classifier(seed))
                words = ("find_boundaries", kind, str(dataset.videos), "--classifier", str(model))
                plan.add(
                    Step(
                        f"boundaries/{kind}/response-{self._classifier(seed).name}",
                        words,
                        lambda kind=kind, model=model: self._response(kind, model),
                    )
                )

    def _classifier(self, seed: int):
        return self.study.encoder(self.study.backbones["main"], Stream("boundary"), seed)

    def _frames(self, kind: str) -> dict:
        videos = self.videos(kind)
        peaks: dict[str, dict[str, Peaks]] = {name: {} for name in WITHOUT_NETWORK}
        for video in videos:
            for name, curve in frame_curves(video.path).items():
                peaks[name][video.video_id] = find_peaks(curve)
        return {name: boundary_scores(videos, found) for name, found in peaks.items()}

    def _features(self, kind: str, folder: Path) -> dict:
        videos = self.videos(kind)
        return boundary_scores(
            videos, {v.video_id: find_peaks(feature_curve(folder / f"{v.video_id}.npy")) for v in videos}
        )

    def _response(self, kind: str, model: Path) -> dict:
        return self._peaks(kind, response_reader(model))

    def _fixed(self) -> dict[str, Callable[[Path], Peaks]]:
        """Return what finds boundaries in a file, by row; detectors that are not installed are left out."""
        found: dict[str, Callable[[Path], Peaks]] = {
            name: lambda path, read=detector.read: find_peaks(read(path))
            for name, detector in DETECTORS.items()
            if detector.is_installed
        }
        found[PACKAGED] = lambda path: _packaged_reader()(path)
        return found

    def _peaks(self, kind: str, read: Callable[[Path], Peaks]) -> dict:
        videos, started = self.videos(kind), time.process_time()
        peaks = {video.video_id: read(video.path) for video in videos}
        return {**boundary_scores(videos, peaks), "processor_s": round(time.process_time() - started, 1)}

    def videos(self, kind: str) -> list[BoundaryVideo]:
        """Return the videos of a kind with their boundaries."""
        dataset = self.datasets[kind]
        if kind in ("cycles", "edited"):
            return real_videos(dataset.videos, kind)
        truth: Truth = dataset.truth
        path = boundaries_file(truth.annotations)
        return [
            BoundaryVideo(
                video_id,
                dataset.videos / f"{video_id}.mp4",
                tuple(entry["boundaries"][0]),
                entry["subset"] != truth.subset,
            )
            for video_id, entry in read_json(path).items()
        ]

    def cell(self, records: Records, kind: str, row: str) -> Cell | None:
        """Return the F1 of a row over the seeds."""
        if row in WITHOUT_NETWORK:
            found = [records.result(f"boundaries/{kind}/without-network")]
            done = [result[row] for result in found if result is not None]
        elif row in FIXED:
            found = [records.result(_fixed_name(kind, row))]
            done = [result for result in found if result is not None]
        else:
            done = []
            for seed in range(self.study.seeds):
                encoder = self._classifier(seed)
                what = "response"
                if row != CLASSIFIER:
                    encoder = self.study.encoder(self.study.backbones["main"], Stream(ENCODERS[row]), seed)
                    what = "features"
                result = records.result(f"boundaries/{kind}/{what}-{encoder.name}")
                if result is not None:
                    done.append(result)
        if not done:
            return None
        return Cell(tuple(r["f1"] for r in done), tuple(r["num_videos"] for r in done))


@cache
def _packaged_reader() -> Callable[[Path], Peaks]:
    return response_reader(Path(pretrained_path(DEFAULT_DETECTOR)), find_cuts=True)


def _fixed_name(kind: str, row: str) -> str:
    return f"boundaries/{kind}/{row.partition(' as')[0].replace(' ', '-')}"


def boundaries_file(annotations: Path) -> Path:
    """Return the file of boundaries beside annotations."""
    name = annotations.name.replace("annotations", "boundaries")
    return annotations.with_name(name if name != annotations.name else f"{annotations.stem}-boundaries.json")


def real_videos(folder: Path, kind: str) -> list[BoundaryVideo]:
    """Read the videos of one kind of `untrimmed_real`; a transition counts at its middle."""
    found = []
    for video_id, entry in read_json(folder / "annotations.json").items():
        if kind == "cycles" and entry["source"] == "quva":
            boundaries = tuple(entry["boundaries"])
        elif kind == "edited" and entry["source"] == "edited":
            boundaries = tuple(float(np.mean(change)) for change in entry["shot_changes"])
        else:
            continue
        found.append(BoundaryVideo(video_id, folder / f"{video_id}.mp4", boundaries, is_training=False))
    return found
