"""The tables in miniature: small videos, a small pre-trained image network, hours on two cores.

`DATA` holds `actions_mini` (trimmed clips, `splits.csv` with file, class, split, group), `untrimmed_sim`
(continuous episodes with phases) and, for the tables of boundaries, `untrimmed_real`; `embeddings/*.npz` has
the word vectors.
"""

import json
import re
from pathlib import Path

from bsp_hf.files import atomic_write_text
from bsp_hf.pretraining.sources import scan_video_folder, split_sources

from .concatenation import make_concatenations
from .plan import Step, read_json
from .recipes import Backbone, Trainer
from .scoring import Truth
from .study import Dataset, Study, View

KINDS = ("joined", "episodes")
SIZE = 64
# Of EfficientNet-Lite0: what lies before sees single frames, as ImageNet had them.
START = ("--shift_blocks", *map(str, range(8, 16)))
TRAINING = (
    *("--short_side", str(SIZE), "--crop_size", str(SIZE), "--batch_size", "16", "--epochs", "1000"),
    *("--optimizer", "adamw", "--learning_rate", "2e-3", "--weight_decay", "0.02", "--dropout", "0.2"),
    *("--schedule", "cosine", "--warmup_share", "0.05", "--max_grad_norm", "5"),
    *("--eval_every", "100000", "--save_every", "100"),
)
# Choice: ten of the fifteen classes have six clips each of 555; drawn as they come, the action encoder stops
# to tell them apart, also at this rate, a quarter of the others'; see evidence.md.
BY_RECIPE = {
    "vanilla": ("--task", "examples/balanced_actions.py:BalancedActions", "--backbone_lr_scale", "0.05")
}
EXTRACTION = ("--stride_frames", "4", "--padding", "drop")
CONFIGS = {
    "gtad": {"num_steps": 64, "max_duration": 32, "hidden_dim": 64, "aligned_dim": 128, "map_dim": 64},
    "tan": {"num_rows": 64, "num_clips": 16, "hidden_dim": 48, "text_hidden_dim": 48, "num_text_layers": 1,
            "map_kernel_sizes": [3] * 3, "map_paddings": [3, 0, 0]},
    "lgi": {"num_rows": 64, "hidden_dim": 64, "attention_dim": 32, "local_kernel_size": 5},
    "actionness": {},
}  # fmt: skip
LOCALIZER_TRAINING = {
    "gtad": ("--epochs", "20", "--decay_epochs", "12", "--batch_size", "8", "--learning_rate", "2e-3"),
    "tan": ("--epochs", "20", "--batch_size", "16", "--learning_rate", "1e-3"),
    "lgi": ("--epochs", "40", "--batch_size", "32", "--learning_rate", "1e-3"),
    "actionness": ("--epochs", "60", "--batch_size", "8", "--learning_rate", "0.003"),
}


def localization() -> dict[str, tuple[str, ...]]:
    """Return the options of each localizer; the last epoch is scored, so that the test videos choose none."""
    return {
        name: ("--config", json.dumps(CONFIGS[name]), *words, "--eval_every", words[1], "--save_every", "500")
        for name, words in LOCALIZER_TRAINING.items()
    }


def missing_inputs(settings) -> list[str]:
    """Return what is not there of what is needed, a line each."""
    data, lines = settings.data, []
    wanted = {
        "actions_mini/splits.csv": "trimmed clips, CLASS/clip.mp4, and their table file,class,split,group"
    }
    if "episodes" in settings.kinds:
        wanted["untrimmed_sim/annotations.json"] = "continuous episodes with phases"
    if {"probes", "boundaries"} & set(settings.table):
        wanted["untrimmed_real/annotations.json"] = "videos of repeated actions and edited ones"
    lines += [f"{data / name}: {what}" for name, what in wanted.items() if not (data / name).is_file()]
    if {"2", "4"} & set(settings.table) and not list((data / "embeddings").glob("*.npz")):
        lines.append(f"{data / 'embeddings'}/*.npz: word vectors (arrays words and vectors)")
    if settings.init_from is None:
        lines.append("--init_from: folder of a small image network, such as EfficientNet-Lite0")
    return lines


