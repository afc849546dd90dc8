"""A second loss that keeps the features a model starts with, so that it forgets less of what they knew."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from .choices import FEATURE_ERRORS


class StartFeatures:
    """How far the features of a model in training have gone from those it started with.

    A frozen copy of the encoder, without its shift, encodes the same frames. Compared are the frame features:
    the shift may move what it likes between frames, as long as each still looks like itself.

    Make it before the model is trained or a checkpoint is loaded. The model's own features are kept from its
    forward pass, so that it runs once. The error is `"cosine"` for 1 - cosine, or `"mse"` for the squared
    error, averaged over the channels; both are averaged over frames and clips.
    """

    def __init__(self, model: PreTrainedModel, error: str = "cosine"):
        if error not in FEATURE_ERRORS:
            raise ValueError(f"error={error!r} is not one of {', '.join(FEATURE_ERRORS)}.")
        self.error = error
        encoder: Any = model.base_model
        self.start: Any = copy.deepcopy(encoder).eval().requires_grad_(False)
        self.start.config.shift_place = "none"
        self._features: Tensor | None = None
        encoder.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._features = output.last_hidden_state if module.training else None

    def to(self, device: torch.device) -> "StartFeatures":
        """Move the frozen copy to a device."""
        self.start.to(device)
        return self

    def loss(self, pixel_values: Tensor) -> Tensor:
        """Compare the features of the last forward pass, of these clips, with those of the start; float32."""
        features, self._features = self._features, None
        with torch.no_grad():
            wanted = self.start(pixel_values, return_dict=True).last_hidden_state.float()
        if features is None or features.shape != wanted.shape:
            found = "nothing" if features is None else tuple(features.shape)
            raise RuntimeError(
                f"loss() needs the model's frame features {tuple(wanted.shape)} of these clips, found "
                f"{found}; run the model on them in training mode first."
            )
        if self.error == "mse":
            return F.mse_loss(features.float(), wanted)
        return 1 - F.cosine_similarity(features.float(), wanted, dim=-1).mean()
