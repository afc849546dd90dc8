"""Base of the layouts: how a code base names the weights of a kind of network."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KeyLayout(ABC):
    """The names one code base gives to the weights of a kind of network and its classifier."""

    # For messages: what the keys should be of, and what has keys of the same names and is something else.
    network: ClassVar[str]
    relatives: ClassVar[str]
    backbone_key: ClassVar[re.Pattern[str]]  # of this package

    name: str  # what users call the layout
    # of the linear classifier; the first one stands behind a dropout, a second one does not
    classifiers: tuple[str, ...]
    records_shift: bool = False  # whether the temporal shift shows in the keys
    # as fields of `BSPFeatureExtractor`; ImageNet's where left out
    pixel_statistics: Mapping[str, list[float]] = field(default_factory=dict)
    preprocessing_note: str = ""  # how the code base's own preprocessing differs from this one

    @property
    @abstractmethod
    def stem_key(self) -> str:
        """Key of the first convolution's weight, by which layouts are recognized."""

    @abstractmethod
    def find_shift_place(self, keys: Collection[str]) -> str:
        """Return where a network shifts, by its keys; `"none"` for a layout that does not record it."""

    @abstractmethod
    def infer_backbone(self, state_dict: Mapping[str, Tensor], shift_place: str) -> Any:
        """Return the backbone's own config, inferred from its tensors under bare keys."""

    def name_weight(
        self, key: str, shift_place: str, shifted: Sequence[Sequence[bool]], classifier: str
    ) -> str:
        """Return the layout's name of a weight of a [`BSPModel`] or of the classifier behind it.

        `shifted` says which blocks of which stage shift.
        """
        head, _, leaf = key.rpartition(".")
        if head == "classifier":
            return f"{classifier}.{leaf}"
        match = self.backbone_key.fullmatch(key)
        if match is None:
            raise ValueError(f"{key} is not a weight of {self.network}; others have no names in {self.name}.")
        return self.name_backbone_weight(match, shift_place, shifted)

    @abstractmethod
    def name_backbone_weight(
        self, key: re.Match[str], shift_place: str, shifted: Sequence[Sequence[bool]]
    ) -> str:
        """Return the layout's name of a weight of the backbone, whose key matches `backbone_key`."""


def find_rgb_stem(state_dict: Mapping[str, Tensor], key: str) -> Tensor:
    """Return the first convolution's weight, `(channels, 3, height, width)`."""
    stem = state_dict[key]
    if stem.ndim != 4 or stem.shape[1] != 3:
        raise ValueError(
            f"{key} has the shape {tuple(stem.shape)}, expected (channels, 3, height, width): "
            "only 2-D networks on RGB frames can be converted, not 3-D ones or those on optical flow."
        )
    return stem
