"""The three ways to fuse boundary and action features: two streams, two heads, distillation (Sec. 3.4)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import ModelOutput, logging

from .configuration_fusion import BSPDistilledConfig, BSPTwoHeadConfig, BSPTwoStreamConfig
from .modeling_bsp import BSPModel, BSPModelOutput, BSPPreTrainedModel, select_hidden_states
from .pretrained_model import refuse_unknown_arguments
from .provenance import identify_weights, loaded_revision, preprocessing_settings

logger = logging.get_logger(__name__)

# As everywhere in torch: a label that stands for none.
NO_ACTION = -100
TEACHERS = ("action", "boundary")


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
    """A BSP encoder that classifies boundary types and actions with two linear heads (Sec. 3.4).

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
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPTwoHeadOutput`: The joint loss (with labels), both logits and both losses.
        """
        refuse_unknown_arguments(self, kwargs)
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
    whose batch happens to hold none go on together. Labels of -100 stand for none; `num_expected` replaces
    the number of labels that the sum is divided by.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=NO_ACTION, reduction="sum")
    if num_expected is not None:
        return total / num_expected
    return total / (labels != NO_ACTION).sum().clamp(min=1)


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
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPDistillationOutput`: The loss of all that was given, logits and the single losses.

        Raises:
            ValueError: If the features of a teacher are missing or have another shape.
        """
        refuse_unknown_arguments(self, kwargs)
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


class BSPTwoStreamModel(BSPPreTrainedModel):
    """Encoders that see the same clips; what each makes of them, one behind the other (Sec. 3.4).

    Args:
        config (`BSPTwoStreamConfig`): Which encoders, in which order.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf import BSPConfig, BSPModel, BSPTwoStreamModel
    >>> action, boundary = (BSPModel(BSPConfig.from_backbone_name("resnet18")) for _ in range(2))
    >>> model = BSPTwoStreamModel.from_encoders({"action": action, "boundary": boundary})
    >>> model(torch.zeros(1, 8, 3, 64, 64)).pooler_output.shape
    torch.Size([1, 1024])
    ```
    """

    config_class = BSPTwoStreamConfig  # type: ignore[assignment]  # no trunk of its own, so no BSPConfig
    base_model_prefix = "two_stream"

    def __init__(self, config: BSPTwoStreamConfig):
        super().__init__(config)
        self.streams = nn.ModuleList(_build_stream(stream) for stream in config.build_stream_configs())
        self.post_init()

    @property
    def named_streams(self) -> dict[str, PreTrainedModel]:
        """The encoders by their names, in the order of their features."""
        return dict(zip(self.config.stream_names, self.streams, strict=True))

    def get_input_embeddings(self) -> nn.Module:
        """Return the first module that sees the pixels, of the first stream."""
        first: Any = self.streams[0]  # Any: mypy takes a module's attributes for tensors
        return first.get_input_embeddings()

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPModelOutput | tuple[Tensor, ...]:
        """Encode clips with every stream.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`, normalised as the feature
                extractor does.
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage of the first stream, then those of the second, and so on; or those named by
                their places in this row, with None in place of the others.
            return_dict (`bool`, *optional*): Return a [`BSPModelOutput`] (default) or a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPModelOutput`: `last_hidden_state` `(batch, num_frames, hidden_size)` and `pooler_output`
            `(batch, hidden_size)`, with `hidden_size` the sum over the streams. `last_hidden_state` is `None`
            if a stream gives tokens and not one feature a frame.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        return_dict = config.return_dict if return_dict is None else return_dict
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        outputs = [_run_stream(stream, pixel_values, bool(output_hidden_states)) for stream in self.streams]
        has_frames = all(output.last_hidden_state.shape[1] == pixel_values.shape[1] for output in outputs)
        hidden_states = None
        if output_hidden_states:
            maps = tuple(maps for output in outputs for maps in output.hidden_states)
            hidden_states = select_hidden_states(maps, output_hidden_states)
        output = BSPModelOutput(
            last_hidden_state=torch.cat([output.last_hidden_state for output in outputs], -1)
            if has_frames
            else None,
            pooler_output=torch.cat([pooled_features(output) for output in outputs], -1),
            hidden_states=hidden_states,
        )
        return output if return_dict else output.to_tuple()

    @classmethod
    def from_encoders(
        cls,
        encoders: Mapping[str, str | os.PathLike | PreTrainedModel],
        extractors: Mapping[str, Any] | None = None,
    ) -> "BSPTwoStreamModel":
        """Fuse trained encoders; their weights are copied, in float32.

        Args:
            encoders (`Mapping[str, str or PathLike or PreTrainedModel]`): The encoders by the names of their
                streams, in the order of their features: folders, Hub ids or models. A head is left behind.
            extractors (`Mapping[str, BSPFeatureExtractor]`, *optional*): The preprocessing of the streams;
                by default what is saved beside the encoder.

        Returns:
            `BSPTwoStreamModel`: The model. Its config records the id, the revision and a digest of the
            weights of every encoder.

        Raises:
            ValueError: If there is no encoder, or the encoders were trained on different preprocessing.
            OSError: If there is no such encoder.
        """
        models: dict[str, Any] = {}  # Any: whatever AutoModel builds
        preprocessing: dict[str, dict[str, Any] | None] = {}
        for name, source in encoders.items():
            if isinstance(source, PreTrainedModel):
                models[name] = source.base_model
            else:
                models[name] = AutoModel.from_pretrained(source, dtype=torch.float32).base_model
            if extractors is not None and name in extractors:
                preprocessing[name] = preprocessing_settings(extractors[name].to_dict())
            else:
                origin, revision = models[name].name_or_path, loaded_revision(models[name])
                preprocessing[name] = saved_preprocessing(origin, revision)
        check_preprocessing(preprocessing)
        config = cls.config_class(
            stream_configs=[model.config for model in models.values()],
            stream_names=list(models),
            stream_records=[identify_weights(model) for model in models.values()],
        )
        fused = cls(config)
        # The encoders keep their weights; these are copies, and loading them checks every shape.
        for stream, model in zip(fused.streams, models.values(), strict=True):
            stream.load_state_dict(model.state_dict())
        return fused.eval()

    @classmethod
    def from_backbone(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> "BSPTwoStreamModel":
        """Raise a `TypeError`: streams are whole encoders; see [`~BSPTwoStreamModel.from_encoders`]."""
        raise TypeError(f"{cls.__name__} starts from encoders, not from an image model: use from_encoders.")


def _build_stream(config: PreTrainedConfig) -> PreTrainedModel:
    # By model type, because transformers does not know ours where the package is not installed.
    own: dict[str, type[PreTrainedModel]] = {
        "bsp": BSPModel,
        "bsp-two-head": BSPTwoHeadModel,
        "bsp-distilled": BSPDistilledModel,
        "bsp-two-stream": BSPTwoStreamModel,
    }
    model_class = own.get(config.model_type)
    return AutoModel.from_config(config) if model_class is None else model_class(config)


def _run_stream(stream: Any, pixel_values: Tensor, output_hidden_states: bool) -> Any:
    # Any: a model of ours or another video model of transformers, whose outputs are classes of their own
    inputs = {stream.main_input_name: pixel_values.to(stream.dtype)}
    return stream(**inputs, output_hidden_states=output_hidden_states, return_dict=True)


def pooled_features(output: Any) -> Tensor:  # Any: the output of whatever video model
    """Return the snippet features `(batch, dim)` of a model's output: pooled, or the mean of the tokens."""
    pooled = output.get("pooler_output")
    return output.last_hidden_state.mean(1) if pooled is None else pooled


def saved_preprocessing(name: str, revision: str | None = None) -> dict[str, Any] | None:
    """Read the preprocessing saved beside an encoder (folder or Hub id): what changes a feature, or None."""
    if not name:
        return None
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name, revision=revision or "main")
    except OSError:
        return None
    return preprocessing_settings(settings)


def check_preprocessing(preprocessing: Mapping[str, dict[str, Any] | None]) -> None:
    """Raise a `ValueError` if encoders that will see the same pictures were trained to see different ones.

    Takes the settings of every encoder by its name, `None` where they are not known.
    """
    unknown = [name for name, settings in preprocessing.items() if settings is None]
    if unknown and len(preprocessing) > 1:
        logger.warning(
            f"No preprocessing is saved beside the encoder of {', '.join(unknown)}, so whether it agrees "
            "with that of the other streams was not checked; pass extractors= to check."
        )
    known = [(name, settings) for name, settings in preprocessing.items() if settings is not None]
    for name, settings in known[1:]:
        first_name, first = known[0]
        differences = [
            f"{key} is {first.get(key)!r} for {first_name} and {settings.get(key)!r} for {name}"
            for key in sorted(first.keys() | settings.keys())
            if first.get(key) != settings.get(key)
        ]
        if differences:
            raise ValueError(
                f"The encoders were trained on different preprocessing: {'; '.join(differences)}. Here all "
                "of them see the same pictures; train them alike, or, for streams, pass extractors= with "
                "what all shall see."
            )
