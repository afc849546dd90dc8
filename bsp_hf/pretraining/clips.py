"""A map-style data set of pretext clips: `(seed, epoch, index)` fixes a clip completely."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.video_source import VideoDecodeError

from .augmentation import SpatialAugmentation
from .drawing.appearance import measure_appearance
from .frame_store import FrameStore
from .pretexts import Pretext
from .sources import SourceCatalog, TrimmedVideo
from .synthesis import ClipPlan, render_clip

logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 4


class ClipDraw(NamedTuple):
    """What was drawn for one clip before a frame is decoded: its case, first source and plan.

    `rng` is for whatever is drawn after the plan.
    """

    case: int
    anchor: int
    plan: ClipPlan
    rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class PretextClip:
    """One synthesized clip."""

    frames: np.ndarray  # uint8 `(num_frames, height, width, 3)`, RGB, C-contiguous
    target: int | np.ndarray  # a class, or float32 `(num_frames,)`
    draw: ClipDraw
    num_failed: int = 0  # earlier draws, whose videos could not be decoded


class PretextClips(Dataset):
    """Synthesized clips of a pretext task.

    Item `index` starts from source `index % num_sources` in case `cases[index // num_sources]`: an epoch
    shows every source equally often in every case, so no label prefers a source. A video that counting its
    frames found readable may still break where a clip needs it; then another source takes its place, which
    `(seed, epoch, index)` fixes as well.

    Args:
        sources (`list[TrimmedVideo]`): Counted videos; those too short for the task are left out.
        pretext (`Pretext`): The task.
        extractor (`BSPFeatureExtractor`): Gives the size of the clips, and their preprocessing where
            `augmentation` is `None`.
        augmentation (`SpatialAugmentation`, *optional*): Random crop and flip for training.
        store (`FrameStore`, *optional*): Where frames come from; by default they are decoded every time.
        case_repeats (`Sequence[int]`, *optional*): How often an epoch shows every source in each case; once
            by default. Repeating the hard cases lets a short training spend itself on them.
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
            raise ValueError(
                f"case_repeats={repeats} must give {pretext.num_cases} counts, not all of them 0."
            )
        usable = pretext.usable(SourceCatalog(sources))
        if not len(usable):
            raise ValueError(
                f"none of the {len(sources)} sources can be used: clips need "
                f"{pretext.synthesis.min_source_frames} frames, same-class boundaries two sources of a class "
                "and diff-class boundaries two classes, among training and among held-out sources alike. Lay "
                "the videos out as CLASS/clip.mp4, hold out more, or choose a task without classes, such as "
                "diff-speed."
            )
        self.store = store or FrameStore()
        chosen = [sources[index] for index in usable]
        is_alike = pretext.synthesis.partner_choice == "alike" and pretext.partner_kinds
        self.catalog = SourceCatalog(chosen, measure_appearance(chosen, self.store) if is_alike else None)
        self.left_out = len(sources) - len(np.unique(usable))
        self.pretext = pretext
        self.extractor = extractor
        self.augmentation = augmentation
        self.seed = seed
        self.cases = [case for case, count in enumerate(repeats) for _ in range(count)]
        # Persistent workers keep their copy of the data set; the epoch must reach them.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.catalog) * len(self.cases)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: every index stands for a new clip."""
        self._epoch.fill_(epoch)

    def plan(self, index: int, attempt: int = 0, epoch: int | None = None) -> ClipDraw:
        """Draw the clip of an index in `[0, len(self))` without decoding anything.

        `attempt` is how many earlier draws of it could not be decoded; from 1 on the first source is drawn,
        too. `epoch` stands instead of the one that [`~PretextClips.set_epoch`] chose.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside a data set of {len(self)} clips.")
        round_, anchor = divmod(index, len(self.catalog))
        case = self.cases[round_]
        key = [self.seed, int(self._epoch) if epoch is None else epoch, index]
        rng = np.random.default_rng([*key, attempt] if attempt else key)
        if attempt:
            anchor = int(rng.integers(len(self.catalog)))
        pretext = self._ease_pretext(key[1], rng) if self.pretext.synthesis.ramp_epochs else self.pretext
        return ClipDraw(case, anchor, pretext.plan(case, anchor, self.catalog, rng), rng)

    def _ease_pretext(self, epoch: int, rng: np.random.Generator) -> Pretext:
        """Return the task as easy as a clip of this epoch has it."""
        synthesis = self.pretext.synthesis
        # A place in the epoch is drawn: which clips come first is the sampler's affair.
        difficulty = min(1.0, (epoch + rng.random()) / synthesis.ramp_epochs)
        eased = copy.copy(self.pretext)
        eased.synthesis = synthesis.ease(difficulty, rng)
        return eased

    def read(self, index: int, epoch: int | None = None) -> PretextClip:
        """Draw and decode the clip of an index in `[0, len(self))`; `epoch` as of [`~PretextClips.plan`].

        Where several draws in a row hit videos that do not decode, the last is a [`VideoDecodeError`].
        """
        for attempt in range(_MOST_ATTEMPTS - 1):
            draw = self.plan(index, attempt, epoch)
            try:
                return replace(self.render(draw), num_failed=attempt)
            # The last two: files that have disappeared, or been cut, since their frames were counted.
            except (VideoDecodeError, FileNotFoundError, IndexError) as error:
                logger.warning("another source replaces one that cannot be read: %s", error)
        last = self.render(self.plan(index, _MOST_ATTEMPTS - 1, epoch))
        return replace(last, num_failed=_MOST_ATTEMPTS - 1)

    def render(self, draw: ClipDraw) -> PretextClip:
        """Decode and join the frames of what [`~PretextClips.plan`] returned; its generator goes on."""
        parts = []
        for images in self._read_shots(draw.plan):
            if self.augmentation is None:
                pixels = self.extractor.resize_and_crop(images)
            else:
                pixels = self.augmentation(images, draw.rng)
            parts.append(pixels.permute(0, 2, 3, 1).numpy())
        frames = np.ascontiguousarray(render_clip(draw.plan, parts))
        return PretextClip(frames, self.pretext.target(draw.case, draw.anchor, draw.plan, self.catalog), draw)

    def _read_shots(self, plan: ClipPlan) -> list[np.ndarray]:
        """Decode the frames of every shot; of shots of one video, together."""
        images: dict[int, np.ndarray] = {}
        places = []
        wanted: dict[int, list[int]] = {}
        for number, frames in zip(plan.sources, plan.frames, strict=True):
            first = len(wanted.setdefault(number, []))
            wanted[number] += frames.tolist()
            places.append((number, slice(first, first + len(frames))))
        for number, all_frames in wanted.items():
            images[number] = self.store.read(self.catalog.sources[number], np.array(all_frames))
        return [images[number][place] for number, place in places]

    def __getitem__(self, index: int) -> dict[str, Any]:  # Any: a tensor or an int
        """Return `pixels`, uint8 `(num_frames, 3, height, width)`, `labels`, `index` and `replaced`.

        Labels are an int or float32 `(num_frames,)`; `replaced` says whether another source took the place of
        one that cannot be decoded.
        """
        clip = self.read(index)
        labels = torch.from_numpy(clip.target) if isinstance(clip.target, np.ndarray) else clip.target
        pixels = torch.from_numpy(clip.frames).permute(0, 3, 1, 2)
        return {"pixels": pixels, "labels": labels, "index": index, "replaced": clip.num_failed > 0}
