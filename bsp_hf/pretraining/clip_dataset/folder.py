"""Writes synthesized clips as a folder that plain `datasets.load_dataset` reads, here or on the Hub."""

import math
from pathlib import Path

import datasets

_BYTES_A_SHARD = 500 * 2**20

_CARD = Path(__file__).with_name("card.md")


def write_clip_folder(clips: datasets.Dataset, folder: str | Path) -> None:
    """Write what [`load_boundary_clips`] returned into an empty folder: Parquet files and a card."""
    folder = Path(folder)
    (folder / "data").mkdir(parents=True)
    num_frames, height, width, _ = clips.features["frames"].shape
    # By their raw size: how well pictures compress is not known before.
    num_shards = max(1, math.ceil(len(clips) * num_frames * height * width * 3 / _BYTES_A_SHARD))
    for number in range(num_shards):
        shard = clips.shard(num_shards, number, contiguous=True)
        shard.to_parquet(folder / "data" / f"train-{number:05d}-of-{num_shards:05d}.parquet")
    text = _CARD.read_text(encoding="utf-8")
    card = text.format(num_clips=len(clips), num_frames=num_frames, height=height, width=width)
    (folder / "README.md").write_text(card, encoding="utf-8")
