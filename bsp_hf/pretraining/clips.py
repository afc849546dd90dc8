"""A map-style data set of pretext clips: `(seed, epoch, index)` fixes a clip completely."""

from collections.abc import Sequence
from multiprocessing import Value
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor

from .augmentation import SpatialAugmentation
from .frame_store import FrameStore
from .pretexts import Pretext
from .sources import SourceCatalog, TrimmedVideo
from .synthesis import ClipPlan, render_clip


class PretextClips(Dataset):
    """Synthesized clips of a pretext task.

    Item `index` starts from source `index % num_sources` in case `cases[index // num_sources]`: an epoch
    shows every source equally often in every case, so no label prefers a source.

    Args:
        sources (`list[TrimmedVideo]`): Counted videos; those too short for the task are left out.
        pretext (`Pretext`): The task.
        extractor (`BSPFeatureExtractor`): Gives the size of the clips, and their preprocessing where
            `augmentation` is `None`.
        augmentation (`SpatialAugmentation`, *optional*): Random crop and flip for training.
        store (`FrameStore`, *optional*): Where frames come from; by default they are decoded every time.
        case_repeats (`Sequence[int]`, *optional*):
            How often an epoch shows every source in each case; once by default. Repeating the hard cases lets a
            short training spend itself on them.
        seed (`int`, *optional*, defaults to 0): Seed of every draw.

    Raises:
        ValueError: If no source is long enough, or the task's classes have too few of them.
    """

    def __init__(
        self,
        sources: list[TrimmedVideo],
        pretext: Pretext,
        extractor: BSPFeatureExtractor,
        augmentation: SpatialAugmentation | None = None,
        store: FrameStore | None = None,
        case_repeats: Sequence[int] | None = None,
        seed: int = 0,
    ):
        repeats = [1] * pretext.num_cases if case_repeats is None else list(case_repeats)
        if len(repeats) != pretext.num_cases or min(repeats) < 0 or not sum(repeats):
            raise ValueError(f"case_repeats={repeats} must give {pretext.num_cases} counts, not all of them 0.")
        usable = pretext.usable(SourceCatalog(sources))
        if not len(usable):
            raise ValueError(
                f"none of the {len(sources)} sources can be used: clips need {pretext.synthesis.min_source_frames} "
                "frames, same-class boundaries two sources of a class and diff-class boundaries two classes. "
                "Lay the videos out as CLASS/clip.mp4, or choose a task without classes, such as diff-speed."
            )
        self.catalog = SourceCatalog([sources[index] for index in usable])
        self.left_out = len(sources) - len(usable)
        self.pretext = pretext
        self.extractor = extractor
        self.augmentation = augmentation
        self.store = store or FrameStore()
        self.seed = seed
        self.cases = [case for case, count in enumerate(repeats) for _ in range(count)]
        # Persistent workers keep their copy of the data set; the epoch must reach them.
        self._epoch = Value("q", 0, lock=False)

    def __len__(self) -> int:
        return len(self.catalog) * len(self.cases)

    def set_epoch(self, epoch: int) -> None:
        """Let every index stand for a new clip."""
        self._epoch.value = epoch

    def plan(self, index: int) -> tuple[int, int, ClipPlan, np.random.Generator]:
        """Draw the clip of an index without decoding anything.

        Args:
            index (`int`): In `[0, len(self))`.

        Returns:
            `tuple`: The case, the first source, the plan, and the generator for what is drawn after it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside a data set of {len(self)} clips.")
        round_, anchor = divmod(index, len(self.catalog))
        case = self.cases[round_]
        rng = np.random.default_rng([self.seed, self._epoch.value, index])
        return case, anchor, self.pretext.plan(case, anchor, self.catalog, rng), rng

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a clip.

        Returns:
            `dict`: `pixels`, uint8 `(num_frames, 3, height, width)`; `labels`, an int or a float32 tensor
            `(num_frames,)`.
        """
        case, anchor, plan, rng = self.plan(index)
        parts = []
        for source, frames in zip(plan.sources, plan.frames, strict=True):
            images = self.store.read(self.catalog.sources[source], frames)
            pixels = (
                self.extractor.resize_and_crop(images) if self.augmentation is None else self.augmentation(images, rng)
            )
            parts.append(pixels.permute(0, 2, 3, 1).numpy())
        clip = torch.from_numpy(np.ascontiguousarray(render_clip(plan, parts)))
        target = self.pretext.target(case, anchor, plan, self.catalog)
        labels = torch.from_numpy(target) if isinstance(target, np.ndarray) else target
        return {"pixels": clip.permute(0, 3, 1, 2), "labels": labels}


__all__ = ["PretextClips"]
