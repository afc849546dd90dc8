"""Base of the layouts: how a code base names the weights of a kind of network."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KeyLayout(ABC):
    """The names one code base gives to the weights of a kind of network and its classifier.

    Args:
        name (`str`): What users call the layout.
        classifiers (`tuple[str, ...]`): Names of the linear classifier; the first one stands behind a
            dropout, the second one, where there is one, does not.
        records_shift (`bool`, *optional*, defaults to `False`): Whether the temporal shift shows in the keys.
        pixel_statistics (`Mapping`, *optional*): Mean and deviation of the pixels, as fields of
            [`BSPFeatureExtractor`]; ImageNet's where it is left out.
        preprocessing_note (`str`, *optional*): How the code base's own preprocessing differs from this one.
    """

    # For messages: what the keys should be of, and what has keys of the same names and is something else.
    network: ClassVar[str]
    relatives: ClassVar[str]

    name: str
    classifiers: tuple[str, ...]
    records_shift: bool = False
    pixel_statistics: Mapping[str, list[float]] = field(default_factory=dict)
    preprocessing_note: str = ""

    @property
    @abstractmethod
    def stem_key(self) -> str:
        """Key of the first convolution's weight, by which layouts are recognized."""

    @abstractmethod
    def find_shift_place(self, keys: Collection[str]) -> str:
        """Return where a network shifts, by its keys; `"none"` for a layout that does not record it.

        Raises:
            ValueError: If the first residual block is missing.
        """

    @abstractmethod
    def infer_backbone(self, state_dict: Mapping[str, Tensor], shift_place: str) -> Any:
        """Return the backbone's own config, inferred from its tensors under bare keys.

        Raises:
            ValueError: If the network does not read RGB, or a weight is missing that shows its shape.
        """

    @abstractmethod
    def name_weight(
        self, key: str, shift_place: str, shifted: Sequence[Sequence[bool]], classifier: str
    ) -> str:
        """Return the layout's name of a weight of a [`BSPModel`] or of the classifier behind it.

        Args:
            key (`str`): Key in this package, without `bsp.`.
            shift_place (`str`): Where the network shifts; ignored by layouts that do not record it.
            shifted (`Sequence[Sequence[bool]]`): Which blocks of which stage shift.
            classifier (`str`): One of `classifiers`.

        Raises:
            ValueError: If the key is not that of such an encoder or its classifier.
        """


def find_rgb_stem(state_dict: Mapping[str, Tensor], key: str) -> Tensor:
    """Return the first convolution's weight, `(channels, 3, height, width)`.

    Raises:
        ValueError: If it does not read single RGB frames.
    """
    stem = state_dict[key]
    if stem.ndim != 4 or stem.shape[1] != 3:
        raise ValueError(
            f"{key} has the shape {tuple(stem.shape)}, expected (channels, 3, height, width): "
            "only 2-D networks on RGB frames can be converted, not 3-D ones or those on optical flow."
        )
    return stem
