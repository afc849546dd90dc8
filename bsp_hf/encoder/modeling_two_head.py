"""The two-head fusion: one trunk that learns boundaries and actions together (Fig. 3b)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .configuration_fusion import BSPTwoHeadConfig
from .modeling_bsp import BSPModel, BSPPreTrainedModel

# As everywhere in torch: a label that stands for none.
NO_ACTION = -100


@dataclass
class BSPTwoHeadOutput(ModelOutput):
    """Output of [`BSPForTwoHeadClassification`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar, the weighted sum of the losses below.
        logits (`torch.Tensor`): `(batch, num_labels)`, of the boundary types; the mean of the frame logits.
        action_logits (`torch.Tensor`): `(batch, num_actions)`.
        frame_logits (`torch.Tensor`): `(batch, num_frames, num_labels)`.
        boundary_loss (`torch.Tensor`, *optional*): Scalar cross-entropy, present with `labels`.
        action_loss (`torch.Tensor`, *optional*): Scalar cross-entropy of the clips that have an action,
            present with `action_labels`; 0 where no clip has one.
        hidden_states (`tuple[torch.Tensor]`, *optional*): As in [`BSPModelOutput`].
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    action_logits: Tensor | None = None
    frame_logits: Tensor | None = None
    boundary_loss: Tensor | None = None
    action_loss: Tensor | None = None
    hidden_states: tuple[Tensor | None, ...] | None = None


class BSPTwoHeadModel(BSPModel):
    """The trunk of a two-head model, an encoder like any other.

    Args:
        config (`BSPTwoHeadConfig`): The model's configuration.
    """

    config_class = BSPTwoHeadConfig
    _keys_to_ignore_on_load_unexpected = [r"^classifier\.", r"^action_classifier\."]  # noqa: RUF012


class BSPForTwoHeadClassification(BSPPreTrainedModel):
    """A BSP encoder that tells boundary types and actions apart with two linear heads (Sec. 3.4).

    Args:
        config (`BSPTwoHeadConfig`): The model's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf import BSPForTwoHeadClassification, BSPTwoHeadConfig
    >>> config = BSPTwoHeadConfig.from_backbone_name("resnet18", action_names=["run", "walk", "wave"])
    >>> model = BSPForTwoHeadClassification(config)
    >>> labels, action_labels = torch.tensor([0, 3]), torch.tensor([-100, 2])  # the first joins two actions
    >>> output = model(torch.zeros(2, 8, 3, 64, 64), labels=labels, action_labels=action_labels)
    >>> output.logits.shape, output.action_logits.shape
    (torch.Size([2, 4]), torch.Size([2, 3]))
    ```
    """

    config_class = BSPTwoHeadConfig
    # The losses are plain means, so a trainer must not rescale them by the number of items.
    accepts_loss_kwargs = False

    def __init__(self, config: BSPTwoHeadConfig):
        super().__init__(config)
        self.num_labels = len(config.id2label or ())
        self.bsp = BSPTwoHeadModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.action_classifier = nn.Linear(config.hidden_size, len(config.action_names or ()))
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        action_labels: Tensor | None = None,
        num_actions_expected: float | None = None,
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPTwoHeadOutput | tuple[Tensor, ...]:
        """Classify clips by their boundary type and by their action.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): `(batch,)`, int64, values of [`BoundaryType`].
            action_labels (`torch.Tensor`, *optional*): `(batch,)`, int64, positions in
                `config.action_names`; -100 for a clip that shows no single action, which the action loss
                leaves out.
            num_actions_expected (`float`, *optional*): What the sum of the action losses is divided by; by
                default the number of clips of this batch that have an action. A number that is the same for
                every batch makes the gradients of several processes or accumulated batches add up to those
                of one large batch.
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage, or of those named.
            return_dict (`bool`, *optional*): Return a [`BSPTwoHeadOutput`] (default) or a tuple.
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPTwoHeadOutput`: The joint loss (with labels), both logits and both losses.
        """
        config = self.config
        return_dict = config.return_dict if return_dict is None else return_dict
        features = self.bsp(pixel_values, output_hidden_states=output_hidden_states, return_dict=True)
        dropped = self.dropout(features.last_hidden_state)
        frame_logits = self.classifier(dropped)
        logits, action_logits = frame_logits.mean(1), self.action_classifier(dropped).mean(1)
        boundary_loss = action_loss = None
        terms = []
        if labels is not None:
            boundary_loss = F.cross_entropy(logits.float(), labels)
            terms.append(config.boundary_loss_weight * boundary_loss)
        if action_labels is not None:
            action_loss = mean_cross_entropy(action_logits, action_labels, num_actions_expected)
            terms.append(config.action_loss_weight * action_loss)
        output = BSPTwoHeadOutput(
            loss=sum(terms) if terms else None,
            logits=logits,
            action_logits=action_logits,
            frame_logits=frame_logits,
            boundary_loss=boundary_loss,
            action_loss=action_loss,
            hidden_states=features.hidden_states,
        )
        return output if return_dict else output.to_tuple()


def mean_cross_entropy(logits: Tensor, labels: Tensor, num_expected: float | None = None) -> Tensor:
    """Average the cross-entropy over the clips that have a label.

    torch's own mean is NaN where no clip has one; this is 0, and still a part of the graph, so that processes
    whose batch happens to hold none go on together.

    Args:
        logits (`torch.Tensor`): `(batch, num_classes)`.
        labels (`torch.Tensor`): `(batch,)`, int64; -100 for a clip without a label.
        num_expected (`float`, *optional*): Divide the sum by this instead of by the number of labels.

    Returns:
        `torch.Tensor`: float32 scalar.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=NO_ACTION, reduction="sum")
    if num_expected is not None:
        return total / num_expected
    return total / (labels != NO_ACTION).sum().clamp(min=1)


__all__ = [
    "NO_ACTION",
    "BSPForTwoHeadClassification",
    "BSPTwoHeadModel",
    "BSPTwoHeadOutput",
    "mean_cross_entropy",
]
