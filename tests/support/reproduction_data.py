"""Small folders in the layouts that `examples/reproduce.py` reads, with videos of moving textures."""

import csv
import json
from pathlib import Path

import numpy as np
from transformers import ResNetConfig, ResNetModel

from bsp_hf.pretraining.rendering.files import write_h264_video

CLASSES = ("Punch", "YoYo", "Bend", "Run", "Skip", "Walk")
WIDTH, HEIGHT, FPS = 48, 40, 20


def write_texture(path: Path, num_frames: int, seed: int, cuts: tuple[int, ...] = (), most: int = 3) -> Path:
    """Write a video of a texture that moves by at most so many pixels a frame, another one after each cut."""
    frames = []
    for shot, (first, last) in enumerate(zip((0, *cuts), (*cuts, num_frames), strict=True)):
        rng = np.random.default_rng([seed, shot])
        texture = np.kron(rng.integers(0, 256, (10, 12, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        step = rng.integers(-most, most + 1, 2)
        frames += [np.roll(texture, tuple(number * step), axis=(0, 1)) for number in range(last - first)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_h264_video(path, frames, fps=FPS)
    return path


def save_image_network(folder: Path) -> Path:
    """Save a tiny ResNet with random weights, as an image network to start from."""
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    return folder


def write_words(path: Path, words: list[str], dim: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(words), dim))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, words=words, vectors=vectors.astype(np.float16))
    else:
        lines = [
            f"{word} {' '.join(f'{x:.3f}' for x in row)}" for word, row in zip(words, vectors, strict=True)
        ]
        path.write_text("\n".join(lines) + "\n")


def make_mini_data(folder: Path, num_test_groups: int = 4) -> Path:
    """Write `actions_mini`, `untrimmed_sim`, `untrimmed_real` and `embeddings`."""
    _make_clips(folder / "actions_mini", num_test_groups)
    _make_episodes(folder / "untrimmed_sim")
    _make_real_videos(folder / "untrimmed_real")
    words = ["a", "person", "bends", "down", "runs", "skips", "walks", "box", "close", "open", "door"]
    write_words(folder / "embeddings" / "words.npz", words, 6)
    return folder


def _make_clips(folder: Path, num_test_groups: int) -> None:
    rows = []
    for number, label in enumerate(CLASSES):
        for group in range(3 + num_test_groups):
            name = f"{label}/{group}.mp4"
            write_texture(folder / name, 24 + 2 * group, seed=100 * number + group)
            split = "train" if group < 3 else "test"
            rows.append((name, label, split, "made", FPS, 24 + 2 * group, f"{label}-{group}"))
    with (folder / "splits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "split", "source", "fps", "frames", "group"))
        writer.writerows(rows)


def _make_episodes(folder: Path) -> None:
    database = {}
    for number in range(7):
        task = ("BoxClose", "DoorOpen")[number % 2]
        name, middle = f"{task}_{number}", 26 + 2 * number
        write_texture(folder / f"{name}.mp4", 60, seed=number, cuts=(middle,))
        start_s = middle / FPS
        phases = [("reach", 0.0, start_s), ("manipulate", start_s, 60 / FPS)]
        database[name] = {
            "duration": 60 / FPS, "fps": float(FPS), "num_frames": 60, "source": "made", "task": task,
            "subset": "train" if number < 4 else "test", "unseen_task": False,
            "annotations": [{"label": task, "segment": [start_s, 60 / FPS - 0.2]}],
            "phases": [{"label": label, "segment": [start, end]} for label, start, end in phases],
            "boundaries": [start_s],
        }  # fmt: skip
    (folder / "annotations.json").write_text(json.dumps(database))


def _make_real_videos(folder: Path) -> None:
    database: dict = {}
    for number in range(2):
        write_texture(folder / f"quva_{number}.mp4", 60, seed=50 + number)
        shared = {"duration": 3.0, "fps": float(FPS), "num_frames": 60}
        database[f"quva_{number}"] = {**shared, "source": "quva", "boundaries": [0.8, 1.6, 2.4], "label": "x"}
        write_texture(folder / f"edited_{number}.mp4", 60, seed=60 + number, cuts=(18, 40 + number), most=1)
        changes = [[0.9, 0.9], [(40 + number) / FPS, (40 + number) / FPS]]
        database[f"edited_{number}"] = {**shared, "source": "edited", "shot_changes": changes}
    (folder / "annotations.json").write_text(json.dumps(database))


def make_paper_data(folder: Path) -> Path:
    """Write stand-ins for Kinetics-400, ActivityNet-1.3, Charades-STA and CrossTask in their layouts."""
    for part, groups in (("train", 4), ("val", 2)):
        for number, label in enumerate(CLASSES[:3]):
            for group in range(groups):
                seed = 1000 * (part == "val") + 100 * number + group
                write_texture(folder / "kinetics400" / part / label / f"{group}.mp4", 26, seed=seed)
    _make_activitynet(folder / "activitynet")
    _make_charades(folder / "charades")
    _make_crosstask(folder / "crosstask")
    return folder


def _make_activitynet(folder: Path) -> None:
    database = {}
    for number in range(7):
        write_texture(folder / "videos" / f"v_video{number}.mp4", 60, seed=number, cuts=(30,))
        database[f"video{number}"] = {
            "duration": 3.0, "subset": "training" if number < 4 else "validation",
            "annotations": [{"segment": [1.5, 2.8], "label": ("Jump", "Swim")[number % 2]}],
        }  # fmt: skip
    # Most of the real videos cannot be had.
    database["absent"] = {"duration": 9.0, "subset": "validation",
                          "annotations": [{"segment": [1, 2], "label": "Jump"}]}  # fmt: skip
    content = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    (folder / "activity_net.v1-3.min.json").write_text(json.dumps(content))
    scores = {"class": ["Jump", "Swim"], "results": {name: [0.6, 0.4] for name in database}}
    (folder / "cuhk_val_simp_share.json").write_text(json.dumps(scores))


def _make_charades(folder: Path) -> None:
    for part, numbers in (("train", range(4)), ("test", range(4, 7))):
        lines, lengths = [], ["id,length"]
        for number in numbers:
            write_texture(folder / "videos" / f"ID{number}.mp4", 60, seed=number, cuts=(30,))
            lines.append(f"ID{number} 1.5 2.9##a person opens a door.")
            lines.append(f"ID{number} 0.1 1.4##a person walks.")
            lengths.append(f"ID{number},3.0")
        (folder / f"charades_sta_{part}.txt").write_text("\n".join(lines) + "\n")
        (folder / f"Charades_v1_{part}.csv").write_text("\n".join(lengths) + "\n")
    write_words(folder / "glove.6B.300d.txt", ["a", "person", "opens", "door", "walks"], 300)


def _make_crosstask(folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    for number in range(8):
        write_texture(folder / "videos" / f"step{number}.mp4", 60, seed=number, cuts=(30,))
        (folder / "annotations" / f"23521_step{number}.csv").write_text("1,0.2,1.2\n2,1.5,2.7\n")
    (folder / "tasks_primary.txt").write_text("23521\nMake Tea\nhttp://x\n2\npour water,add tea\n\n")
