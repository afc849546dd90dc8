"""Linear actionness: is any step of an instructional video happening, every 0.2 seconds (Table 3).

The paper freezes the encoder and trains one linear layer on snippet features with binary labels.
"""

from huggingface_hub.dataclasses import strict

from bsp_hf.localization.localizer.config import LocalizerConfig


@strict
class ActionnessConfig(LocalizerConfig):
    r"""Configuration of a [`ActionnessModel`].

    Args:
        feature_dim (`int`, *optional*, defaults to 2048): Width of a snippet feature; 4096 for two ResNet-50
            streams.
        segment_s (`float`, *optional*, defaults to 0.2): Length of the segments that are classified, in
            seconds (Sec. 4.1).
        normalize (`bool`, *optional*, defaults to `False`): Scale each feature to length 1 first. Choice:
            off, the paper names no normalisation.
        positive_weight (`float`, *optional*, defaults to 1.0): Weight of a positive segment in the loss.
            Choice: 1, the paper names no balancing.
        step_threshold (`float`, *optional*, defaults to 0.5): Smallest probability inside a step, where
            segments are joined to steps.
        max_gap_s (`float`, *optional*, defaults to 0.4): Gaps of at most so many seconds inside a step are
            bridged.
        min_step_s (`float`, *optional*, defaults to 0.4): Steps shorter than that are dropped.
        encoder, encoder_copy, feature_fps, feature_stride_frames (*optional*): Which features it was trained
            on, see [`LocalizerConfig`].

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.
    """

    model_type = "actionness"
    default_label = "step"

    feature_dim: int = 2048
    segment_s: float | int = 0.2
    normalize: bool = False
    positive_weight: float | int = 1.0
    # Choice: the paper scores segments and joins none. Two segments are short, and more than a flicker.
    step_threshold: float | int = 0.5
    max_gap_s: float | int = 0.4
    min_step_s: float | int = 0.4

    def validate_fields(self) -> None:
        """Check every field against its range."""
        for name in ("feature_dim", "segment_s", "positive_weight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive.")
        self.check_at_least(0, "step_threshold", "max_gap_s", "min_step_s")
