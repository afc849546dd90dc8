"""EfficientNet-Lite (Tan and Le 2019; no squeeze-and-excitation, ReLU6), up to its pooled features."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention

from .configuration_efficientnet_lite import EfficientNetLiteConfig
from .pretrained_model import HubPreTrainedModel, refuse_unknown_arguments


def same_padding(pixels: Tensor, kernel_size: int, stride: int) -> list[int]:
    """Return how TensorFlow's "SAME" pads: left, right, top, bottom; the odd pixel comes last.

    Args:
        pixels (`torch.Tensor`): `(batch, channels, height, width)`, what is to be convolved.
        kernel_size (`int`): Edge of the kernel.
        stride (`int`): Step of the kernel; sizes are divided by it and rounded up.

    Returns:
        `list[int]`: For `torch.nn.functional.pad`.
    """
    padding: list[int] = []
    for size in (pixels.shape[-1], pixels.shape[-2]):
        missing = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
        padding += [missing // 2, missing - missing // 2]
    return padding


class SamePaddedConv2d(nn.Conv2d):
    """A strided convolution padded as TensorFlow's "SAME" does, by the size of its input."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pad and convolve `(batch, in_channels, height, width)`; sizes are divided and rounded up."""
        return super().forward(F.pad(pixels, same_padding(pixels, self.kernel_size[0], self.stride[0])))


class EfficientNetLiteLayer(nn.Module):
    """A convolution, its batch norm and, unless it ends a block, ReLU6."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        rectifies: bool = True,
    ):
        super().__init__()
        if stride == 1:
            half = kernel_size // 2
            self.convolution = nn.Conv2d(
                in_channels, out_channels, kernel_size, padding=half, groups=groups, bias=False
            )
        else:
            self.convolution = SamePaddedConv2d(in_channels, out_channels, kernel_size, stride, groups)
        self.normalization = nn.BatchNorm2d(
            out_channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum
        )
        self.activation = nn.ReLU6() if rectifies else nn.Identity()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(batch, in_channels, height, width)` to `(batch, out_channels, out_height, out_width)`."""
        return self.activation(self.normalization(self.convolution(hidden_states)))


class EfficientNetLiteBlock(nn.Module):
    """An inverted residual: expand, convolve each channel, reduce; with a shortcut where the shape stays."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        expand_ratio: int,
    ):
        super().__init__()
        inner = in_channels * expand_ratio
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.expand = (
            nn.Identity() if expand_ratio == 1 else EfficientNetLiteLayer(config, in_channels, inner)
        )
        self.depthwise = EfficientNetLiteLayer(config, inner, inner, kernel_size, stride, groups=inner)
        self.project = EfficientNetLiteLayer(config, inner, out_channels, rectifies=False)

    def forward(self, hidden_states: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Run the block; its shortcut adds what its branch sees, unless `shortcut` is given."""
        output = self.project(self.depthwise(self.expand(hidden_states)))
        if not self.has_shortcut:
            return output
        return output + (hidden_states if shortcut is None else shortcut)


class EfficientNetLiteStage(nn.Module):
    """Blocks of one width; the first one may halve the maps. Stages are counted from 0."""

    def __init__(self, config: EfficientNetLiteConfig, number: int):
        super().__init__()
        width = config.hidden_sizes[number]
        entering = config.hidden_sizes[number - 1] if number else config.stem_size
        self.layers = nn.ModuleList(
            EfficientNetLiteBlock(
                config,
                width if block else entering,
                width,
                config.kernel_sizes[number],
                1 if block else config.strides[number],
                config.expand_ratios[number],
            )
            for block in range(config.depths[number])
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Run the blocks in order."""
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class EfficientNetLiteModel(HubPreTrainedModel):
    """EfficientNet-Lite without its classifier: pictures in, pooled features out.

    Args:
        config (`EfficientNetLiteConfig`): The network's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf import EfficientNetLiteConfig, EfficientNetLiteModel
    >>> model = EfficientNetLiteModel(EfficientNetLiteConfig()).eval()
    >>> model(torch.zeros(1, 3, 64, 64)).pooler_output.shape
    torch.Size([1, 1280])
    ```
    """

    config_class = EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]  # a tuple, as in transformers' own models
    _no_split_modules = ["EfficientNetLiteBlock"]  # noqa: RUF012  # declared so above us

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        self.stem = EfficientNetLiteLayer(config, config.num_channels, config.stem_size, 3, stride=2)
        self.stages = nn.ModuleList(
            EfficientNetLiteStage(config, number) for number in range(len(config.depths))
        )
        self.head = EfficientNetLiteLayer(config, config.hidden_sizes[-1], config.feature_size)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            # As published: by the fan-out, in which a depthwise kernel counts as one channel.
            height, width = module.kernel_size
            fan_out = height * width * module.out_channels / module.groups
            init.normal_(module.weight, mean=0.0, std=(2 / fan_out) ** 0.5)
        else:
            super()._init_weights(module)

    def get_input_embeddings(self) -> nn.Module:
        """Return the first module that sees the pixels."""
        return self.stem.convolution

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPoolingAndNoAttention | tuple[Any, ...]:
        """Encode pictures.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_channels, height, width)`, normalised.
            output_hidden_states (`bool`, *optional*): Also return the maps of the stem and of every stage.
            return_dict (`bool`, *optional*): Return a model output (default) or a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BaseModelOutputWithPoolingAndNoAttention`: Maps of the last convolution, their mean over space
            `(batch, feature_size)` and, if asked for, hidden states.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        hidden_states = self.stem(pixel_values)
        kept = [hidden_states]
        for stage in self.stages:
            hidden_states = stage(hidden_states)
            kept.append(hidden_states)
        maps = self.head(hidden_states)
        output = BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=maps,
            pooler_output=maps.mean((2, 3)),
            hidden_states=tuple(kept) if output_hidden_states else None,
        )
        return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()
