"""How code bases name the weights of one and the same ResNet, with and without the temporal shift."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from transformers import ResNetConfig

from bsp_hf.encoder.configuration_bsp import SHIFT_PLACES

from .weight_names import KeyLayout, find_rgb_stem

# What a config says about a ResNet and its tensors do not show; all but transformers take the defaults.
HIDDEN_FIELDS = ("hidden_act", "downsample_in_first_stage", "downsample_in_bottleneck")
_KINDS = ("convolution", "normalization")
_BACKBONE_KEY = re.compile(
    r"backbone\.(?:embedder\.embedder"
    r"|encoder\.stages\.(?P<stage>\d+)\.layers\.(?P<block>\d+)\.(?:layer\.(?P<unit>\d+)|shortcut))"
    r"\.(?P<kind>convolution|normalization)\.(?P<leaf>\w+)"
)


@dataclass(frozen=True, kw_only=True)
class ResNetLayout(KeyLayout):
    """The names one code base gives to the weights of a ResNet and its classifier.

    Pairs hold the name of the convolution and that of the batch norm behind it. The wrapper of the temporal
    shift shows as an extra `.net`.
    """

    network: ClassVar[str] = "a plain ResNet, with or without the temporal shift"
    backbone_key: ClassVar[re.Pattern[str]] = _BACKBONE_KEY
    relatives: ClassVar[str] = "Non-local blocks, temporal pooling, ResNeXt and wide ResNets"

    prefix: str  # in front of every key of the backbone
    stem: tuple[str, str]
    block: str  # `{stage}` and `{block}` stand for its numbers
    branch: tuple[str, str]  # a layer of the residual branch; `{unit}` stands for its number
    shortcut: tuple[str, str]  # the projection beside the branch
    first_number: int = 1  # of stages and of layers in a branch

    @property
    def stem_key(self) -> str:
        """Key of the first convolution's weight, by which layouts are recognized."""
        return f"{self.prefix}{self.stem[0]}.weight"

    def name_convolution(self, stage: int, block: int, unit: int, shift_place: str) -> str:
        """Return the key of a convolution in the residual branch of a block that shifts at `shift_place`.

        Stages, the blocks of a stage and the layers of the branch (units) are counted from 0.
        """
        return self._name_block_weight(stage, block, unit, 0, "weight", shift_place)

    def name_backbone_weight(
        self, key: re.Match[str], shift_place: str, shifted: Sequence[Sequence[bool]]
    ) -> str:
        """Return the layout's name of a weight of the backbone; see [`KeyLayout`]."""
        kind = _KINDS.index(key["kind"])
        if key["stage"] is None:
            return f"{self.prefix}{self.stem[kind]}.{key['leaf']}"
        stage, block = int(key["stage"]), int(key["block"])
        unit = None if key["unit"] is None else int(key["unit"])
        place = shift_place if self.records_shift and shifted[stage][block] else "none"
        return self._name_block_weight(stage, block, unit, kind, key["leaf"], place)

    def find_shift_place(self, keys: Collection[str]) -> str:
        """Return where a network shifts, by its keys; see [`KeyLayout`]."""
        places = SHIFT_PLACES if self.records_shift else ("none",)
        # The first block of a network shifts wherever any block does.
        for place in places:
            if self.name_convolution(0, 0, 0, place) in keys:
                return place
        raise ValueError(
            f"the checkpoint begins like a ResNet in the layout {self.name}, but its first residual block "
            f"{self.name_convolution(0, 0, 0, 'none')} is missing; only ResNets can be converted."
        )

    def infer_backbone(self, state_dict: Mapping[str, Tensor], shift_place: str) -> ResNetConfig:
        """Infer depths, widths and kind of block from the tensors; see [`KeyLayout`].

        Strides leave no trace in a tensor: they are taken to be torchvision's, in the 3x3 convolution of a
        bottleneck and none in the first stage. A file from code that places them elsewhere looks the same.
        """

        def find(stage: int, block: int, unit: int) -> Tensor | None:
            names = (self.name_convolution(stage, block, unit, place) for place in {shift_place, "none"})
            return next((state_dict[name] for name in names if name in state_dict), None)

        stem = find_rgb_stem(state_dict, self.stem_key)
        units = [find(0, 0, unit) is not None for unit in range(3)]
        num_units = [*units, False].index(False)
        if num_units < 2:
            raise ValueError(f"the residual branches have {num_units} convolution; ResNets have 2 or 3.")
        depths: list[int] = []
        while find(len(depths), 0, 0) is not None:
            blocks = (find(len(depths), block, 0) for block in range(len(state_dict) + 1))
            depths.append(next(block for block, weight in enumerate(blocks) if weight is None))
        widths = []
        for stage in range(len(depths)):
            weight = find(stage, 0, num_units - 1)
            if weight is None or weight.ndim != 4:
                name = self.name_convolution(stage, 0, num_units - 1, "none")
                raise ValueError(f"{name} is missing or not the weight of a 2-D convolution.")
            widths.append(weight.shape[0])
        return ResNetConfig(
            embedding_size=stem.shape[0],
            hidden_sizes=widths,
            depths=depths,
            layer_type="basic" if num_units == 2 else "bottleneck",
        )

    def _name_block_weight(
        self, stage: int, block: int, unit: int | None, kind: int, leaf: str, shift_place: str
    ) -> str:
        module = self.prefix + self.block.format(stage=stage + self.first_number, block=block)
        if shift_place == "block":
            module += ".net"
        if unit is None:
            return f"{module}.{self.shortcut[kind]}.{leaf}"
        layer = self.branch[kind].format(unit=unit + self.first_number)
        # "blockres" wraps the first convolution alone, not the batch norm behind it.
        wrapper = ".net" if shift_place == "blockres" and unit == kind == 0 else ""
        return f"{module}.{layer}{wrapper}.{leaf}"


