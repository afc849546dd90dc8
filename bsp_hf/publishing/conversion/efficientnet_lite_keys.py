"""How the package `efficientnet-lite-pytorch` names the weights of EfficientNet-Lite; its pixels."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from bsp_hf.encoder.configuration_efficientnet_lite import EfficientNetLiteConfig

from .weight_names import KeyLayout, find_rgb_stem

_BACKBONE_KEY = re.compile(
    r"backbone\.(?:(?P<end>stem|head)|stages\.(?P<stage>\d+)\.layers\.(?P<block>\d+)\."
    r"(?P<layer>expand|depthwise|project))\.(?P<kind>convolution|normalization)\.(?P<leaf>\w+)"
)
# Convolution and batch norm of the ends, and of the layers of a block.
_ENDS = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
_LAYERS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
# As in tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
_MEAN, _STD = 127 / 255, 128 / 255


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteLayout(KeyLayout):
    """The names of EfficientNet-Lite's weights: blocks are numbered through, whatever their stage."""

    network: ClassVar[str] = "an EfficientNet-Lite"
    backbone_key: ClassVar[re.Pattern[str]] = _BACKBONE_KEY
    relatives: ClassVar[str] = "EfficientNets with squeeze-and-excitation"

    pixel_statistics: Mapping[str, list[float]] = field(
        default_factory=lambda: {"image_mean": [_MEAN] * 3, "image_std": [_STD] * 3}
    )
    preprocessing_note: str = (
        "its authors evaluate with bicubic interpolation, this preprocessing is bilinear with antialiasing; "
        "crop and pixel statistics are theirs"
    )

    @property
    def stem_key(self) -> str:
        """Key of the first convolution's weight."""
        return "_conv_stem.weight"

    def find_shift_place(self, keys: Collection[str]) -> str:
        """Return `"none"`, because an image network shifts nowhere; see [`KeyLayout`]."""
        if "_blocks.0._project_conv.weight" not in keys:
            raise ValueError(
                f"the checkpoint begins like an EfficientNet in the layout {self.name}, but "
                "_blocks.0._project_conv.weight of its first block is missing; look for the whole file."
            )
        return "none"

    def infer_backbone(self, state_dict: Mapping[str, Tensor], shift_place: str) -> EfficientNetLiteConfig:
        """Infer depths, widths, kernels and expansions from the tensors; see [`KeyLayout`].

        A stage is a run of blocks that give the same number of channels, as in all published networks.
        Strides leave no trace in a tensor: they are taken to be the published ones.
        """
        published = EfficientNetLiteConfig()
        width = stem_size = find_rgb_stem(state_dict, self.stem_key).shape[0]
        stages: list[dict[str, int]] = []
        block = 0
        while f"_blocks.{block}._project_conv.weight" in state_dict:
            entering = width
            width = self._find_weight(state_dict, f"_blocks.{block}._project_conv").shape[0]
            if width != entering:
                inner = self._find_weight(state_dict, f"_blocks.{block}._depthwise_conv")
                stages.append({"width": width, "depth": 0, "kernel": inner.shape[-1]})
                stages[-1]["ratio"] = max(1, inner.shape[0] // entering)
            elif not stages:
                raise ValueError(
                    f"_blocks.0._project_conv.weight gives the {width} channels of the stem; the first stage "
                    "of an EfficientNet-Lite has fewer."
                )
            stages[-1]["depth"] += 1
            block += 1
        if len(stages) != len(published.strides):
            raise ValueError(
                f"the checkpoint has {len(stages)} stages of blocks, expected {len(published.strides)}: only "
                "the published EfficientNet-Lites can be converted, in which strides are known."
            )
        return EfficientNetLiteConfig(
            stem_size=stem_size,
            hidden_sizes=[stage["width"] for stage in stages],
            depths=[stage["depth"] for stage in stages],
            kernel_sizes=[stage["kernel"] for stage in stages],
            expand_ratios=[stage["ratio"] for stage in stages],
            feature_size=self._find_weight(state_dict, "_conv_head").shape[0],
        )

    @staticmethod
    def _find_weight(state_dict: Mapping[str, Tensor], name: str) -> Tensor:
        weight = state_dict.get(f"{name}.weight")
        if weight is None or weight.ndim != 4:
            raise ValueError(f"{name}.weight is missing or not the weight of a 2-D convolution.")
        return weight

    def name_backbone_weight(
        self, key: re.Match[str], shift_place: str, shifted: Sequence[Sequence[bool]]
    ) -> str:
        """Return the layout's name of a weight of the backbone; see [`KeyLayout`]."""
        kind = ("convolution", "normalization").index(key["kind"])
        if key["end"]:
            return f"{_ENDS[key['end']][kind]}.{key['leaf']}"
        number = sum(map(len, shifted[: int(key["stage"])])) + int(key["block"])
        return f"_blocks.{number}.{_LAYERS[key['layer']][kind]}.{key['leaf']}"
