"""What the encoder asks of a family of backbones: how to build one, its width, how it encodes clips."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoModel

# Any in this file: backbones and their configs, of as many classes as there are families.


def feature_size(config: Any) -> int:
    """Return the width of a model's pooled feature: its `hidden_size`, or the last of its `hidden_sizes`."""
    size = getattr(config, "hidden_size", None)
    return int(config.hidden_sizes[-1] if size is None else size)


@dataclass(frozen=True)
class ShiftSettings:
    """How frames of an image network exchange channels: `shift_div`, `_place`, `_blocks` of [`BSPConfig`]."""

    div: int
    place: str
    blocks: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class EncodedClips:
    """What a backbone makes of clips.

    Args:
        frame_features (`torch.Tensor`): `(batch, num_frames, hidden_size)`.
        hidden_states (`tuple[torch.Tensor]`, *optional*): What the layers gave, if it was asked for.
    """

    frame_features: Tensor
    hidden_states: tuple[Tensor, ...] | None


class BackboneFamily(ABC):
    """How the encoder runs one kind of backbone; has no state, the backbone is passed to its methods."""

    # Whether the backbone itself sees several frames. If it does not, channels are shifted between frames.
    mixes_frames: ClassVar[bool]
    # Parts of the backbone that no frame feature depends on; left out, because they would get no gradient.
    idle_parts: ClassVar[tuple[str, ...]] = ()

    def build(self, config: Any) -> nn.Module:
        """Build the backbone of a config, with fresh weights."""
        return self.trim(AutoModel.from_config(config))

    def trim(self, backbone: Any) -> Any:
        """Remove from a backbone, in place, what no frame feature depends on, and return it."""
        for name in self.idle_parts:
            setattr(backbone, name, None)
        return backbone

    def hidden_size(self, config: Any) -> int:
        """Return the width of a frame feature."""
        return feature_size(config)

    def num_channels(self, config: Any) -> int:
        """Return the number of colours of a frame."""
        return int(config.num_channels)

    def num_frames(self, config: Any) -> int | None:
        """Return the number of frames that the backbone was made for; `None` if any will do."""
        return None

    def check_config(self, config: Any, num_frames: int) -> None:  # noqa: B027  # optional
        """Raise a `ValueError` if the backbone cannot encode clips of that many frames."""

    def check_shift(self, backbone: Any, shift: ShiftSettings) -> None:  # noqa: B027  # optional
        """Raise a `ValueError` if the shift names blocks that the backbone does not have."""

    def first_parts(self, backbone: Any, num_blocks: int) -> list[nn.Module]:
        """Return what a frame goes through up to the end of so many blocks.

        Args:
            backbone (`nn.Module`): A backbone of this family.
            num_blocks (`int`): At least 1.

        Returns:
            `list[nn.Module]`: The stem, the blocks, and what lies between.

        Raises:
            ValueError: If there are fewer blocks, or the family has no such order.
        """
        raise ValueError(
            f"the first blocks of a {backbone.config.model_type} cannot be kept as they are; that is for "
            "image networks."
        )

    @abstractmethod
    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the first module of the backbone that sees pixels."""

    @abstractmethod
    def encode(
        self,
        backbone: Any,
        pixel_values: Tensor,
        shift: ShiftSettings,
        keeps_hidden_states: bool,
        checkpoint: Callable | None,
    ) -> EncodedClips:
        """Encode clips.

        Args:
            backbone (`nn.Module`): A backbone of this family.
            pixel_values (`torch.Tensor`): `(batch, num_frames, channels, height, width)`, in the backbone's
                precision.
            shift (`ShiftSettings`): How frames exchange channels; for networks that do not mix frames.
            keeps_hidden_states (`bool`): Also return what the layers gave.
            checkpoint (`Callable`, *optional*): `torch.utils.checkpoint.checkpoint` with its options bound,
                where activations are to be recomputed in the backward pass.

        Returns:
            `EncodedClips`: Frame features and, if asked for, hidden states.

        Raises:
            ValueError: If the backbone cannot take clips of this length or frames of this size.
        """
