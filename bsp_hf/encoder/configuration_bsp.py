"""Configuration of the BSP video encoder: a 2-D backbone, the temporal shift, and the boundary classes."""

import logging
import os
from enum import IntEnum
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, ResNetConfig
from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module

from .backbones import find_family
from .configuration_efficientnet_lite import EFFICIENTNET_LITE_VARIANTS, EfficientNetLiteConfig

logger = logging.getLogger(__name__)

# Whether this file was loaded out of a checkpoint rather than from the installed package.
_IS_REMOTE_CODE = __name__.startswith("transformers_modules.")


class ShippedConfig(PreTrainedConfig):
    """Base of the configs whose code is saved beside the weights.

    A config names in `shipped_classes` what each Auto class makes of its checkpoints where the package is not
    installed: transformers itself would name the one class that was saved only, but a classifier is loaded as
    an encoder too.
    """

    shipped_classes: ClassVar[dict[str, str]] = {}
    # A trainer that evaluates sees the logits of the task alone, whatever else a model returns.
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "frame_logits",
        "action_logits",
        "hidden_states",
        "boundary_loss",
        "action_loss",
        "action_feature_loss",
        "boundary_feature_loss",
        "classification_loss",
    ]

    def __post_init__(self, **kwargs: Any) -> None:
        # transformers lets `custom_pipelines` of a checkpoint win over a registered pipeline, and then asks
        # for trust_remote_code although the code is installed. Only remote code may keep the key.
        if not _IS_REMOTE_CODE:
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:  # type: ignore[override]  # by keyword
        """Save the config, and with it how to load the checkpoint where the package is not installed.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: As for [`PreTrainedConfig.save_pretrained`].
        """
        # Classes that others derive from ours say themselves how they are loaded.
        own = vars(type(self)).get("shipped_classes")
        if self._auto_class is not None and own:
            self.auto_map = (getattr(self, "auto_map", None) or {}) | own
        if _IS_REMOTE_CODE:  # otherwise the pipeline saves its own code
            self._save_pipeline_code(save_directory)
        super().save_pretrained(save_directory, **kwargs)

    def _save_pipeline_code(self, folder: str | os.PathLike) -> None:
        """Copy the code of the checkpoint's own pipelines, which transformers copies with no model."""
        pipelines = getattr(self, "custom_pipelines", None) or {}
        os.makedirs(folder, exist_ok=True)
        for task, entry in list(pipelines.items()):
            try:
                pipeline_class = get_class_from_dynamic_module(entry["impl"], self._name_or_path)
            except (OSError, ValueError) as error:
                logger.warning("%s holds no pipeline %r: its code is not found (%s).", folder, task, error)
                del pipelines[task]
            else:
                custom_object_save(pipeline_class, folder)


SHIFT_PLACES = ("blockres", "block", "none")
DEFAULT_NUM_FRAMES = 8  # Sec. 4.1

RESNET_VARIANTS: dict[str, dict[str, Any]] = {
    "resnet18": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "resnet34": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3]},
    "resnet50": {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]},
    "resnet101": {
        "layer_type": "bottleneck",
        "hidden_sizes": [256, 512, 1024, 2048],
        "depths": [3, 4, 23, 3],
    },
}
# Networks of this package, which transformers does not know where the package is not installed.
_OWN_BACKBONES: dict[str, type[PreTrainedConfig]] = {
    EfficientNetLiteConfig.model_type: EfficientNetLiteConfig,
}
# Every backbone that has a name, and its config.
BACKBONE_VARIANTS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    **{name: (ResNetConfig, fields) for name, fields in RESNET_VARIANTS.items()},
    **{name: (EfficientNetLiteConfig, fields) for name, fields in EFFICIENTNET_LITE_VARIANTS.items()},
}


class BoundaryType(IntEnum):
    """The four kinds of synthesized video, numbered as in Sec. 3.2 of the paper."""

    DIFF_CLASS = 0
    SAME_CLASS = 1
    DIFF_SPEED = 2
    SAME_SPEED = 3

    @property
    def label(self) -> str:
        """Name used in configs, reports and pictures, for instance `"diff-class"`."""
        return self.name.lower().replace("_", "-")


