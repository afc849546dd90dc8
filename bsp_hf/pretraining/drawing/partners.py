"""The second video of a class boundary: any, or one that looks like the first."""

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType

from ..sources import SourceCatalog
from ..synthesis_config import SynthesisConfig

_NUM_MATCHED = 3


def longest_partner(anchor: int, kinds: tuple[BoundaryType, ...], catalog: SourceCatalog) -> int:
    """Return the frames that some partner of every kind has, whatever the label of the clip will be."""
    lengths = []
    if BoundaryType.DIFF_CLASS in kinds:
        lengths.append(int(catalog.longest_outside_class[anchor]))
    if BoundaryType.SAME_CLASS in kinds:
        lengths.append(int(catalog.longest_in_class[anchor]))
    return min(lengths, default=int(catalog.lengths.max()))


def choose_partner(
    kind: BoundaryType,
    anchor: int,
    min_frames: int,
    catalog: SourceCatalog,
    config: SynthesisConfig,
    rng: np.random.Generator,
) -> int | None:
    """Draw the second video of a class boundary among those of at least `min_frames`; `None` without any.

    Similar partners are drawn for both kinds at like distances: first one of another class among the nearest,
    then, for same-class, a video of the class that is about as far. Or else the nearer kind would show.
    """
    outside = catalog.other_classes(anchor)
    outside = outside[catalog.lengths[outside] >= min_frames]
    inside = catalog.same_class(anchor)
    inside = inside[catalog.lengths[inside] >= min_frames]
    pool = outside if kind is BoundaryType.DIFF_CLASS else inside
    if not len(pool):
        return None
    if config.partner_choice == "random":
        return int(pool[rng.integers(len(pool))])
    near = outside if len(outside) else inside
    distances = catalog.distances(anchor, near)
    order = np.argsort(distances, kind="stable")[: config.num_alike]
    drawn = int(order[rng.integers(len(order))])
    if pool is near:
        return int(near[drawn])
    offsets = np.abs(catalog.distances(anchor, inside) - distances[drawn])
    matched = inside[np.argsort(offsets, kind="stable")[:_NUM_MATCHED]]
    return int(matched[rng.integers(len(matched))])
