"""Figures 2 and 4 of the paper."""

from pathlib import Path

import numpy as np

from bsp_hf.features import FeatureSource
from bsp_hf.files import atomic_file
from bsp_hf.visualization import plot_consecutive_differences, separation_statistic

from .boundary_table import boundaries_file
from .plan import Plan, Step, read_json, run_command
from .recipes import Stream
from .study import Dataset, Study

FIGURES = {
    "2": "synthesized clips of every boundary type, drawn as in the paper's Figure 2 (`--synthesis figure`)",
    "4": "differences of consecutive snippets at boundaries and elsewhere, of the boundary and the vanilla "
    "encoder; AUC over all test videos",
}
SHOWN = {"BSP": "boundary", "vanilla": "vanilla"}


def add_figure_2(plan: Plan, study: Study, clips: Path, metadata: Path | None) -> None:
    """Add the picture of synthesized clips."""
    picture = study.work / "figures" / "figure2.png"
    table = () if metadata is None else ("--metadata", str(metadata))
    words = ("bsp-hf", "synth", str(clips), *table, "--picture", str(picture), "--synthesis", "figure")
    log = study.work / "logs" / "figure2.log"

    def make() -> dict:
        picture.parent.mkdir(parents=True, exist_ok=True)
        run_command(words, log)
        return {"picture": picture.name}

    plan.add(Step("figures/2", words, make))


def add_figure_4(plan: Plan, study: Study) -> None:
    """Add the picture of feature differences, of the first seed."""
    for view in study.views:
        dataset = view.datasets["gtad"]
        folders = {
            name: study.add_extraction(
                plan, dataset, study.encoder(study.backbones["main"], Stream(recipe), seed=0)
            )
            for name, recipe in SHOWN.items()
        }
        picture = study.work / "figures" / f"figure4-{view.name}.png"
        words = ("plot_consecutive_differences", *map(str, folders.values()), "--output", str(picture))

        def make(dataset: Dataset = dataset, folders: dict = folders, picture: Path = picture) -> dict:
            return _draw_differences(dataset, folders, picture)

        plan.add(Step(f"figures/4-{view.name}", words, make))


def _draw_differences(dataset: Dataset, folders: dict[str, Path], picture: Path) -> dict:
    boundaries = _test_boundaries(dataset)
    sources = {name: FeatureSource([folder]) for name, folder in folders.items()}
    result: dict = {"picture": picture.name, "num_videos": len(boundaries)}
    prefix = dict(zip(dataset.annotations, dataset.annotations[1:], strict=False)).get("--prefix", "")
    is_drawn = False
    inside: dict[str, list[np.ndarray]] = {name: [] for name in sources}
    outside: dict[str, list[np.ndarray]] = {name: [] for name in sources}
    num_videos = 0
    for video, times_s in boundaries.items():
        if any(source.missing([f"{prefix}{video}"]) for source in sources.values()):
            continue
        tracks = {name: source.read(f"{prefix}{video}") for name, source in sources.items()}
        centers_s = next(iter(tracks.values())).centers_s
        at_boundary = _pairs_at(centers_s, times_s) if centers_s is not None else np.zeros(0, bool)
        if not at_boundary.any() or at_boundary.all():
            continue
        num_videos += 1
        for name, track in tracks.items():
            differences = np.abs(np.diff(track.features, axis=0)).mean(1)
            differences = differences / (differences[~at_boundary].mean() or 1.0)
            inside[name].append(differences[at_boundary])
            outside[name].append(differences[~at_boundary])
        if not is_drawn:
            shown = {name: (track.features, track.centers_s) for name, track in tracks.items()}
            figure = plot_consecutive_differences(shown, times_s)
            with atomic_file(picture) as temporary:
                figure.savefig(temporary, format="png")
            is_drawn = True
    if not is_drawn:
        raise ValueError(f"{dataset.name}: no test video has snippets at boundaries and elsewhere.")
    for name in sources:
        found = separation_statistic(np.concatenate(inside[name]), np.concatenate(outside[name]))
        result[name] = {"auc": found.auc, "cohens_d": found.cohens_d}
    return result | {"num_videos": num_videos}


def _pairs_at(centers_s: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Return whether a boundary lies between two consecutive snippets, at most half a step outside."""
    half = float(np.median(np.diff(centers_s))) / 2 if len(centers_s) > 1 else 0.0
    after = times_s[None] >= centers_s[:-1, None] - half
    before = times_s[None] < centers_s[1:, None] + half
    return (after & before).any(1)


def _test_boundaries(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the boundaries of the test videos, in seconds: annotated ones, or those of segments."""
    path = boundaries_file(dataset.truth.annotations)
    if path.is_file():
        found = {
            name: entry["boundaries"][0]
            for name, entry in read_json(path).items()
            if entry["subset"] == dataset.truth.subset
        }
    else:
        found = {
            video.video_id: sorted({time for s in video.segments for time in (s.start_s, s.end_s)})
            for video in dataset.truth.videos.videos
        }
    return {name: np.asarray(times_s, dtype=float) for name, times_s in found.items() if len(times_s)}
