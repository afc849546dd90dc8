"""The layouts of weights that conversion knows, and which of them a state dict has."""

from collections.abc import Collection, Mapping

from torch import Tensor
from transformers import PreTrainedModel

from bsp_hf.encoder.modeling_tsm import shifted_blocks

from .efficientnet_lite_keys import EfficientNetLiteLayout
from .resnet_keys import RESNET_LAYOUTS
from .weight_names import KeyLayout

# Wrappers that torch puts around a whole model, and with it in front of every key of its state dict.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
LAYOUTS: tuple[KeyLayout, ...] = (
    *RESNET_LAYOUTS,
    EfficientNetLiteLayout(name="efficientnet-lite-pytorch", classifiers=("_fc",)),
)
# timm kept torchvision's names for the networks that torchvision has too.
_ALIASES = {"timm": "torchvision"}
LAYOUT_NAMES = (*dict.fromkeys(layout.name for layout in LAYOUTS), *_ALIASES)
# Keys of networks that are close to the supported ones, and why they cannot be converted.
_RELATIVES = {
    "backbone.embedder.embedder.convolution.weight": "it already has this package's own layout; "
    "AutoModel.from_pretrained reads its folder as it is",
    "conv1.0.weight": "it has the deep stem of a ResNet-D, and only plain ResNets can be converted",
    "base_model.features.0.0.weight": "it is a MobileNetV2, and only ResNets can be converted",
    "backbone.conv1.weight": "it has the layout of mmpretrain; remove `backbone.` from its keys and convert "
    "it as torchvision's",
}


def get_layout(name: str) -> KeyLayout:
    """Return the layout of a name in `LAYOUT_NAMES`."""
    if name not in LAYOUT_NAMES:
        raise ValueError(f"layout {name!r} is unknown; choose one of {', '.join(LAYOUT_NAMES)}.")
    return next(layout for layout in LAYOUTS if layout.name == _ALIASES.get(name, name))


def detect_layout(keys: Collection[str], name: str | None = None) -> KeyLayout:
    """Return the layout of a state dict by its keys, without wrapper prefixes; only `name` if it is given."""
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
    """Return the tensors without the prefix of torch's wrappers in front of every key, and that prefix."""
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
    """Return the name in a layout of every key of an encoder, with the classifier's name if it has one."""
    shifted = shifted_blocks(model.config.backbone_config.depths)
    return {
        key: layout.name_weight(key.removeprefix("bsp."), shift_place, shifted, classifier or "")
        for key in model.state_dict()
    }