@strict
class BSPConfig(ShippedConfig):
    r"""Configuration of a [`BSPModel`]; `BSPConfig()` is TSM-ResNet-50 on 8 frames.

    Args:
        backbone_config (`PreTrainedConfig` or `dict`, *optional*):
            The network that is pre-trained. Either an image network that every frame runs through (ResNet,
            RegNet, ConvNeXt, ConvNeXt V2, MobileNetV2, EfficientNet-Lite), with the shift in front of its
            residual branches; or a video model as it is (VideoMAE, TimeSformer, ViViT, V-JEPA 2), whose
            tokens are pooled to frame features. `None` means ResNet-50. A dict needs its `model_type`;
            without one it is taken for a ResNet.
        num_frames (`int`, *optional*):
            Frames in a snippet, the unit of feature extraction (Sec. 4.1). `None` means 8 for an image
            network, which runs on any number of frames, and what `backbone_config` says for a video model.
        shift_div (`int`, *optional*, defaults to 8):
            One channel in `shift_div` is shifted one frame back and one in `shift_div` one frame ahead; at
            least 2.
        shift_place (`str`, *optional*, defaults to `"blockres"`):
            Where frames exchange channels: `"blockres"` in front of the first convolution of a residual
            branch, `"block"` in front of the whole block, `"none"` nowhere (a plain 2-D network). All blocks
            shift that have a shortcut, every second one where the third stage has 23 blocks or more. That
            first convolution is the depthwise one in ConvNeXt and the expansion in MobileNetV2 and
            EfficientNet-Lite. Video models mix frames themselves; for them it is always `"none"`.
        shift_blocks (`list[int]`, *optional*):
            Numbers of the residual blocks that may shift, counted from 0 through all stages; of these, those
            shift that have a shortcut. `None` means all, by the rule above.
        classifier_dropout (`float`, *optional*, defaults to 0.5):
            Dropout on the pooled frame features in front of the classifier.
        initializer_range (`float`, *optional*, defaults to 0.001):
            Standard deviation of the classifier's initial weights; its bias starts at zero.
        boundary_threshold (`float`, *optional*, defaults to 0.5):
            Of a boundary classifier: the response, one minus the probability of same-speed, from which on a
            window is taken for a boundary. Pre-training sets it by unchanged clips that it held out.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.
        ValueError: If the backbone's `model_type` is unknown, or a video model takes no clips of
            `num_frames`.

    Example:
    ```python
    >>> from bsp_hf import BSPConfig
    >>> config = BSPConfig.from_backbone_name("resnet18", num_frames=16)
    >>> config.hidden_size
    512
    ```
    """

    model_type = "bsp"
    sub_configs: ClassVar[dict[str, Any]] = {"backbone_config": AutoConfig}
    shipped_classes: ClassVar[dict[str, str]] = {
        "AutoConfig": "configuration_bsp.BSPConfig",
        "AutoModel": "modeling_bsp.BSPModel",
        "AutoModelForVideoClassification": "modeling_bsp.BSPForBoundaryClassification",
    }

    backbone_config: PreTrainedConfig | dict | None = None
    num_frames: int | None = None
    shift_div: int = 8
    shift_place: str = "blockres"
    shift_blocks: list[int] | None = None
    classifier_dropout: float | int = 0.5
    initializer_range: float = 0.001
    boundary_threshold: float = 0.5

    def __post_init__(self, **kwargs: Any) -> None:
        self.backbone_config = _resolve_backbone(self.backbone_config)
        family = find_family(self.backbone_config)
        if self.num_frames is None:
            self.num_frames = family.num_frames(self.backbone_config) or DEFAULT_NUM_FRAMES
        if family.mixes_frames:
            self.shift_place = "none"
            self.shift_blocks = None
        if self.id2label is None and kwargs.get("num_labels") is None and self.num_labels is None:
            self.id2label = {kind.value: kind.label for kind in BoundaryType}
            self.label2id = {kind.label: kind.value for kind in BoundaryType}
        super().__post_init__(**kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds: everything that is not a default, classes, number of frames."""
        # transformers takes two unnamed classes for a default and leaves them out; here four is the default.
        # And 8 frames are the default of an image network only.
        kept = ("id2label", "label2id", "num_frames")
        return super().to_diff_dict() | {name: getattr(self, name) for name in kept}

    def validate_fields(self) -> None:
        """Check every field against its range.

        Raises:
            ValueError: If a field is out of range; the message names it.
        """
        for name, least in (("num_frames", 1), ("shift_div", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}.")
            if getattr(self, name) > 10_000:
                raise ValueError(f"{name}={getattr(self, name)} must be at most 10000.")
        if not 0 <= self.boundary_threshold <= 1:
            raise ValueError(f"boundary_threshold={self.boundary_threshold} must lie in 0 to 1.")
        find_family(self.backbone_config).check_config(self.backbone_config, int(self.num_frames or 0))
        if self.shift_place not in SHIFT_PLACES:
            raise ValueError(f"shift_place={self.shift_place!r} is not one of {', '.join(SHIFT_PLACES)}.")
        if self.shift_blocks is not None:
            numbers = list(self.shift_blocks)
            if not numbers or min(numbers) < 0 or len(set(numbers)) != len(numbers):
                raise ValueError(
                    f"shift_blocks={numbers} must be different numbers from 0 on, at least one; "
                    'shift_place="none" shifts nowhere.'
                )
        if not 0 <= self.classifier_dropout < 1:
            raise ValueError(f"classifier_dropout={self.classifier_dropout} must be in [0, 1).")

    @classmethod
    def from_backbone_name(cls, name: str, **kwargs: Any) -> "BSPConfig":
        """Build the config of an encoder by the name of its backbone; no weights are read.

        Args:
            name (`str`): One of `"resnet18"`, `"resnet34"`, `"resnet50"`, `"resnet101"`,
                `"efficientnet-lite0"` to `"efficientnet-lite4"`; or where the config of a backbone lies: a
                JSON file, a folder, or `org/name` on the Hub. Of a BSP checkpoint its backbone is taken.
            kwargs: Any other field of the config.

        Returns:
            `BSPConfig`: The config.

        Raises:
            ValueError: If the name is none of these, or the backbone is of no known kind.
            OSError: If there is no such model on the Hub.
        """
        if name in BACKBONE_VARIANTS:
            config_class, fields = BACKBONE_VARIANTS[name]
            return cls(backbone_config=config_class(**fields), **kwargs)
        if not os.path.exists(name) and "/" not in name:
            raise ValueError(
                f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONE_VARIANTS)}, "
                "or pass a JSON file, a folder or a Hub id with the config of any other."
            )
        backbone = AutoConfig.from_pretrained(name)
        return cls(backbone_config=getattr(backbone, "backbone_config", backbone), **kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the pooled frame feature."""
        return find_family(self.backbone_config).hidden_size(self.backbone_config)


def _resolve_backbone(backbone: PreTrainedConfig | dict | None) -> PreTrainedConfig:
    if backbone is None:
        return ResNetConfig()
    if isinstance(backbone, PreTrainedConfig):
        return backbone
    fields = dict(backbone)
    model_type = fields.pop("model_type", "resnet")
    return find_config_class(model_type, _OWN_BACKBONES, "backbone_config")(**fields)


def find_config_class(
    model_type: str, own: dict[str, type[PreTrainedConfig]], field: str
) -> type[PreTrainedConfig]:
    """Return the config class of a model type; ours come first, because transformers may not know them."""
    if model_type not in own and model_type not in CONFIG_MAPPING:
        raise ValueError(f"{field} names model_type={model_type!r}, which transformers does not know.")
    return own[model_type] if model_type in own else CONFIG_MAPPING[model_type]
