"""Configuration of the G-TAD localizer, with the published settings as presets."""

from typing import Any

from huggingface_hub.dataclasses import strict

from bsp_hf.localization.localizer.config import LocalizerConfig

from .alignment import AlignmentGeometry

STEM_GROUPS = 4
# Twenty times what is published.
_MOST_STEPS, _MOST_SAMPLES, _MOST_EXPANSION = 4096, 1 << 24, 100
TIME_AXES = ("rescaled", "windows")


@strict
class GTADConfig(LocalizerConfig):
    r"""Configuration of a [`GTADForTemporalActionLocalization`]; the defaults are those for ActivityNet.

    Args:
        feature_dim (`int`, *optional*, defaults to 400): Width of a feature row; a multiple of 4.
        num_steps (`int`, *optional*, defaults to 100): Length T of the time axis: rows a video is resampled
            to (ActivityNet), or snippets in a window (THUMOS14).
        max_duration (`int`, *optional*, defaults to 100): Number D of anchor durations, 1 to D steps.
        hidden_dim (`int`, *optional*, defaults to 256): Channels of the graph blocks.
        aligned_dim (`int`, *optional*, defaults to 512): Channels of an aligned sub-graph behind the first
            convolution of the localization head.
        map_dim (`int`, *optional*, defaults to 128): Channels of the other map convolutions.
        num_neighbors (`int`, *optional*, defaults to 3): Nearest steps each step is joined with, itself among
            them.
        num_groups (`int`, *optional*, defaults to 32): Groups of the convolutions inside a graph block.
        group_width (`int`, *optional*, defaults to 4): Channels in such a group.
        num_inner_bins (`int`, *optional*, defaults to 32): Bins an anchor reads of the features.
        num_context_bins (`int`, *optional*, defaults to 4): Bins an anchor reads of the neighbours' mean;
            none with context style 0.
        context_style (`int`, *optional*, defaults to 1):
            Whose neighbours make the context (`goi_style` in the published code): 0 none, 1 those of the last
            features, 2 those found by both backbone blocks.
        inner_sampling_ratio (`int`, *optional*, defaults to 0): Samples per inner bin (`goi_samp`); 0 takes
            as many as the bin is long, rounded up.
        context_sampling_ratio (`int`, *optional*, defaults to 0): The same for context bins.
        expansion_ratio (`float`, *optional*, defaults to 0.5): Share of its length by which an anchor's
            region is extended on each side.
        map_kernel_size (`int`, *optional*, defaults to 1): Kernel of the third and fourth map convolution,
            odd; padded to keep the map's size.
        node_loss_weight (`float`, *optional*, defaults to 1.0): Factor of the start and end loss in the
            total.
        regression_loss_weight (`float`, *optional*, defaults to 10.0): Factor of the map's regression loss.
        classification_loss_weight (`float`, *optional*, defaults to 1.0):
            Factor of the map's classification loss.
        classification_smoothing (`float`, *optional*, defaults to 0.0):
            Added to the count of positives, and twice to the count of all, in the classification loss.
        gate_proposals (`bool`, *optional*, defaults to `True`): Decode only anchors between a start peak and
            an end peak; otherwise all of them.
        soft_nms_sigma (`float`, *optional*, defaults to 0.8): Width of the Gaussian in soft suppression.
        max_proposals (`int`, *optional*, defaults to 100): Most segments a video keeps.
        max_segment_frames (`int`, *optional*): Segments of at least this many frames score 0 in windowed
            decoding.
        time_axis (`str`, *optional*, defaults to `"rescaled"`): How a video meets the `num_steps` rows:
            `"rescaled"` interpolates all of it to that many (ActivityNet), `"windows"` cuts it into
            overlapping windows of so many snippets (THUMOS14).
        class_source (`str`, *optional*):
            Where the classes of a video come from, since G-TAD itself distinguishes none: `"encoder"` for the
            action head of the encoder in the localizer's folder, None for scores that are given with the
            video, without which every segment is an `"action"`.
        encoder, encoder_copy, feature_fps, feature_stride_frames (*optional*): Which features it was trained
            on, see [`LocalizerConfig`].

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.

    Example:
    ```python
    >>> from bsp_hf.localization.gtad.modeling_gtad import GTADConfig
    >>> GTADConfig.thumos14(feature_dim=4096).num_steps
    256
    ```
    """

    model_type = "gtad"
    default_label = "action"

    feature_dim: int = 400
    num_steps: int = 100
    max_duration: int = 100
    hidden_dim: int = 256
    aligned_dim: int = 512
    map_dim: int = 128
    num_neighbors: int = 3
    num_groups: int = 32
    group_width: int = 4
    num_inner_bins: int = 32
    num_context_bins: int = 4
    context_style: int = 1
    inner_sampling_ratio: int = 0
    context_sampling_ratio: int = 0
    expansion_ratio: float | int = 0.5
    map_kernel_size: int = 1
    node_loss_weight: float | int = 1.0
    regression_loss_weight: float | int = 10.0
    classification_loss_weight: float | int = 1.0
    classification_smoothing: float | int = 0.0
    gate_proposals: bool = True
    soft_nms_sigma: float | int = 0.8
    max_proposals: int = 100
    max_segment_frames: int | None = None
    time_axis: str = "rescaled"
    class_source: str | None = None

    def validate_fields(self) -> None:
        """Check every field against its range and the fields against one another."""
        self.check_at_least(1, "num_steps", "max_duration", "aligned_dim", "map_dim", "num_neighbors")
        self.check_at_least(1, "num_groups", "group_width", "num_inner_bins", "max_proposals")
        self.check_at_least(0, "num_context_bins", "inner_sampling_ratio", "context_sampling_ratio")
        self.check_at_least(0, "expansion_ratio", "node_loss_weight", "regression_loss_weight")
        self.check_at_least(0, "classification_loss_weight", "classification_smoothing")
        self.check_choice("time_axis", TIME_AXES)
        for name in ("feature_dim", "hidden_dim"):
            if getattr(self, name) < 1 or getattr(self, name) % STEM_GROUPS:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a positive multiple of {STEM_GROUPS}."
                )
        if self.max_duration > self.num_steps:
            raise ValueError(f"max_duration={self.max_duration} must not exceed num_steps={self.num_steps}.")
        if self.num_steps > _MOST_STEPS:  # every step is compared with every other
            raise ValueError(f"num_steps={self.num_steps} must be at most {_MOST_STEPS}.")
        if self.expansion_ratio > _MOST_EXPANSION:
            raise ValueError(f"expansion_ratio={self.expansion_ratio} must be at most {_MOST_EXPANSION}.")
        num_bins = self.num_inner_bins + 2 * self.num_context_bins
        num_samples = num_bins * max(1, self.inner_sampling_ratio, self.context_sampling_ratio)
        if self.num_steps * self.max_duration * num_samples > _MOST_SAMPLES:
            raise ValueError(
                f"num_steps={self.num_steps} times max_duration={self.max_duration} times {num_samples} "
                "(num_inner_bins and num_context_bins, times inner_sampling_ratio or context_sampling_ratio) "
                f"must be at most {_MOST_SAMPLES}."
            )
        if self.num_neighbors > self.num_steps:
            raise ValueError(
                f"num_neighbors={self.num_neighbors} must not exceed num_steps={self.num_steps}."
            )
        if self.context_style not in (0, 1, 2):
            raise ValueError(f"context_style={self.context_style} must be 0, 1 or 2.")
        if self.context_style and self.num_context_bins < 1:
            raise ValueError(
                f"num_context_bins={self.num_context_bins} must be at least 1 with context_style="
                f"{self.context_style}; use context_style=0 for no context."
            )
        if self.class_source not in (None, "encoder"):
            raise ValueError(f"class_source={self.class_source!r} must be 'encoder' or None.")
        if self.map_kernel_size < 1 or self.map_kernel_size % 2 == 0:
            raise ValueError(f"map_kernel_size={self.map_kernel_size} must be odd and positive.")
        if not self.soft_nms_sigma > 0:
            raise ValueError(f"soft_nms_sigma={self.soft_nms_sigma} must be above 0.")

    @property
    def geometry(self) -> AlignmentGeometry:
        """Regions and bins the localization head reads."""
        return AlignmentGeometry(
            num_steps=self.num_steps,
            max_duration=self.max_duration,
            num_inner_bins=self.num_inner_bins,
            num_context_bins=self.num_context_bins if self.context_style else 0,
            inner_sampling_ratio=self.inner_sampling_ratio,
            context_sampling_ratio=self.context_sampling_ratio,
            expansion_ratio=float(self.expansion_ratio),
        )

    @classmethod
    def activitynet(cls, **kwargs: Any) -> "GTADConfig":
        """Return the published ActivityNet-1.3 setting (34.09 average mAP with 400-d features).

        It was trained by Adam with learning rate 4e-3 and weight decay 1e-4, batches of 16, 10 epochs, the
        rate divided by 10 every 5 epochs, no clipping; the epoch of lowest validation loss is kept.
        """
        return cls(**kwargs)

    @classmethod
    def thumos14(cls, **kwargs: Any) -> "GTADConfig":
        """Return the published THUMOS14 setting: windows of 256 snippets of 5 frames, half overlapping.

        It was trained by Adam with learning rate 4e-5 and weight decay 1e-4, batches of 8, 10 epochs, the
        rate divided by 10 every 5 epochs, gradients clipped to norm 1; the last epoch is kept.
        """
        preset = {
            "feature_dim": 2048,
            "num_steps": 256,
            "max_duration": 64,
            "num_inner_bins": 16,
            "num_context_bins": 16,
            "map_kernel_size": 3,
            # The published THUMOS14 code puts the factor 10 on the other map term than the ActivityNet code.
            "regression_loss_weight": 1.0,
            "classification_loss_weight": 10.0,
            "classification_smoothing": 10.0,
            "gate_proposals": False,
            "soft_nms_sigma": 0.46,
            "max_proposals": 200,
            "max_segment_frames": 300,
            "time_axis": "windows",
        }
        return cls(**{**preset, **kwargs})
