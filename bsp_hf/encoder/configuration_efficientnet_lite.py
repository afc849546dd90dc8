"""Configuration of EfficientNet-Lite, an image network without squeeze-and-excitation, and its five sizes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

_PER_STAGE = ("depths", "hidden_sizes", "kernel_sizes", "strides", "expand_ratios")
_DIVISOR = 8  # of every scaled width


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    r"""Configuration of an [`EfficientNetLiteModel`]; the defaults are EfficientNet-Lite0.

    Args:
        num_channels (`int`, *optional*, defaults to 3): Colours of a frame.
        stem_size (`int`, *optional*, defaults to 32): Channels of the first convolution.
        hidden_sizes (`list[int]`, *optional*, defaults to `(16, 24, 40, 80, 112, 192, 320)`):
            Channels that each stage gives.
        depths (`list[int]`, *optional*, defaults to `(1, 2, 2, 3, 3, 4, 1)`): Blocks of each stage.
        kernel_sizes (`list[int]`, *optional*, defaults to `(3, 3, 5, 3, 5, 5, 3)`):
            Of the depthwise convolutions of each stage; odd.
        strides (`list[int]`, *optional*, defaults to `(1, 2, 2, 2, 1, 2, 1)`):
            Of the first block of each stage, 1 or 2; the others have none.
        expand_ratios (`list[int]`, *optional*, defaults to `(1, 6, 6, 6, 6, 6, 6)`):
            Channels inside a block over those that enter it; with 1 there is no expansion.
        feature_size (`int`, *optional*, defaults to 1280): Channels of the last convolution, pooled.
        batch_norm_eps (`float`, *optional*, defaults to 0.001): Added to the variances.
        batch_norm_momentum (`float`, *optional*, defaults to 0.01):
            Share of a batch in the running statistics, as torch counts it; TensorFlow's 0.99.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.

    Example:
    ```python
    >>> from bsp_hf import EfficientNetLiteConfig
    >>> sum(EfficientNetLiteConfig().depths)
    16
    ```
    """

    model_type = "efficientnet-lite"

    num_channels: int = 3
    stem_size: int = 32
    hidden_sizes: list[int] | tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: list[int] | tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    kernel_sizes: list[int] | tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: list[int] | tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expand_ratios: list[int] | tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    feature_size: int = 1280
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    def __post_init__(self, **kwargs: Any) -> None:
        for name in _PER_STAGE:  # as JSON holds them, so that a saved config comes back equal
            setattr(self, name, list(getattr(self, name)))
        super().__post_init__(**kwargs)

    def validate_stages(self) -> None:
        """Check every field against its range.

        Raises:
            ValueError: If a field is out of range; the message names it.
        """
        lengths = {name: len(getattr(self, name)) for name in _PER_STAGE}
        if len(set(lengths.values())) != 1 or not self.depths:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"Each stage needs an entry in every list, got {found}; give them one length.")
        for name in ("num_channels", "stem_size", "feature_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        for name in ("depths", "hidden_sizes", "expand_ratios"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1 in every stage.")
        if any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes={self.kernel_sizes} must be odd numbers.")
        if set(self.strides) - {1, 2}:
            raise ValueError(f"strides={self.strides} must be 1 or 2.")


def scale_efficientnet_lite(width: float, depth: float) -> dict[str, Any]:
    """Return the fields of EfficientNet-Lite0 scaled as its authors scale it: the ends keep their width.

    Args:
        width (`float`): Factor of the channels; results are multiples of 8, rounded down by at most a tenth.
        depth (`float`): Factor of the blocks of a stage, rounded up; the first and the last keep their one.

    Returns:
        `dict`: Fields of [`EfficientNetLiteConfig`].
    """
    base = EfficientNetLiteConfig()
    first, *inner, last = base.depths
    return {
        "stem_size": base.stem_size,
        "hidden_sizes": _scale_widths(base.hidden_sizes, width),
        "depths": [first, *(math.ceil(blocks * depth) for blocks in inner), last],
        "feature_size": base.feature_size,
    }


def widen_efficientnet_lite(fields: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the fields of a network with all channels scaled, those of its ends too.

    Args:
        fields (`Mapping`): One of `EFFICIENTNET_LITE_VARIANTS`.
        factor (`float`): Factor of the channels, rounded as its authors round.

    Returns:
        `dict`: Fields of [`EfficientNetLiteConfig`].
    """
    stem_size, *hidden_sizes, feature_size = _scale_widths(
        [fields["stem_size"], *fields["hidden_sizes"], fields["feature_size"]], factor
    )
    widths = {"stem_size": stem_size, "hidden_sizes": hidden_sizes, "feature_size": feature_size}
    return {**fields, **widths}


def _scale_widths(widths: Sequence[int], factor: float) -> list[int]:
    scaled = []
    for width in widths:
        rounded = max(_DIVISOR, int(width * factor + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
        scaled.append(rounded if rounded >= 0.9 * width * factor else rounded + _DIVISOR)
    return scaled


# Width and depth of the published networks; lite0 has 4.7 M parameters with ImageNet's classifier.
EFFICIENTNET_LITE_VARIANTS: dict[str, dict[str, Any]] = {
    f"efficientnet-lite{number}": scale_efficientnet_lite(width, depth)
    for number, (width, depth) in enumerate([(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)])
}
