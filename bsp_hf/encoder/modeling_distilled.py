"""Feature distillation: a student that matches an action and a boundary teacher (Fig. 3c)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_fusion import BSPDistilledConfig
from .modeling_bsp import BSPModel, BSPPreTrainedModel
from .modeling_two_head import mean_cross_entropy

TEACHERS = ("action", "boundary")


@dataclass
class BSPDistillationOutput(ModelOutput):
    """Output of [`BSPForFeatureDistillation`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar, the weighted sum of the losses below.
        logits (`torch.Tensor`): `(batch, num_labels)`, the mean of the frame logits.
        frame_logits (`torch.Tensor`): `(batch, num_frames, num_labels)`.
        action_feature_loss (`torch.Tensor`, *optional*): Scalar, `||f_v(x) - h_1(f_s(x))||^2`, averaged over
            the batch; present with the action teacher's features.
        boundary_feature_loss (`torch.Tensor`, *optional*): Scalar, `||f_b(x) - h_2(f_s(x))||^2`, likewise.
        classification_loss (`torch.Tensor`, *optional*): Scalar cross-entropy of the clips that have a label,
            present with `labels`; 0 where no clip has one.
        hidden_states (`tuple[torch.Tensor]`, *optional*): As in [`BSPModelOutput`].
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    frame_logits: Tensor | None = None
    action_feature_loss: Tensor | None = None
    boundary_feature_loss: Tensor | None = None
    classification_loss: Tensor | None = None
    hidden_states: tuple[Tensor | None, ...] | None = None


class FeatureProjection(nn.Linear):
    """A pointwise projection `h` of the student's feature to the space of a teacher's."""


class BSPDistilledModel(BSPModel):
    """The student of a distillation, an encoder like any other.

    Args:
        config (`BSPDistilledConfig`): The model's configuration.
    """

    config_class = BSPDistilledConfig
    _keys_to_ignore_on_load_unexpected = [  # noqa: RUF012
        r"^classifier\.",
        r"^action_projection\.",
        r"^boundary_projection\.",
    ]


class BSPForFeatureDistillation(BSPPreTrainedModel):
    """A student with its two pointwise projections and a classifier (Sec. 3.4).

    It knows its teachers by their features only, so nothing of them is trained or saved with it.

    Args:
        config (`BSPDistilledConfig`): The model's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf import BSPDistilledConfig, BSPForFeatureDistillation
    >>> student = BSPForFeatureDistillation(BSPDistilledConfig.from_backbone_name("resnet18"))
    >>> features = {"action": torch.zeros(2, 512), "boundary": torch.zeros(2, 512)}
    >>> clips, labels = torch.zeros(2, 8, 3, 64, 64), torch.tensor([0, 3])
    >>> output = student(clips, labels=labels, teacher_features=features)
    >>> output.loss.shape, output.logits.shape
    (torch.Size([]), torch.Size([2, 4]))
    ```
    """

    config_class = BSPDistilledConfig
    # The losses are plain means, so a trainer must not rescale them by the number of items.
    accepts_loss_kwargs = False

    def __init__(self, config: BSPDistilledConfig):
        super().__init__(config)
        self.num_labels = len(config.id2label or ())
        self.bsp = BSPDistilledModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        # The config fills in a width that was left out.
        width = config.hidden_size
        self.action_projection = FeatureProjection(width, config.action_feature_size or width)
        self.boundary_projection = FeatureProjection(width, config.boundary_feature_size or width)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FeatureProjection):
            # Choice: keeps the scale of the features. As small as a classifier's, the projections would let
            # hardly any gradient through to the student at first.
            init.normal_(module.weight, mean=0.0, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        teacher_features: Mapping[str, Tensor] | None = None,
        num_labels_expected: float | None = None,
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPDistillationOutput | tuple[Tensor, ...]:
        """Compare the student's features with its teachers', and classify the clips.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): `(batch,)`, int64; -100 for a clip without a label, which the
                cross-entropy leaves out.
            teacher_features (`Mapping[str, torch.Tensor]`, *optional*): Under `"action"` and `"boundary"` the
                pooled features of the same clips, `(batch, action_feature_size)` and `(batch,
                boundary_feature_size)`. No gradient reaches them.
            num_labels_expected (`float`, *optional*): What the sum of the cross-entropies is divided by; by
                default the number of labels in this batch.
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage, or of those named.
            return_dict (`bool`, *optional*): Return a [`BSPDistillationOutput`] (default) or a tuple.
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPDistillationOutput`: The loss of all that was given, logits and the single losses.

        Raises:
            ValueError: If the features of a teacher are missing or have another shape.
        """
        config = self.config
        return_dict = config.return_dict if return_dict is None else return_dict
        features = self.bsp(pixel_values, output_hidden_states=output_hidden_states, return_dict=True)
        frame_logits = self.classifier(self.dropout(features.last_hidden_state))
        logits = frame_logits.mean(1)
        losses: dict[str, Tensor] = {}
        terms = []
        if teacher_features is not None:
            projections = (self.action_projection, self.boundary_projection)
            weights = (config.action_feature_weight, config.boundary_feature_weight)
            for name, projection, weight in zip(TEACHERS, projections, weights, strict=True):
                error = self._squared_error(name, projection(features.pooler_output), teacher_features)
                losses[f"{name}_feature_loss"] = error
                terms.append(weight * error)
        if labels is not None:
            losses["classification_loss"] = mean_cross_entropy(logits, labels, num_labels_expected)
            terms.append(config.cross_entropy_weight * losses["classification_loss"])
        output = BSPDistillationOutput(
            loss=sum(terms) if terms else None,
            logits=logits,
            frame_logits=frame_logits,
            hidden_states=features.hidden_states,
            **losses,
        )
        return output if return_dict else output.to_tuple()

    def _squared_error(self, name: str, projected: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        wanted = features.get(name)
        if wanted is None or wanted.shape != projected.shape:
            got = "nothing" if wanted is None else tuple(wanted.shape)
            raise ValueError(
                f"teacher_features[{name!r}] must have the shape {tuple(projected.shape)}, got {got}; "
                f"{name}_feature_size of the config is the width of the teacher's feature."
            )
        error = (projected.float() - wanted.detach().float()).square()
        channels = error.sum(1) if self.config.squared_error_reduction == "sum" else error.mean(1)
        return channels.mean()


__all__ = [
    "TEACHERS",
    "BSPDistillationOutput",
    "BSPDistilledModel",
    "BSPForFeatureDistillation",
    "FeatureProjection",
]
