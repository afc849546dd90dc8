"""The tables as in the paper: Kinetics-400, ActivityNet-1.3, Charades-STA, CrossTask.

    DATA/kinetics400/train/CLASS/*.mp4, DATA/kinetics400/val/CLASS/*.mp4
    DATA/activitynet/videos/v_ID.mp4, activity_net.v1-3.min.json, cuhk_val_simp_share.json
    DATA/charades/videos/ID.mp4, charades_sta_train.txt, charades_sta_test.txt, Charades_v1_train.csv,
        Charades_v1_test.csv, glove.6B.300d.txt
    DATA/crosstask/videos/ID.mp4, annotations/TASK_ID.csv (or steps.csv: task,video,step,start,end),
        tasks_primary.txt

Annotation files may be gzipped.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bsp_hf.files import atomic_write_text
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.videos.walk import walk_videos

from .plan import Step
from .recipes import Backbone, Trainer
from .scoring import Truth
from .study import Dataset, Study, View
from .tables import Table

# What each folder must hold: a file by its names, the first of which is the official one, and what it is.
FILES: dict[str, dict[tuple[str, ...], str]] = {
    "kinetics400": {
        ("train",): "folder of trimmed videos, CLASS/clip.mp4",
        ("val",): "folder of held-out trimmed videos, CLASS/clip.mp4",
    },
    "activitynet": {
        ("videos",): "folder of v_ID.mp4",
        ("activity_net.v1-3.min.json",): "annotations of ActivityNet-1.3",
        ("cuhk_val_simp_share.json",): "video-level class scores, as G-TAD's code has them",
    },
    "charades": {
        ("videos",): "folder of ID.mp4",
        ("charades_sta_train.txt",): "moments and sentences to train on",
        ("charades_sta_test.txt",): "moments and sentences to test on",
        ("Charades_v1_train.csv",): "table of id and length",
        ("Charades_v1_test.csv",): "table of id and length",
        ("glove.6B.300d.txt",): "word vectors of GloVe with 300 dimensions",
    },
    "crosstask": {
        ("videos",): "folder of ID.mp4",
        ("annotations", "steps.csv"): "folder of TASK_ID.csv, or a table task,video,step,start,end",
        ("tasks_primary.txt",): "the 18 primary tasks and their steps",
    },
}
FOLDERS = {"gtad": "activitynet", "tan": "charades", "lgi": "charades", "actionness": "crosstask"}
PREFIXES = {"activitynet": "v_"}


def find(data: Path, folder: str, *names: str) -> Path:
    """Return the first of some files that is there, plain or gzipped; else the place of the first."""
    places = [data / folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    return next((place for place in places if place.exists()), places[0])


def needed_folders(tables: Iterable[Table]) -> list[str]:
    """Return the folders of data that tables need."""
    found = {FOLDERS[name] for table in tables for row in table.rows for name in table.localizers(row)}
    return [name for name in FILES if name == "kinetics400" or name in found]


def missing_inputs(data: Path, folders: Iterable[str]) -> list[str]:
    """Return everything that is not there, a line each: files, and data sets without a single video."""
    lines = []
    for folder in folders:
        missing = [
            f"{data / folder / names[0]}: {what}"
            for names, what in FILES[folder].items()
            if not find(data, folder, *names).exists()
        ]
        lines += missing
        if not missing:
            lines += _missing_videos(data, folder)
    return lines


def _missing_videos(data: Path, folder: str) -> list[str]:
    if folder == "kinetics400":
        empty = [part for part in ("train", "val") if not walk_videos(data / folder / part)]
        return [f"{data / folder / part}: there is no video in it" for part in empty]
    found = {path.stem for path in walk_videos(data / folder / "videos")}
    lines = []
    for path, tasks, subset in _annotation_files(data, folder):
        annotated = read_annotations(path, tasks=tasks).of_subset(subset)
        names = [PREFIXES.get(folder, "") + video.video_id for video in annotated.videos]
        if not found & set(names):
            lines.append(
                f"{data / folder / 'videos'}: none of the {len(names)} videos of {path.name}"
                f"{f' ({subset})' if subset else ''}, such as {names[0]}.mp4"
            )
    return lines


def _annotation_files(data: Path, folder: str) -> list[tuple[Path, Path | None, str | None]]:
    """Return the annotation files of a folder with the list of tasks and the subset to read."""
    if folder == "activitynet":
        path = find(data, folder, "activity_net.v1-3.min.json")
        return [(path, None, "training"), (path, None, "validation")]
    if folder == "charades":
        return [(find(data, folder, f"charades_sta_{part}.txt"), None, None) for part in ("train", "test")]
    steps = find(data, folder, "annotations", "steps.csv")
    return [(steps, find(data, folder, "tasks_primary.txt"), None)]


def make_study(settings, launch: tuple[str, ...]) -> Study:
    """Return the scale of the paper."""
    data, work = settings.data, settings.output_dir
    options = ("--video_dir", str(data / "kinetics400"), "--epochs", "50", "--batch_size", "16")
    options += ("--num_workers", "16", "--synthesis", settings.synthesis)
    if settings.max_steps is not None:
        options += ("--max_steps", str(settings.max_steps))
    backbones = {
        name: Backbone(title, ("--init_from", place), ("--backbone", place))
        for name, title, place in (
            ("r18", "ResNet-18", settings.resnet18),
            ("r50", "ResNet-50", settings.resnet50),
        )
    }
    aliases = {"boundary": f"boundary-{settings.synthesis}"}
    trainer = Trainer(work, backbones, options, launch, settings.pretraining_words, aliases)
    datasets = {name: make(data, work) for name, make in DATASETS.items()}
    view = View("paper", "As in the paper", {name: datasets[folder] for name, folder in FOLDERS.items()})
    return Study(
        name="paper",
        work=work,
        trainer=trainer,
        views=(view,),
        backbones={"main": "r50", "ablation": "r18", "shallow": "r18", "deep": "r50"},
        seeds=settings.seeds or 1,
        claim_seeds=settings.claim_seeds or settings.seeds or 1,
        width=None,
        has_extras=False,
        only_predicted=True,
        extraction=settings.extraction_words,
        localization={},
        localizer_extra=settings.localizer_words,
        num_draws=settings.num_draws,
    )


def _activitynet(data: Path, work: Path) -> Dataset:
    annotations = find(data, "activitynet", "activity_net.v1-3.min.json")
    words = ("--annotations", str(annotations), "--train_subset", "training", "--eval_subset", "validation")
    words += ("--prefix", PREFIXES["activitynet"])
    scores = str(find(data, "activitynet", "cuhk_val_simp_share.json"))
    return Dataset(
        "activitynet",
        "ActivityNet-1.3, validation",
        data / "activitynet" / "videos",
        Truth(annotations, "validation"),
        words,
        by_localizer={"gtad": ("--class_scores", scores)},
    )


def _charades(data: Path, work: Path) -> Dataset:
    words: tuple[str, ...] = ()
    places = {}
    for option, part in (("", "train"), ("eval_", "test")):
        places[part] = find(data, "charades", f"charades_sta_{part}.txt")
        durations = find(data, "charades", f"Charades_v1_{part}.csv")
        words += (f"--{option}annotations", str(places[part]), f"--{option}durations", str(durations))
    vectors = ("--word_vectors", str(find(data, "charades", "glove.6B.300d.txt")))
    return Dataset(
        "charades",
        "Charades-STA, test",
        data / "charades" / "videos",
        Truth(places["test"], durations=find(data, "charades", "Charades_v1_test.csv")),
        words,
        by_localizer={"tan": vectors, "lgi": vectors},
    )


def _crosstask(data: Path, work: Path) -> Dataset:
    steps = find(data, "crosstask", "annotations", "steps.csv")
    tasks = find(data, "crosstask", "tasks_primary.txt")
    videos, held_out = data / "crosstask" / "videos", work / "videos" / "crosstask-held-out.csv"

    def make() -> dict:
        return hold_out(steps, tasks, videos, held_out)

    words = ("--annotations", str(steps), "--tasks", str(tasks), "--validation_videos", str(held_out))
    return Dataset(
        "crosstask",
        "CrossTask, a quarter held out",
        videos,
        Truth(steps, durations=work / "videos" / "crosstask-durations.csv", tasks=tasks),
        (*words, "--train_subset", "training", "--eval_subset", "validation"),
        make=Step("make/crosstask", ("hold_out", str(steps), "--output", str(held_out)), make),
        has_durations=False,
    )


def hold_out(steps: Path, tasks: Path, videos: Path, path: Path) -> dict:
    """Write the list of held-out videos of CrossTask, a quarter of those that are there.

    The paper's split of 3:1 was not published; this one is the same for all seeds, so that rows can be
    compared video by video.
    """
    there = {video.stem for video in walk_videos(videos)}
    names = [v.video_id for v in read_annotations(steps, tasks=tasks).videos if v.video_id in there]
    chosen = np.random.default_rng(0).permutation(len(names))[: max(1, round(len(names) / 4))]
    lines = [f"primary,{names[place]}," for place in sorted(chosen)]
    atomic_write_text(path, "\n".join(lines) + "\n")
    return {"num_videos": {"training": len(names) - len(lines), "held_out": len(lines)}}


DATASETS = {"activitynet": _activitynet, "charades": _charades, "crosstask": _crosstask}