def make_study(settings, launch: tuple[str, ...]) -> Study:
    """Return the miniature scale."""
    data, work = settings.data, settings.output_dir
    clips = data / "actions_mini"
    options = ("--video_dir", str(clips), "--metadata", str(clips / "splits.csv"))
    options += (
        "--frame_cache",
        str(work / "frames"),
        *TRAINING,
        "--max_steps",
        str(settings.max_steps or 400),
    )
    options += ("--synthesis", settings.synthesis)
    init = str(settings.init_from)
    kept = ("--frozen_blocks", "5", "--backbone_lr_scale", "0.2")
    narrow = ("--width_multiplier", "0.5")
    backbones = {
        "start": Backbone(
            "the network of --init_from", ("--init_from", init, *START, *kept), ("--backbone", init, *START)
        ),
        "r18": Backbone("ResNet-18 of half the width, from scratch", ("--backbone", "resnet18", *narrow), ()),
        "r50": Backbone("ResNet-50 of half the width, from scratch", ("--backbone", "resnet50", *narrow), ()),
    }
    aliases = {"boundary": f"boundary-{settings.synthesis}"}
    trainer = Trainer(work, backbones, options, launch, settings.pretraining_words, aliases, BY_RECIPE)
    joined, episodes = joined_videos(data, work, settings.num_videos), episode_videos(data, work)
    return Study(
        name="mini",
        work=work,
        trainer=trainer,
        views=tuple(
            View(dataset.name, dataset.title, dict.fromkeys(LOCALIZER_TRAINING, dataset))
            for dataset in (joined, episodes)
            if dataset.name in settings.kinds
        ),
        backbones={"main": "start", "ablation": "start", "shallow": "r18", "deep": "r50"},
        seeds=settings.seeds or 3,
        claim_seeds=settings.claim_seeds or max(5, settings.seeds or 0),
        width=settings.width,
        has_extras=True,
        only_predicted=False,
        extraction=(*EXTRACTION, *settings.extraction_words),
        localization=localization(),
        localizer_extra=settings.localizer_words,
        num_draws=settings.num_draws,
    )


def joined_videos(data: Path, work: Path, num_videos: int) -> Dataset:
    """Return the data set of concatenated held-out clips."""
    folder, clips = work / "videos" / "joined", data / "actions_mini"

    def make() -> dict:
        _, held_out = split_sources(scan_video_folder(clips, clips / "splits.csv"))
        return make_concatenations(held_out, folder, num_videos)

    words = ("make_concatenations", str(clips), "--num_videos", str(num_videos), "--output", str(folder))
    return _dataset(
        "joined",
        "Concatenations of held-out real clips (they resemble the pretext)",
        folder / "videos",
        folder / "annotations.json",
        Step("make/joined", words, make),
        data,
    )


def episode_videos(data: Path, work: Path) -> Dataset:
    """Return the data set of continuous episodes, whose one segment is the task."""
    path, folder = work / "videos" / "episodes.json", data / "untrimmed_sim"

    def make() -> dict:
        database, boundaries = {}, {}
        for video_id, entry in read_json(folder / "annotations.json").items():
            windows = [
                {"start": segment["segment"][0], "end": segment["segment"][1], "label": segment["label"]}
                for segment in entry["annotations"]
            ]
            sentence = " ".join(re.findall(r"[A-Z][a-z]*", entry["task"])).lower()
            queries = [{"start": w["start"], "end": w["end"], "sentence": sentence} for w in windows]
            shared = {"duration": entry["duration"], "subset": entry["subset"]}
            database[video_id] = {**shared, "segments": windows, "queries": queries}
            boundaries[video_id] = {**shared, "boundaries": [entry["boundaries"]]}
        atomic_write_text(path, json.dumps(database, indent=1) + "\n")
        atomic_write_text(path.with_name("episodes-boundaries.json"), json.dumps(boundaries, indent=1) + "\n")
        subsets = [entry["subset"] for entry in database.values()]
        return {"num_videos": {name: subsets.count(name) for name in sorted(set(subsets))}}

    words = ("annotate_episodes", str(folder), "--output", str(path))
    title = "Continuous episodes of a robot, without a cut"
    return _dataset("episodes", title, folder, path, Step("make/episodes", words, make), data)


def _dataset(name: str, title: str, videos: Path, annotations: Path, make: Step, data: Path) -> Dataset:
    vectors = sorted((data / "embeddings").glob("*.npz"))
    words = ("--annotations", str(annotations), "--train_subset", "train", "--eval_subset", "test")
    grounding = ("--word_vectors", str(vectors[0])) if vectors else ()
    return Dataset(
        name,
        title,
        videos,
        Truth(annotations, "test"),
        words,
        make,
        {"tan": grounding, "lgi": grounding},
    )


def real_videos_dataset(data: Path) -> Dataset:
    """Return the real videos with boundaries, on which nothing is trained."""
    folder = data / "untrimmed_real"
    return Dataset("real", "Real videos", folder, Truth(folder / "annotations.json"), ())