_TORCHVISION = ResNetLayout(
    name="torchvision",
    prefix="",
    stem=("conv1", "bn1"),
    block="layer{stage}.{block}",
    branch=("conv{unit}", "bn{unit}"),
    shortcut=("downsample.0", "downsample.1"),
    classifiers=("fc",),
)
_TRANSFORMERS = ResNetLayout(
    name="transformers",
    prefix="resnet.",
    stem=("embedder.embedder.convolution", "embedder.embedder.normalization"),
    block="encoder.stages.{stage}.layers.{block}",
    branch=("layer.{unit}.convolution", "layer.{unit}.normalization"),
    shortcut=("shortcut.convolution", "shortcut.normalization"),
    classifiers=("classifier.1",),
    first_number=0,
)
RESNET_LAYOUTS = (
    ResNetLayout(
        name="mit-han-lab",
        prefix="base_model.",
        stem=_TORCHVISION.stem,
        block=_TORCHVISION.block,
        branch=_TORCHVISION.branch,
        shortcut=_TORCHVISION.shortcut,
        classifiers=("new_fc", "base_model.fc"),
        records_shift=True,
    ),
    ResNetLayout(
        name="mmaction2",
        prefix="backbone.",
        stem=("conv1.conv", "conv1.bn"),
        block=_TORCHVISION.block,
        branch=("conv{unit}.conv", "conv{unit}.bn"),
        shortcut=("downsample.conv", "downsample.bn"),
        classifiers=("cls_head.fc_cls",),
        records_shift=True,
        preprocessing_note="mmaction2 normalises pixels in 0..255 with mean 123.675/116.28/103.53, std "
        "58.395/57.12/57.375, which is 255 times the numbers above: the same function up to rounding",
    ),
    _TORCHVISION,
    _TRANSFORMERS,
    # ResNetModel without a classifier has the same keys without the prefix.
    ResNetLayout(**{**vars(_TRANSFORMERS), "prefix": "", "classifiers": ()}),
)
