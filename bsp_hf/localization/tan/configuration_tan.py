"""Configuration of the 2D-TAN localizer, with the published settings as presets."""

from typing import Any

from huggingface_hub.dataclasses import strict

from bsp_hf.localization.grounding.configuration import GroundingConfig

from .proposal_map import proposal_layout

PROPOSAL_KINDS = ("pool", "conv")
_MOST_CLIPS = 1024
QUERY_ENCODERS = ("lstm", "sentence")


@strict
class TANConfig(GroundingConfig):
    r"""Configuration of a [`TANForVideoGrounding`]; the defaults are 16x16-K5L8-pool (Charades-STA).

    A query is scored against every clip span `(first, last)` of a `num_clips x num_clips` map.

    Args:
        feature_dim (`int`, *optional*, defaults to 4096): Width of a feature row.
        num_rows (`int`, *optional*, defaults to 256): Feature rows a video is averaged to before it enters
            the network.
        num_clips (`int`, *optional*, defaults to 16): Side of the proposal map. A clip is the mean of
            `num_rows / num_clips` projected rows.
        hidden_dim (`int`, *optional*, defaults to 512): Channels of the clips and of every map.
        proposals (`str`, *optional*, defaults to `"pool"`): How a span becomes a feature: `"pool"` takes the
            maximum over its clips, `"conv"` a chain of convolutions.
        scale_layers (`list[int]`, *optional*, defaults to `(16,)`): Steps of each scale. Scale s only holds
            spans that start on a multiple of `2**s`.
        query_encoder (`str`, *optional*, defaults to `"lstm"`): `"lstm"` reads word vectors, `"sentence"`
            takes one vector per query from a sentence encoder.
        word_dim (`int`, *optional*, defaults to 300): Width of a word vector (`"lstm"`) or of the sentence
            vector (`"sentence"`).
        text_hidden_dim (`int`, *optional*, defaults to 512): Width of the LSTM's state.
        num_text_layers (`int`, *optional*, defaults to 3): Layers of the one-directional LSTM.
        map_kernel_sizes (`list[int]`, *optional*, defaults to `(5,) * 8`): Kernel of each map convolution.
        map_paddings (`list[int]`, *optional*, defaults to `(16,) + (0,) * 7`): Padding of each map
            convolution. Together they must give the map its side back.
        min_iou (`float`, *optional*, defaults to 0.5): tIoU with the annotation at which a span's target
            leaves 0.
        max_iou (`float`, *optional*, defaults to 1.0): tIoU at which the target reaches 1.
        target_bias (`float`, *optional*, defaults to 0.0): Added to every positive target.
        nms_threshold (`float`, *optional*, defaults to 0.45): tIoU above which a lower-ranked span is
            suppressed in decoding.
        normalize_features (`bool`, *optional*, defaults to `True`): Scale each feature row to length 1 before
            the rows are averaged.
        text_encoder (`str`, *optional*): Text encoder of transformers that reads the queries: a Hub id, or
            the name of a subfolder of the localizer's folder. None for word vectors.
        encoder, encoder_copy, feature_fps, feature_stride_frames (*optional*): Which features it was trained
            on, see [`LocalizerConfig`].

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.

    Example:
    ```python
    >>> from bsp_hf.localization.tan.modeling_tan import TANConfig
    >>> TANConfig.activitynet_captions(feature_dim=2048).num_clips
    64

    ```
    """

    model_type = "tan"

    feature_dim: int = 4096
    num_rows: int = 256
    num_clips: int = 16
    hidden_dim: int = 512
    proposals: str = "pool"
    scale_layers: list[int] | tuple[int, ...] = (16,)
    query_encoder: str = "lstm"
    text_hidden_dim: int = 512
    num_text_layers: int = 3
    map_kernel_sizes: list[int] | tuple[int, ...] = (5,) * 8
    map_paddings: list[int] | tuple[int, ...] = (16,) + (0,) * 7
    min_iou: float | int = 0.5
    max_iou: float | int = 1.0
    target_bias: float | int = 0.0
    nms_threshold: float | int = 0.45
    normalize_features: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        for name in ("scale_layers", "map_kernel_sizes", "map_paddings"):
            if isinstance(getattr(self, name), tuple):
                setattr(self, name, list(getattr(self, name)))
        super().__post_init__(**kwargs)

    def validate_fields(self) -> None:
        """Check every field against its range and the fields against one another."""
        self.check_at_least(1, "feature_dim", "num_rows", "num_clips", "hidden_dim")
        self.check_at_least(1, "word_dim", "text_hidden_dim", "num_text_layers")
        self.check_choice("proposals", PROPOSAL_KINDS)
        self.check_choice("query_encoder", QUERY_ENCODERS)
        if self.num_clips > _MOST_CLIPS:
            raise ValueError(f"num_clips={self.num_clips} must be at most {_MOST_CLIPS}.")
        if self.num_rows % self.num_clips:
            raise ValueError(f"num_rows={self.num_rows} must be a multiple of num_clips={self.num_clips}.")
        if not 0 <= self.min_iou < self.max_iou:
            raise ValueError(f"min_iou={self.min_iou} must be in [0, max_iou={self.max_iou}).")
        if not 0 <= self.nms_threshold <= 1:
            raise ValueError(f"nms_threshold={self.nms_threshold} must be in [0, 1].")
        proposal_layout(self.num_clips, self.scale_layers)  # raises on a scale that holds no span
        self._validate_map_size()

    def _validate_map_size(self) -> None:
        if len(self.map_kernel_sizes) != len(self.map_paddings):
            raise ValueError(
                f"map_kernel_sizes has {len(self.map_kernel_sizes)} entries, "
                f"map_paddings {len(self.map_paddings)}; give one padding per kernel."
            )
        if any(size < 1 for size in self.map_kernel_sizes) or any(pad < 0 for pad in self.map_paddings):
            raise ValueError("map_kernel_sizes must be at least 1 and map_paddings at least 0.")
        growth = 2 * sum(self.map_paddings) - sum(size - 1 for size in self.map_kernel_sizes)
        if growth:
            raise ValueError(
                f"map convolutions with kernels {self.map_kernel_sizes} and paddings {self.map_paddings} "
                f"change the side of the map by {growth}; twice the sum of the paddings must equal the sum "
                "of (kernel - 1)."
            )

    @property
    def reads_sentence_vectors(self) -> bool:
        """True if a query is one vector rather than a sequence of words."""
        return self.query_encoder == "sentence"

    @property
    def rows_per_clip(self) -> int:
        """Feature rows that are averaged into one clip."""
        return self.num_rows // self.num_clips

    @classmethod
    def charades(cls, proposals: str = "pool", **kwargs: Any) -> "TANConfig":
        """Return the published Charades-STA setting, 16x16-K5L8 (40.94 / 22.85 pool, 42.80 / 23.25 conv)."""
        preset = {"nms_threshold": 0.5 if proposals == "conv" else 0.45}
        return cls(**{"proposals": proposals, **preset, **kwargs})

    @classmethod
    def activitynet_captions(cls, proposals: str = "pool", **kwargs: Any) -> "TANConfig":
        """Return the published ActivityNet Captions setting, 64x64-K9L4-pool, on 500-d C3D features."""
        preset = {
            "feature_dim": 500,
            "num_clips": 64,
            "scale_layers": (16, 8, 8),
            "map_kernel_sizes": (9,) * 4,
            "map_paddings": (16, 0, 0, 0),
            "nms_threshold": 0.5,
        }
        return cls(**{"proposals": proposals, **preset, **kwargs})

    @classmethod
    def tacos(cls, proposals: str = "pool", **kwargs: Any) -> "TANConfig":
        """Return the published TACoS setting, 128x128-K5L8, on 4096-d C3D features."""
        preset = {
            "num_clips": 128,
            "scale_layers": (16, 8, 8, 8),
            "min_iou": 0.3,
            "max_iou": 0.7,
            "nms_threshold": 0.5 if proposals == "conv" else 0.4,
        }
        return cls(**{"proposals": proposals, **preset, **kwargs})
