"""Linear actionness: is any step of an instructional video happening, every 0.2 seconds (Table 3).

The paper freezes the encoder and trains one linear layer on snippet features with binary labels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput

from bsp_hf.encoder.pretrained_model import refuse_unknown_arguments
from bsp_hf.localization.localizer.model import LocalizerModel, check_shape

from .configuration_actionness import ActionnessConfig


@dataclass
class ActionnessOutput(ModelOutput):
    """Output of [`ActionnessModel`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar, if `labels` were given.
        logits (`torch.Tensor`): `(batch, num_segments)`, before the sigmoid.
        probabilities (`torch.Tensor`): Same shape, in [0, 1]; 0 in the padding.
        hidden_states (`tuple[torch.Tensor]`, *optional*): The rows that the linear layer reads, `(batch,
            num_segments, feature_dim)`, normalised if the config says so.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


class ActionnessModel(LocalizerModel):
    """One linear layer on frozen snippet features, trained with binary cross-entropy.

    Args:
        config (`ActionnessConfig`): The localizer's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf.localization.actionness.modeling_actionness import ActionnessConfig, ActionnessModel
    >>> model = ActionnessModel(ActionnessConfig(feature_dim=16))
    >>> model(features=torch.randn(1, 77, 16)).probabilities.shape
    torch.Size([1, 77])

    ```
    """

    config_class = ActionnessConfig
    input_modalities = "video"

    def __init__(self, config: ActionnessConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.feature_dim, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The loss is convex in a linear layer; zero starts at probability 1/2 at any scale of the features.
        if isinstance(module, nn.Linear):
            init.zeros_(module.weight)
            init.zeros_(module.bias)

    def forward(
        self,
        features: torch.Tensor,
        segment_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,  # Any: what trainers pass to every model
    ) -> ActionnessOutput | tuple:
        """Score every segment on its own.

        Args:
            features (`torch.Tensor`): `(batch, num_segments, feature_dim)`, see [`features_of_segments`];
                finite in the padding too.
            segment_mask (`torch.Tensor`, *optional*): `(batch, num_segments)`, 1 for a real segment; all ones
                if absent.
            labels (`torch.Tensor`, *optional*): `(batch, num_segments)`, 1 where a step is, else 0; see
                `bsp_hf.metrics.label_segments`. Ignored in the padding.
            output_hidden_states (`bool`, *optional*): Whether to return what the linear layer reads.
            return_dict (`bool`, *optional*): Whether to return a [`ActionnessOutput`] rather than a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `ActionnessOutput`: Logits, probabilities and, with `labels`, the loss, averaged over the real
            segments of the batch.

        Raises:
            ValueError: If a shape does not fit, or every segment is padding.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        advice = "Set feature_dim in the config."
        check_shape("features", features, "batch", "num_segments", config.feature_dim, advice=advice)
        for name, value in (("segment_mask", segment_mask), ("labels", labels)):
            if value is not None:
                check_shape(name, value, *features.shape[:2])
        if config.normalize:  # in float32 at least: in float16 a row of zeros would be divided by zero
            features = F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=2)
        rows = features.to(self.dtype)
        logits = self.classifier(rows).squeeze(2)
        mask = torch.ones_like(logits) if segment_mask is None else segment_mask.to(logits.dtype)
        loss = None
        if labels is not None:
            if not mask.any():
                raise ValueError("segment_mask marks every segment of the batch as padding.")
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            weight = mask.to(wide.dtype)
            summed = F.binary_cross_entropy_with_logits(
                wide,
                labels.to(wide.dtype),
                weight=weight,
                reduction="sum",
                pos_weight=wide.new_tensor(config.positive_weight),
            )
            loss = summed / weight.sum()
        probabilities = logits.sigmoid() * mask
        wants_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = (rows,) if wants_states else None
        output = ActionnessOutput(loss, logits, probabilities, states)
        return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()


def features_of_segments(
    features: ArrayLike, centers_s: ArrayLike, duration_s: float, segment_s: float = 0.2
) -> np.ndarray:
    """Return the feature of the nearest snippet for every segment of a video, one row per label.

    The rows are float32 `(ceil(duration_s / segment_s), feature_dim)`, as many as there are labels of
    `bsp_hf.metrics.label_segments`. Choice: the paper does not say how snippets meet 0.2 s segments. The
    nearest centre keeps one row per segment at any stride; of two equally near snippets the earlier one
    counts.
    """
    rows = np.asarray(features, dtype=np.float32)
    centers = np.asarray(centers_s, dtype=np.float64)
    if rows.ndim != 2 or centers.shape != rows.shape[:1] or not len(rows):
        raise ValueError(
            f"features have shape {rows.shape} and centers_s {centers.shape}; "
            "expected (num_snippets, feature_dim) and (num_snippets,), at least one snippet."
        )
    if (np.diff(centers) < 0).any():
        raise ValueError("centers_s must ascend; sort the snippets by time.")
    if not (duration_s > 0 and segment_s > 0):
        raise ValueError(f"duration_s={duration_s} and segment_s={segment_s} must be positive.")
    # A tail below a nanosecond makes no segment: 0.6 / 0.2 is 3 of them, however the division rounds.
    num_segments = max(1, math.ceil((duration_s - 1e-9) / segment_s))
    middles_s = (np.arange(num_segments) + 0.5) * segment_s
    later = np.searchsorted(centers, middles_s).clip(max=len(centers) - 1)
    earlier = (later - 1).clip(min=0)
    nearest = np.where(middles_s - centers[earlier] <= centers[later] - middles_s, earlier, later)
    return rows[nearest]
