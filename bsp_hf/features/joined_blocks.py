"""Residual blocks whose last convolution adds the shortcut itself."""

from typing import Any

from torch import Tensor, nn

from .folding import replace_module
from .packed_convolution import PackedConv2d
from .winograd import WinogradConv2d


class JoinedBlock(nn.Module):
    """A residual block of a ResNet or RegNet that writes its output once.

    Args:
        block (`nn.Module`): One for which [`takes`] is true; it gives its modules away.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        *before, last = block.layer
        self.before = nn.Sequential(*before)
        self.last = last.convolution
        self.last.rectifies = True
        self.shortcut = block.shortcut

    @staticmethod
    def takes(block: Any) -> bool:
        """Say whether a module is a residual block that ends with a fast convolution, a sum and a ReLU.

        Args:
            block (`nn.Module`): Any module.

        Returns:
            `bool`: Whether it is.
        """
        layer = getattr(block, "layer", None)
        if not (isinstance(layer, nn.Sequential) and len(layer) and hasattr(block, "shortcut")):
            return False
        last: Any = layer[-1]
        return (
            isinstance(getattr(block, "activation", None), nn.ReLU)
            and isinstance(getattr(last, "convolution", None), PackedConv2d | WinogradConv2d)
            and not last.convolution.rectifies
            and all(type(child) is nn.Identity for child in (last.normalization, last.activation))
        )

    def join(self, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Run the block.

        Args:
            branch_input (`torch.Tensor`): `(batch, channels, height, width)`, what the branch sees.
            shortcut_input (`torch.Tensor`): What the shortcut sees, of the same shape.

        Returns:
            `torch.Tensor`: `(batch, out_channels, out_height, out_width)`.
        """
        return self.last(self.before(branch_input), self.shortcut(shortcut_input))


def join_blocks(encoder: nn.Module) -> int:
    """Put a [`JoinedBlock`] in the place of every residual block that allows it.

    Args:
        encoder (`nn.Module`): With fast convolutions; changed in place.

    Returns:
        `int`: Number of blocks that were replaced.
    """
    names = [name for name, module in encoder.named_modules() if JoinedBlock.takes(module)]
    for name in names:
        replace_module(encoder, name, JoinedBlock(encoder.get_submodule(name)))
    return len(names)


__all__ = ["JoinedBlock", "join_blocks"]
