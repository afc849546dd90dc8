"""Convolutions whose weights are laid out once, and that add a shortcut and rectify in the same pass."""

from typing import Any

import torch
from torch import Tensor, nn

# What torch's compiler fuses with; no public interface, so they are tried before they are used.
_OPERATORS: Any = torch.ops.mkldnn


class PackedConv2d(nn.Module):
    """A convolution by oneDNN, on a CPU and without gradients: the same numbers up to rounding.

    The weights are laid out as the processor wants them at the first call and at every change of the size of
    the input, instead of at every call. A sum and a ReLU behind the convolution cost no pass over memory.

    Args:
        convolution (`nn.Conv2d`): One for which [`takes`] is true; not modified.
        rectifies (`bool`, *optional*, defaults to False): Whether a ReLU follows.

    Raises:
        ValueError: If it is another kind of convolution.
    """

    def __init__(self, convolution: nn.Conv2d, rectifies: bool = False) -> None:
        super().__init__()
        if not self.takes(convolution):
            raise ValueError(f"Only convolutions that pad by zeros can be packed: {convolution}.")
        self.rectifies = rectifies
        # Parameters, because a model's number type is that of its parameters
        self.weight = convolution.weight
        self.bias = convolution.bias
        places = (convolution.padding, convolution.stride, convolution.dilation)
        self._geometry = (*map(list, places), convolution.groups)
        self._packed: tuple[Any, Tensor] | None = None

    @staticmethod
    def takes(module: nn.Module) -> bool:
        """Say whether a module is a convolution that can be computed so.

        Args:
            module (`nn.Module`): Any module.

        Returns:
            `bool`: Whether it is.
        """
        return (
            type(module) is nn.Conv2d
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    @staticmethod
    @torch.no_grad()
    def works(dtype: torch.dtype) -> bool:
        """Try whether this build of torch and this processor can compute so.

        Args:
            dtype (`torch.dtype`): Number type to compute in.

        Returns:
            `bool`: Whether a small convolution with a sum and a ReLU came out right.
        """
        convolution = nn.Conv2d(8, 8, 1).to(dtype)
        pixels = torch.linspace(-1, 1, 2 * 8 * 16, dtype=dtype).view(2, 8, 4, 4)
        try:
            found = PackedConv2d(convolution, rectifies=True)(pixels, pixels)
        except (AttributeError, RuntimeError):
            return False
        return torch.allclose(found, (convolution(pixels) + pixels).relu(), atol=0.05)

    def forward(self, pixels: Tensor, added: Tensor | None = None) -> Tensor:
        """Convolve, add and rectify.

        Args:
            pixels (`torch.Tensor`): `(batch, in_channels, height, width)`.
            added (`torch.Tensor`, *optional*): What is added before rectifying, of the output's shape.

        Returns:
            `torch.Tensor`: `(batch, out_channels, out_height, out_width)`, with channels last.
        """
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        key = (pixels.shape, pixels.dtype)
        packed = self._packed  # read once: another thread may pack for another size meanwhile
        if packed is None or packed[0] != key:
            weight = _OPERATORS._reorder_convolution_weight(self.weight, *self._geometry, list(pixels.shape))
            packed = self._packed = (key, weight)
        arguments = (packed[1], self.bias, *self._geometry)
        if added is None:
            return _OPERATORS._convolution_pointwise(
                pixels, *arguments, "relu" if self.rectifies else "none", [], ""
            )
        added = added.contiguous(memory_format=torch.channels_last)
        return _OPERATORS._convolution_pointwise.binary(
            pixels, added, *arguments, "add", 1.0, "relu" if self.rectifies else None, [], ""
        )


__all__ = ["PackedConv2d"]
