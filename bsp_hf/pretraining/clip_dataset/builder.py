"""The `datasets` builder behind `load_boundary_clips`, alone in its module.

For streaming, `datasets` replaces `Path`, `open` and parts of `os` in a builder's module by its own versions,
for good.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import datasets
import numpy as np

from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.training.sampler import EpochSampler

# More shards than this help no machine, fewer rows than one in a shard are none.
_MOST_SHARDS = 128


@dataclass
class BoundaryClipsConfig(datasets.BuilderConfig):
    """What [`BoundaryClipsBuilder`] generates; [`load_boundary_clips`] fills it."""

    clips: PretextClips | None = None
    names: tuple[str, ...] = field(default=())  # relative ones of the sources
    epoch: int = 0  # of the first row
    num_clips: int = 0  # rows; more than an epoch has go on in the next epoch
    split: str = "train"


class BoundaryClipsBuilder(datasets.GeneratorBasedBuilder):
    """Generates clips in the order in which training would see them."""

    # Raise it whenever a row of the same settings would look different: the cache does not see code.
    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = BoundaryClipsConfig

    @property
    def _clips(self) -> PretextClips:
        if self.config.clips is None:
            raise ValueError("this builder has no clips; use load_boundary_clips, which gives it some.")
        return self.config.clips

    def _info(self) -> datasets.DatasetInfo:
        pretext = self._clips.pretext
        num_frames = pretext.synthesis.num_frames
        crop = self._clips.extractor.crop_size
        if pretext.head == "classification":
            label: Any = datasets.ClassLabel(names=list(pretext.label_names))
        else:
            label = datasets.List(datasets.Value("float32"), length=num_frames)
        return datasets.DatasetInfo(
            features=datasets.Features(
                {
                    "frames": datasets.Array4D((num_frames, crop["height"], crop["width"], 3), "uint8"),
                    "label": label,
                    "boundary_frame": datasets.Value("int32"),
                    "boundary_s": datasets.Value("float32"),
                    "speed": datasets.Value("float32"),
                    "sources": datasets.List(datasets.Value("string")),
                    "frame_indices": datasets.List(datasets.List(datasets.Value("int64"))),
                    "epoch": datasets.Value("int64"),
                    "index": datasets.Value("int64"),
                }
            )
        )

    def _split_generators(
        self, dl_manager: Any
    ) -> list[datasets.SplitGenerator]:  # Any: nothing is downloaded
        num_clips = self.config.num_clips
        edges = np.linspace(0, num_clips, min(num_clips, _MOST_SHARDS) + 1).astype(int).tolist()
        # Only the list of shards may be a list: datasets divides every list among its processes.
        shards = list(pairwise(edges))
        return [datasets.SplitGenerator(name=self.config.split, gen_kwargs={"shards": shards})]

    def _generate_examples(self, shards: list[tuple[int, int]]) -> Iterator[tuple[int, dict[str, Any]]]:
        clips = self._clips
        sampler = EpochSampler(len(clips), clips.seed)
        order: list[int] = []
        for row in (row for start, stop in shards for row in range(start, stop)):
            epochs_done, position = divmod(row, len(clips))
            epoch = self.config.epoch + epochs_done
            if not order or epoch != sampler.epoch:
                sampler.set_epoch(epoch)
                order = list(sampler)
            yield row, self._example(order[position], epoch)

    def _example(self, index: int, epoch: int) -> dict[str, Any]:  # Any: one value of every column
        clips = self._clips
        clip = clips.read(index, epoch)
        plan = clip.draw.plan
        boundary_s = None
        if plan.boundary_frame:
            fps = clips.store.fps(clips.catalog.sources[plan.sources[0]])
            boundary_s = plan.boundary_frame * (plan.spacing or clips.pretext.synthesis.frame_stride) / fps
        # Streamed rows are not rounded to the columns' 32 bits, stored ones are; so round both.
        return {
            "frames": clip.frames,
            "label": clip.target,
            "boundary_frame": plan.boundary_frame,
            "boundary_s": boundary_s and float(np.float32(boundary_s)),
            "speed": float(np.float32(plan.speed)),
            "sources": [self.config.names[source] for source in plan.sources],
            "frame_indices": [frames.tolist() for frames in plan.frames],
            "epoch": epoch,
            "index": index,
        }
