"""How code bases name the weights of one and the same network, with and without the temporal shift."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel, ResNetConfig

from bsp_hf.encoder.configuration_bsp import SHIFT_PLACES
from bsp_hf.encoder.modeling_tsm import shifted_blocks

from .efficientnet_lite_keys import EfficientNetLiteLayout
from .weight_names import KeyLayout, find_rgb_stem

# Wrappers that torch puts around a whole model, and with it in front of every key of its state dict.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")


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

    Pairs hold the name of the convolution and that of the batch norm behind it.

    Args:
        prefix (`str`): In front of every key of the backbone.
        stem (`tuple[str, str]`): The first layer of the network.
        block (`str`): A residual block; `{stage}` and `{block}` stand for its numbers.
        branch (`tuple[str, str]`): A layer of the residual branch; `{unit}` stands for its number.
        shortcut (`tuple[str, str]`): The projection beside the branch.
        first_number (`int`, *optional*, defaults to 1): Of stages and of layers in a branch.
        kwargs: As for [`KeyLayout`]; the wrapper of the temporal shift shows as an extra `.net`.
    """

    network: ClassVar[str] = "a plain ResNet, with or without the temporal shift"
    relatives: ClassVar[str] = "Non-local blocks, temporal pooling, ResNeXt and wide ResNets"

    prefix: str
    stem: tuple[str, str]
    block: str
    branch: tuple[str, str]
    shortcut: tuple[str, str]
    first_number: int = 1

    @property
    def stem_key(self) -> str:
        """Key of the first convolution's weight, which tells the layouts apart."""
        return f"{self.prefix}{self.stem[0]}.weight"

    def name_convolution(self, stage: int, block: int, unit: int, shift_place: str) -> str:
        """Name the weight of a convolution in a residual branch.

        Args:
            stage (`int`): Counted from 0.
            block (`int`): Counted from 0 in each stage.
            unit (`int`): Layer of the branch, counted from 0.
            shift_place (`str`): Where this very block shifts; `"none"` for a block that does not.

        Returns:
            `str`: The key.
        """
        return self._name_block_weight(stage, block, unit, 0, "weight", shift_place)

    def name_weight(
        self, key: str, shift_place: str, shifted: Sequence[Sequence[bool]], classifier: str
    ) -> str:
        """Translate a key of this package into the layout's; see [`KeyLayout`]."""
        head, _, leaf = key.rpartition(".")
        if head == "classifier":
            return f"{classifier}.{leaf}"
        match = _BACKBONE_KEY.fullmatch(key)
        if match is None:
            raise ValueError(
                f"{key} is no weight of a ResNet encoder; only those have names in other layouts."
            )
        kind = _KINDS.index(match["kind"])
        if match["stage"] is None:
            return f"{self.prefix}{self.stem[kind]}.{leaf}"
        stage, block = int(match["stage"]), int(match["block"])
        unit = None if match["unit"] is None else int(match["unit"])
        place = shift_place if self.records_shift and shifted[stage][block] else "none"
        return self._name_block_weight(stage, block, unit, kind, leaf, place)

    def find_shift_place(self, keys: Collection[str]) -> str:
        """Read from the keys where a network shifts; see [`KeyLayout`]."""
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


LAYOUTS: tuple[KeyLayout, ...] = (
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
    EfficientNetLiteLayout(name="efficientnet-lite-pytorch", classifiers=("_fc",)),
)


# timm kept torchvision's names for the networks that torchvision has too.
_ALIASES = {"timm": "torchvision"}


LAYOUT_NAMES = (*dict.fromkeys(layout.name for layout in LAYOUTS), *_ALIASES)


# A key that betrays a relative of the supported networks, and what to tell its owner.
_RELATIVES = {
    "backbone.embedder.embedder.convolution.weight": "it already has this package's own layout; "
    "AutoModel.from_pretrained reads its folder as it is",
    "conv1.0.weight": "it has the deep stem of a ResNet-D, and only plain ResNets can be converted",
    "base_model.features.0.0.weight": "it is a MobileNetV2, and only ResNets can be converted",
    "backbone.conv1.weight": "it has the layout of mmpretrain; remove `backbone.` from its keys and convert "
    "it as torchvision's",
}


def get_layout(name: str) -> KeyLayout:
    """Look a layout up by its name, for writing.

    Args:
        name (`str`): One of `LAYOUT_NAMES`.

    Returns:
        `KeyLayout`: The layout.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in LAYOUT_NAMES:
        raise ValueError(f"layout {name!r} is unknown; choose one of {', '.join(LAYOUT_NAMES)}.")
    return next(layout for layout in LAYOUTS if layout.name == _ALIASES.get(name, name))


def detect_layout(keys: Collection[str], name: str | None = None) -> KeyLayout:
    """Tell which layout a state dict has.

    Args:
        keys (`Collection[str]`): Its keys, without wrapper prefixes.
        name (`str`, *optional*): Accept this layout alone.

    Returns:
        `KeyLayout`: The layout.

    Raises:
        ValueError: If no layout fits, or not the one that was asked for.
    """
    wanted = None if name is None else get_layout(name).name
    found = [layout for layout in LAYOUTS if layout.stem_key in keys]
    fitting = [layout for layout in found if wanted in (None, layout.name)]
    if fitting:
        return fitting[0]
    if found:
        raise ValueError(
            f"the checkpoint does not have the layout {name} but that of {found[0].name}, by its key "
            f"{found[0].stem_key}. Pass layout={found[0].name!r} or leave layout out."
        )
    reasons = [text for key, text in _RELATIVES.items() if key in keys or f"bsp.{key}" in keys]
    examples = ", ".join(sorted(keys)[:3]) or "none"
    raise ValueError(
        f"the checkpoint has none of the layouts {', '.join(LAYOUT_NAMES)}"
        + (f": {reasons[0]}." if reasons else f"; its {len(keys)} keys begin with {examples}.")
    )


def strip_wrappers(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Remove what data-parallel and compiled models put in front of every key.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): State dict as it was saved.

    Returns:
        `tuple[dict[str, torch.Tensor], str]`: The same tensors under bare keys, and the removed prefix.
    """
    removed = ""
    bare = dict(state_dict)
    while bare and (prefix := _common_wrapper(bare)):
        bare = {key.removeprefix(prefix): value for key, value in bare.items()}
        removed += prefix
    return bare, removed


def _common_wrapper(keys: Collection[str]) -> str | None:
    return next((wrapper for wrapper in WRAPPER_PREFIXES if all(k.startswith(wrapper) for k in keys)), None)


def pair_keys(
    model: PreTrainedModel, layout: KeyLayout, shift_place: str, classifier: str | None
) -> dict[str, str]:
    """Pair every key of an encoder with its name in a layout.

    Args:
        model (`PreTrainedModel`): A [`BSPModel`] or [`BSPForBoundaryClassification`]; it may be on the meta
            device.
        layout (`KeyLayout`): The other layout.
        shift_place (`str`): Where the network in that layout shifts.
        classifier (`str`, *optional*): One of the layout's classifiers; needed if the model has one.

    Returns:
        `dict[str, str]`: From keys of the model to keys of the layout.

    Raises:
        ValueError: If a weight has no name in the layout.
    """
    shifted = shifted_blocks(model.config.backbone_config.depths)
    return {
        key: layout.name_weight(key.removeprefix("bsp."), shift_place, shifted, classifier or "")
        for key in model.state_dict()
    }
