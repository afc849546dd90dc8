"""Make a small data set in the layout of LeRobot v3: moving squares that stop, turn and change their colour.

It takes seconds and needs neither lerobot nor a download. `bsp-hf segment` then proposes its subtasks.

    python examples/make_lerobot_dataset.py --output_dir squares
    bsp-hf segment squares --output squares-subtasks --max-segments 4
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas
from datasets import Dataset, Features, Value

from bsp_hf.files import atomic_folder
from bsp_hf.pretraining.rendering.files import write_h264_video
from bsp_hf.training.command_line import parse_settings

CAMERA, HEIGHT, WIDTH = "observation.images.top", 64, 96
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


@dataclass
class Settings:
    """What is made."""

    output_dir: Path = field(metadata={"help": "Folder to write."})
    episodes: int = field(default=3, metadata={"help": "Episodes, all in one file of each kind."})
    phase_frames: int = field(
        default=20, metadata={"help": "Frames of each of the four phases of an episode."}
    )
    fps: int = field(default=10, metadata={"help": "Frames a second."})


def render_episode(number: int, phase_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures, uint8, and the place of the square: to the right, at rest, in red and down, back."""
    velocities = np.repeat([[1, 0], [0, 0], [0, 1], [-1, -1]], phase_frames, axis=0)
    places = np.cumsum(velocities, 0) + np.array([8 + 4 * number, 8])
    pictures = np.full((len(places), HEIGHT, WIDTH, 3), 40, np.uint8)
    for frame, (x, y) in enumerate(places):
        color = (220, 60, 60) if frame // phase_frames == 2 else (80, 160, 220)
        pictures[frame, y : y + 14, x : x + 14] = color
    return pictures, places.astype(np.float32)


def main() -> None:
    settings = parse_settings(Settings)
    made = [render_episode(number, settings.phase_frames) for number in range(settings.episodes)]
    length = 4 * settings.phase_frames
    rows = {
        "observation.state": np.concatenate([places for _, places in made]).tolist(),
        "timestamp": np.tile(np.arange(length) / settings.fps, len(made)).astype(np.float32),
        "frame_index": np.tile(np.arange(length), len(made)),
        "episode_index": np.repeat(np.arange(len(made)), length),
        "index": np.arange(length * len(made)),
        "task_index": np.zeros(length * len(made), np.int64),
    }
    whole = {name: Value("int64") for name in ("frame_index", "episode_index", "index", "task_index")}
    described = {name: {"dtype": "int64", "shape": [1], "names": None} for name in whole}
    described["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    described["observation.state"] = {"dtype": "float32", "shape": [2], "names": ["x", "y"]}
    described[CAMERA] = {
        "dtype": "video",
        "shape": [HEIGHT, WIDTH, 3],
        "names": ["height", "width", "channels"],
    }
    info = {
        "codebase_version": "v3.0",
        "robot_type": "square",
        "total_episodes": len(made),
        "total_frames": length * len(made),
        "total_tasks": 1,
        "chunks_size": 1000,
        "fps": settings.fps,
        "splits": {"train": f"0:{len(made)}"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": described,
    }
    starts = np.arange(len(made)) * length
    place = {"chunk_index": 0, "file_index": 0}
    episodes = pandas.DataFrame(
        {
            "episode_index": np.arange(len(made)),
            "tasks": [["move the square"]] * len(made),
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": starts,
            "dataset_to_index": starts + length,
            f"videos/{CAMERA}/chunk_index": 0,
            f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": starts / settings.fps,
            f"videos/{CAMERA}/to_timestamp": (starts + length) / settings.fps,
        }
    )
    with atomic_folder(settings.output_dir) as folder:
        for name in (DATA, VIDEO, "meta/episodes/chunk-000/file-000.parquet"):
            (folder / name.format(video_key=CAMERA, **place)).parent.mkdir(parents=True)
        features = Features({"observation.state": [Value("float32")], "timestamp": Value("float32"), **whole})
        Dataset.from_dict(rows, features=features).to_parquet(folder / DATA.format(**place))
        video = folder / VIDEO.format(video_key=CAMERA, **place)
        write_h264_video(video, np.concatenate([pictures for pictures, _ in made]), fps=settings.fps)
        episodes.to_parquet(folder / "meta/episodes/chunk-000/file-000.parquet", index=False)
        tasks = pandas.DataFrame({"task_index": [0]}, index=pandas.Index(["move the square"], name="task"))
        tasks.to_parquet(folder / "meta/tasks.parquet")
        (folder / "meta/info.json").write_text(json.dumps(info, indent=4), encoding="utf-8")
    print(f"{settings.output_dir}: {len(made)} episodes, {length * len(made)} frames")


if __name__ == "__main__":
    main()
