"""A pretext of your own: tell in which order the parts of a clip were put (after Misra et al. 2016).

    accelerate launch examples/pretrain.py --task examples/clip_order.py:ClipOrder --output_dir clip-order

Sampling, decoding, augmentation, workers, resuming, evaluation and publishing come with the package; a task
says what to sample and what label it has.
"""

from itertools import permutations

import numpy as np

from bsp_hf.pretraining.pretexts import Pretext
from bsp_hf.pretraining.sources import SourceCatalog
from bsp_hf.pretraining.synthesis import ClipPlan


class ClipOrder(Pretext):
    """Cut a clip into three parts, put them in one of six orders, and ask for the order."""

    num_parts = 3
    orders = tuple(permutations(range(num_parts)))
    label_names = tuple("".join(str(part + 1) for part in order) for order in orders)
    num_cases = len(orders)

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources that are as long as a clip."""
        steps = (self.synthesis.num_frames - 1) * self.synthesis.frame_stride
        return np.flatnonzero(catalog.lengths > steps)

    def plan(self, case: int, anchor: int, catalog: SourceCatalog, rng: np.random.Generator) -> ClipPlan:
        """Draw a window, alike for every order, and put its parts in the order of the case."""
        frames = self.synthesis.frame_stride * np.arange(self.synthesis.num_frames)
        frames += rng.integers(catalog.lengths[anchor] - frames[-1])
        parts = np.array_split(frames, self.num_parts)
        return ClipPlan((anchor,), (np.concatenate([parts[part] for part in self.orders[case]]),))

    def target(self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog) -> int:
        """Return the case, which is the label."""
        return case
