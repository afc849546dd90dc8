"""Writes synthesized clips as a folder that plain `datasets.load_dataset` reads, here or on the Hub."""

import math
from pathlib import Path

import datasets

_BYTES_A_SHARD = 500 * 2**20

_CARD = """---
task_categories:
- video-classification
tags:
- boundary-sensitive-pre-training
- synthetic
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

# Synthesized boundary clips

{num_clips} clips of {num_frames} frames ({height} x {width} pixels) with boundaries synthesized out of
trimmed videos, made by `bsp-hf synth` (Boundary-sensitive Pre-training for Temporal Localization in Videos,
Sec. 3.2).

```python
from datasets import load_dataset

clips = load_dataset("PATH_OR_ORG/NAME", split="train")
clips[0]["label"], clips[0]["boundary_frame"]
```

| column | what it holds |
| --- | --- |
| `frames` | uint8 (num_frames, height, width, 3), RGB |
| `label` | what the pretext asks for: a class, or a value for every frame |
| `boundary_frame` | first frame behind the boundary; 0 where there is none |
| `boundary_s` | the same in seconds from the start of the clip |
| `speed` | sampling rate behind the boundary |
| `sources`, `frame_indices` | the videos, and the frames taken from each |
| `epoch`, `index` | fix the clip together with the seed |

The rights to the pictures are those of the videos they were made of.
"""


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
    card = _CARD.format(num_clips=len(clips), num_frames=num_frames, height=height, width=width)
    (folder / "README.md").write_text(card, encoding="utf-8")
