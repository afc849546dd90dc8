"""Convolutions whose weights are laid out once, and that add a shortcut and rectify in the same pass."""

import threading
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsp_hf.encoder.modeling_efficientnet_lite import SamePaddedConv2d, same_padding

# What torch's compiler fuses with; no public interface, so they are tried before they are used.
_OPERATORS: Any = torch.ops.mkldnn


class PackedConv2d(nn.Module):
    """A convolution by oneDNN, on a CPU and without gradients: the same numbers up to rounding.

    The weights are laid out as the processor wants them at the first call and at every change of the size of
    the input, instead of at every call. A sum, and a ReLU that may be cut off at a `ceiling`, cost no pass
    over memory.
    """

    def __init__(self, convolution: nn.Conv2d, rectifies: bool = False, ceiling: float | None = None) -> None:
        super().__init__()
        if not self.supports(convolution):
            raise ValueError(f"Only convolutions that pad by zeros can be packed: {convolution}.")
        self.rectifies, self.ceiling = rectifies, ceiling
        # Parameters, because a model's number type is that of its parameters
        self.weight = convolution.weight
        self.bias = convolution.bias
        # transformers' MobileNetV2 pads by them.
        self.stride, self.kernel_size = convolution.stride, convolution.kernel_size
        self.dilation = convolution.dilation
        places = (convolution.padding, convolution.stride, convolution.dilation)
        self._geometry = (*map(list, places), convolution.groups)
        self._packed: tuple[Any, Tensor] | None = None

    @staticmethod
    def supports(module: nn.Module) -> bool:
        """Return whether a module is a convolution that can be computed so."""
        return (
            type(module) is nn.Conv2d
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    @staticmethod
    @torch.no_grad()
    def works(dtype: torch.dtype) -> bool:
        """Return whether small convolutions with a sum, a ReLU and a ReLU6 come out right on this machine."""
        convolution = nn.Conv2d(8, 8, 1).to(dtype)
        pixels = torch.linspace(-1, 1, 2 * 8 * 16, dtype=dtype).view(2, 8, 4, 4)
        try:
            joined = PackedConv2d(convolution, rectifies=True)(pixels, pixels)
            cut = PackedConv2d(convolution, rectifies=True, ceiling=0.25)(pixels)
        except (AttributeError, RuntimeError):
            return False
        expected = convolution(pixels)
        return torch.allclose(joined, (expected + pixels).relu(), atol=0.05) and torch.allclose(
            cut, expected.clamp(0, 0.25), atol=0.05
        )

    def forward(self, pixels: Tensor, added: Tensor | None = None) -> Tensor:
        """Convolve `(batch, channels, height, width)`, add what has the output's shape, and rectify."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        key = (pixels.shape, pixels.dtype)
        packed = self._packed  # read once: another thread may pack for another size meanwhile
        if packed is None or packed[0] != key:
            weight = _OPERATORS._reorder_convolution_weight(self.weight, *self._geometry, list(pixels.shape))
            packed = self._packed = (key, weight)
        arguments = (packed[1], self.bias, *self._geometry)
        if added is None:
            name, numbers = ("hardtanh", [0.0, self.ceiling]) if self.ceiling is not None else ("relu", [])
            name, numbers = (name, numbers) if self.rectifies else ("none", [])
            return _OPERATORS._convolution_pointwise(pixels, *arguments, name, numbers, "")
        added = added.contiguous(memory_format=torch.channels_last)
        joined = _OPERATORS._convolution_pointwise.binary(
            pixels, added, *arguments, "add", 1.0, "relu" if self.rectifies else None, [], ""
        )
        return joined.clamp_(max=self.ceiling) if self.rectifies and self.ceiling is not None else joined


class PackedSameConv2d(nn.Module):
    """A packed convolution padded as TensorFlow's "SAME" does, without a copy of large maps.

    oneDNN pads all sides alike. Of an even edge, stride 2 pads the far side by one more than the near one:
    the same as a kernel with a row of zeros in front, padded alike. Only where that multiplies more than it
    saves, in a convolution over all channels, the pixels are padded.
    """

    def __init__(
        self, convolution: SamePaddedConv2d, rectifies: bool = False, ceiling: float | None = None
    ) -> None:
        super().__init__()
        if not self.supports(convolution):
            raise ValueError(f'Only convolutions padded as "SAME" are packed so: {convolution}.')
        self._pads = convolution.groups == 1
        self._kernel_size = convolution.kernel_size[0]

        def pack(rows: int, columns: int, padding: int) -> PackedConv2d:
            weight = F.pad(convolution.weight.detach(), (columns, 0, rows, 0))
            plain = nn.Conv2d(
                convolution.in_channels,
                convolution.out_channels,
                (weight.shape[-2], weight.shape[-1]),
                2,
                padding,
                groups=convolution.groups,
                bias=convolution.bias is not None,
            )
            plain.weight = nn.Parameter(weight, requires_grad=False)
            plain.bias = convolution.bias
            return PackedConv2d(plain, rectifies, ceiling)

        half = self._kernel_size // 2
        # By whether height and width are even.
        kernels = (
            [(0, 0, 0)] if self._pads else [(rows, columns, half) for rows in (0, 1) for columns in (0, 1)]
        )
        self.by_parity = nn.ModuleList(pack(*kernel) for kernel in kernels)

    @staticmethod
    def supports(module: nn.Module) -> bool:
        """Return whether a module is a convolution that can be computed so."""
        return (
            type(module) is SamePaddedConv2d
            and module.stride == (2, 2)
            and module.dilation == (1, 1)
            and module.kernel_size[0] == module.kernel_size[1] >= 3
            and module.kernel_size[0] % 2 == 1
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Pad, convolve and rectify `(batch, channels, height, width)`."""
        if self._pads:
            return self.by_parity[0](F.pad(pixels, same_padding(pixels, self._kernel_size, 2)))
        height, width = pixels.shape[-2:]
        return self.by_parity[2 * (height % 2 == 0) + (width % 2 == 0)](pixels)


# F(4x4, 3x3) of Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks": what turns a kernel
# of 3 taps into 6 products. The transforms of the pixels and of the products are written out below.
_KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_TILE, _STEP = 6, 4
# Below, moving the pixels costs more time than the multiplications that are saved.
_FEWEST_CHANNELS = 64
# What is worked on at a time should stay in the cache, but a matrix product wants some rows.
_CHUNK_BYTES = 4_000_000
_FEWEST_ROWS = 128


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 by Winograd's method: the same numbers up to rounding.

    Four by four outputs are computed at a time from 36 instead of 144 products, in float32 and as batched
    matrix products. The relative error is about 1e-6, twice that of the usual way. Kernels take four times
    the memory. Scratch memory belongs to the calling thread and is used again.
    """

    def __init__(self, convolution: nn.Conv2d, rectifies: bool = False) -> None:
        super().__init__()
        if not self.supports(convolution):
            raise ValueError(f"Winograd's method is for 3x3 kernels, stride 1 and padding 1: {convolution}.")
        self.rectifies = rectifies
        transform = torch.tensor(_KERNEL_TRANSFORM, dtype=torch.float64)
        weight = convolution.weight.detach()
        products = torch.einsum("rh,oihw,cw->crio", transform, weight.double(), transform)
        kernel = products.reshape(_TILE**2, *products.shape[2:]).to(weight.dtype).contiguous()
        bias = convolution.bias
        self.kernel: Tensor
        self.bias: Tensor | None
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self._scratch = _Scratch()

    @staticmethod
    def supports(convolution: nn.Module) -> bool:
        """Return whether a convolution can be computed so, and is large enough to gain by it."""
        return (
            type(convolution) is nn.Conv2d
            and convolution.kernel_size == (3, 3)
            and convolution.stride == convolution.dilation == (1, 1)
            and convolution.padding == (1, 1)
            and convolution.padding_mode == "zeros"
            and convolution.groups == 1
            and min(convolution.in_channels, convolution.out_channels) >= _FEWEST_CHANNELS
        )

    def forward(self, pixels: Tensor, added: Tensor | None = None) -> Tensor:
        """Convolve `(batch, channels, height, width)`, add what has the output's shape, and rectify."""
        batch, channels, height, width = pixels.shape
        num_down, num_across = -(-height // _STEP), -(-width // _STEP)
        tiles = num_down * num_across
        out = pixels.new_empty(batch, num_down * _STEP, num_across * _STEP, self.kernel.shape[2])
        chunk = max(_CHUNK_BYTES // (tiles * _TILE**2 * channels * 4), -(-_FEWEST_ROWS // tiles))
        rows = pixels.permute(0, 2, 3, 1)
        added_rows = None if added is None else added.permute(0, 2, 3, 1)
        for first in range(0, batch, chunk):
            part = slice(first, min(first + chunk, batch))
            self._convolve(rows[part], out[part])
            if added_rows is not None:
                out[part, :height, :width] += added_rows[part]
            if self.rectifies:
                out[part].relu_()
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _convolve(self, rows: Tensor, out: Tensor) -> None:
        """Fill `out` `(batch, 4 * down, 4 * across, out)` from `rows` `(batch, height, width, in)`."""
        batch, height, width, channels = rows.shape
        down, across, num_out = out.shape[1] // _STEP, out.shape[2] // _STEP, out.shape[3]
        reuse = self._scratch.reuse
        padded = reuse("padded", (batch, down * _STEP + 2, across * _STEP + 2, channels), rows)
        padded[:, 0], padded[:, height + 1 :] = 0, 0
        padded[:, :, 0], padded[:, :, width + 1 :] = 0, 0
        padded[:, 1 : height + 1, 1 : width + 1] = rows

        # Views of the six rows, then of the six columns, that overlap by two with those of the next tile.
        by_image, by_row, by_column, _ = padded.stride()
        size: tuple[int, ...] = (_TILE, batch, down, padded.shape[2], channels)
        lines = padded.as_strided(size, (by_row, by_image, _STEP * by_row, by_column, 1))
        half = reuse("half", size, rows)
        _transform_pixels(lines, half)
        by_line, by_image, by_tile, by_column, _ = half.stride()
        size = (_TILE, _TILE, batch, down, across, channels)
        columns = half.as_strided(size, (by_column, by_line, by_image, by_tile, _STEP * by_column, 1))
        transformed = reuse("transformed", size, rows)
        _transform_pixels(columns, transformed)

        products = reuse("products", (_TILE**2, batch * down * across, num_out), rows)
        torch.bmm(transformed.view(_TILE**2, -1, channels), self.kernel, out=products)
        if self.bias is not None:
            products[_TILE + 1] += self.bias  # the one product that is in all sixteen outputs, with weight 1
        products = products.view(_TILE, _TILE, batch, down, across, num_out)
        gathered = reuse("half", (_STEP, *products.shape[1:]), rows)
        _transform_products(products, gathered)
        by_image, by_row, by_column, _ = out.stride()
        size = (_STEP, _STEP, *products.shape[2:])
        steps = (by_row, by_column, by_image, _STEP * by_row, _STEP * by_column, 1)
        _transform_products(gathered.transpose(0, 1), out.as_strided(size, steps, out.storage_offset()))


def _transform_pixels(x: Tensor, out: Tensor) -> None:
    torch.add(x[4], x[2], alpha=-5, out=out[0]).add_(x[0], alpha=4)
    even, odd = torch.sub(x[4], x[2], alpha=4), torch.sub(x[3], x[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(x[4], x[2], out=even)
    torch.sub(x[3], x[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.add(x[5], x[3], alpha=-5, out=out[5]).add_(x[1], alpha=4)


def _transform_products(x: Tensor, out: Tensor) -> None:
    near, far = x[1] + x[2], x[3] + x[4]
    torch.add(near, far, out=out[0]).add_(x[0])
    torch.add(near, far, alpha=4, out=out[2])
    torch.sub(x[1], x[2], out=near)
    torch.sub(x[3], x[4], out=far)
    torch.add(near, far, alpha=2, out=out[1])
    torch.add(near, far, alpha=8, out=out[3]).add_(x[5])


class _Scratch(threading.local):
    """Memory of one thread that is used again and again, because fresh memory costs a page fault a page."""

    def reuse(self, name: str, size: tuple[int, ...], like: Tensor) -> Tensor:
        """Return a tensor of any content; it is valid until the name is used again."""
        wanted = torch.Size(size).numel()
        held: Any = self.__dict__.get(name)
        if held is None or held.numel() < wanted or held.dtype != like.dtype:
            held = self.__dict__[name] = like.new_empty(wanted)
        return held[:wanted].view(size)
