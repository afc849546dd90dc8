"""Action classification whose classes come equally often, for data of which some classes have few videos.

    accelerate launch examples/pretrain.py --task examples/balanced_actions.py:BalancedActions \
        --video_dir clips/ --output_dir actions

Kinetics has about as many videos of every class. Where most videos are of a few classes, the others add
little to the loss, and the encoder stops to tell them apart: `docs/evidence.md` has the figures.
"""

import numpy as np

from bsp_hf.pretraining.pretexts import ActionClassification
from bsp_hf.pretraining.sources import SourceCatalog


class BalancedActions(ActionClassification):
    """Name the action of a clip; an epoch shows every class as often as the largest one."""

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources, those of smaller classes repeated."""
        found = super().usable(catalog)
        labels = catalog.label_ids[found]
        sizes = np.bincount(labels)
        repeated = [np.resize(found[labels == label], sizes.max()) for label in np.flatnonzero(sizes)]
        return np.concatenate(repeated) if repeated else found
