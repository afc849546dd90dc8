"""The BSP video encoder and its boundary classifier."""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_bsp import BSPConfig
from .modeling_tsm import checkpoint_block, run_residual_block, shifted_blocks

_Model = TypeVar("_Model", bound="BSPPreTrainedModel")


@dataclass
class BSPModelOutput(ModelOutput):
    """Output of [`BSPModel`].

    Args:
        last_hidden_state (`torch.Tensor`): `(batch, num_frames, hidden_size)`, spatially pooled features of
            every frame.
        pooler_output (`torch.Tensor`): `(batch, hidden_size)`, their mean: the snippet feature "before the
            fully connected layer" (Sec. 4.1).
        hidden_states (`tuple[torch.Tensor]`, *optional*): The stem's output and that of every stage, each
            `(batch, num_frames, channels, height, width)`.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class BSPClassifierOutput(ModelOutput):
    """Output of [`BSPForBoundaryClassification`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar cross-entropy, present when labels were given.
        logits (`torch.Tensor`): `(batch, num_labels)`, the mean of the frame logits.
        frame_logits (`torch.Tensor`): `(batch, num_frames, num_labels)`.
        hidden_states (`tuple[torch.Tensor]`, *optional*): As in [`BSPModelOutput`].
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    frame_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class BSPPreTrainedModel(PreTrainedModel):
    """Base of the models that hold one BSP encoder."""

    config_class = BSPConfig
    base_model_prefix = "bsp"
    main_input_name = "pixel_values"
    input_modalities = ("video",)  # type: ignore[assignment]  # a tuple, as in transformers' own models
    supports_gradient_checkpointing = True
    _no_split_modules = ["ResNetBasicLayer", "ResNetBottleNeckLayer"]  # noqa: RUF012  # declared so above us
    # Running statistics in bf16 stop moving long before they have converged. Tensors by name, because all of
    # a module would take the counter of batches with it, which is no float.
    _keep_in_fp32_modules_strict = [  # noqa: RUF012
        f"normalization.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                init.zeros_(module.bias)

    @classmethod
    def from_pretrained(
        cls: type[_Model], pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> _Model:
        """Load a model from a folder or the Hub, and say how to get one where there is none.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): A local folder, or `org/name` on the Hub.
            args: As for [`PreTrainedModel.from_pretrained`].
            kwargs: As for [`PreTrainedModel.from_pretrained`].

        Returns:
            `BSPPreTrainedModel`: The model, in evaluation mode.

        Raises:
            OSError: If there is no such model, or its folder lacks a file.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        except OSError as error:
            name = pretrained_model_name_or_path
            if name is None or os.path.isdir(name):
                raise
            raise OSError(
                f"There is no model {str(name)!r}: it is no local folder, and neither the Hub nor its cache "
                f"gave it ({error}). Pass a local folder or the org/name of a Hub repository, or make the "
                f"model: accelerate launch examples/pretrain.py --output_dir {name}"
            ) from error

    @classmethod
    def from_backbone(cls: type[_Model], pretrained_model_name_or_path: str, **kwargs: Any) -> _Model:
        """Start from the weights of an image model, for instance `"microsoft/resnet-50"`.

        Args:
            pretrained_model_name_or_path (`str`): Folder or Hub id that `AutoModel` reads; a classification
                head in it is left behind.
            kwargs: Fields of [`BSPConfig`] other than `backbone_config`.

        Returns:
            `BSPPreTrainedModel`: A model of this class whose backbone holds those weights.

        Raises:
            ValueError: If the checkpoint lacks weights of the backbone, or is no residual network.
        """
        backbone, report = AutoModel.from_pretrained(
            pretrained_model_name_or_path, dtype=torch.float32, output_loading_info=True
        )
        backbone.config.dtype = None  # or this would hold for the backbone of every model loaded later
        if report["missing_keys"]:
            raise ValueError(
                f"{pretrained_model_name_or_path} lacks {len(report['missing_keys'])} weights of its "
                f"backbone, first {sorted(report['missing_keys'])[0]}; it cannot initialise a BSP encoder."
            )
        model = cls(cls.config_class(backbone_config=backbone.config, **kwargs))
        model.base_model.get_submodule("backbone").load_state_dict(backbone.state_dict())
        return model


class BSPModel(BSPPreTrainedModel):
    """A 2-D residual network whose frames exchange channels: clips in, frame and snippet features out.

    Args:
        config (`BSPConfig`): The encoder's configuration.

    Raises:
        ValueError: If the backbone has no residual blocks in front of which frames could be shifted.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf import BSPConfig, BSPModel
    >>> model = BSPModel(BSPConfig.from_backbone_name("resnet18")).eval()
    >>> model(torch.zeros(1, 8, 3, 64, 64)).pooler_output.shape
    torch.Size([1, 512])
    ```
    """

    # A head saved with the encoder is no loss when only the encoder is loaded.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]  # noqa: RUF012

    def __init__(self, config: BSPConfig):
        super().__init__(config)
        self.backbone = AutoModel.from_config(config.backbone_config)
        _check_residual_stages(self.backbone)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the first module that sees the pixels, the convolution of the stem."""
        return self.backbone.embedder.embedder.convolution

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPModelOutput | tuple[Tensor, ...]:
        """Encode clips.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`, normalised as the
                feature extractor does. Any number of frames and any size that the backbone can halve.
            output_hidden_states (`bool`, *optional*): Also return the feature maps of every stage.
            return_dict (`bool`, *optional*): Return a [`BSPModelOutput`] (default) or a tuple.
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPModelOutput`: Frame features, snippet features and, if asked for, feature maps.

        Raises:
            ValueError: If `pixel_values` has another number of dimensions or channels.
        """
        config = self.config
        num_channels = config.backbone_config.num_channels
        if pixel_values.ndim != 5 or pixel_values.shape[2] != num_channels:
            raise ValueError(
                f"pixel_values must have the shape (batch, num_frames, {num_channels}, height, width), "
                f"got {tuple(pixel_values.shape)}. Stack the frames of each clip, and the clips."
            )
        output_hidden_states = (
            config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        return_dict = config.return_dict if return_dict is None else return_dict

        num_frames = pixel_values.shape[1]
        kept: list[Tensor] | None = [] if output_hidden_states else None
        hidden_states = self.backbone.embedder(pixel_values.flatten(0, 1).to(self.dtype))
        hidden_states = _keep_feature_maps(hidden_states, num_frames, kept)
        stages = self.backbone.encoder.stages
        flags = shifted_blocks([len(stage.layers) for stage in stages])
        for stage, stage_flags in zip(stages, flags, strict=True):
            for block, shifts in zip(stage.layers, stage_flags, strict=True):
                hidden_states = self._run_block(block, hidden_states, num_frames, shifts)
            hidden_states = _keep_feature_maps(hidden_states, num_frames, kept)

        frame_features = hidden_states.mean((2, 3)).unflatten(0, (-1, num_frames))
        output = BSPModelOutput(
            last_hidden_state=frame_features,
            pooler_output=frame_features.mean(1),
            hidden_states=None if kept is None else tuple(kept),
        )
        return output if return_dict else output.to_tuple()

    def _run_block(self, block: nn.Module, hidden_states: Tensor, num_frames: int, shifts: bool) -> Tensor:
        run = partial(
            run_residual_block,
            block,
            num_frames=num_frames,
            shift_div=self.config.shift_div,
            shift_place=self.config.shift_place if shifts else "none",
        )
        if self.gradient_checkpointing and self.training:
            return checkpoint_block(self._gradient_checkpointing_func, block, run, hidden_states)
        return run(hidden_states)


def _keep_feature_maps(maps: Tensor, num_frames: int, kept: list[Tensor] | None) -> Tensor:
    """Add the maps to those that are returned, and go on from there, so that gradients reach them."""
    if kept is None:
        return maps
    kept.append(maps.unflatten(0, (-1, num_frames)))
    return kept[-1].flatten(0, 1)


def _check_residual_stages(backbone: Any) -> None:  # Any: whatever AutoModel builds
    stages = getattr(getattr(backbone, "encoder", None), "stages", ())
    blocks = [block for stage in stages for block in getattr(stage, "layers", [stage])]
    parts = ("layer", "shortcut", "activation")
    if not blocks or not all(hasattr(block, part) for block in blocks for part in parts):
        raise ValueError(
            f"A backbone of model_type {backbone.config.model_type!r} has no residual stages to shift frames "
            "in front of; take a resnet or regnet."
        )


class BSPForBoundaryClassification(BSPPreTrainedModel):
    """A BSP encoder with a linear classifier on its pooled frame features (Sec. 3.3).

    With the default configuration the classes are the four boundary types; the same model with another
    number of labels is the paper's action classifier.

    Args:
        config (`BSPConfig`): The encoder's configuration; `num_labels` sizes the classifier.
    """

    # The loss is a plain mean, so a trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False

    def __init__(self, config: BSPConfig):
        super().__init__(config)
        self.num_labels = len(config.id2label or ())
        self.bsp = BSPModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPClassifierOutput | tuple[Tensor, ...]:
        """Classify clips by their boundary type.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): `(batch,)`, int64, values of [`BoundaryType`].
            output_hidden_states (`bool`, *optional*): Also return the feature maps of every stage.
            return_dict (`bool`, *optional*): Return a [`BSPClassifierOutput`] (default) or a tuple.
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPClassifierOutput`: Loss (with labels), logits and frame logits.
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
        features = self.bsp(pixel_values, output_hidden_states=output_hidden_states, return_dict=True)
        frame_logits = self.classifier(self.dropout(features.last_hidden_state))
        # The mean over frames comes before any softmax, as in TSM's "avg" consensus.
        logits = frame_logits.mean(1)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.float(), labels)
        output = BSPClassifierOutput(
            loss=loss, logits=logits, frame_logits=frame_logits, hidden_states=features.hidden_states
        )
        return output if return_dict else output.to_tuple()


class BSPForBoundaryRegression(BSPPreTrainedModel):
    """A BSP encoder that rates every frame by its nearness to a boundary (regression of Sec. 3.3).

    Args:
        config (`BSPConfig`): The encoder's configuration.
    """

    # The loss is a plain mean, so a trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False

    def __init__(self, config: BSPConfig):
        super().__init__(config)
        self.bsp = BSPModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPClassifierOutput | tuple[Tensor, ...]:
        """Rate the frames of clips.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): float `(batch, num_frames)`, the heatmap, in [0, 1].
            output_hidden_states (`bool`, *optional*): Also return the feature maps of every stage.
            return_dict (`bool`, *optional*): Return a [`BSPClassifierOutput`] (default) or a tuple.
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPClassifierOutput`: Loss (smooth L1, with labels) and `logits` `(batch, num_frames)`, the
            regressed heatmap.

        Raises:
            ValueError: If there is not one label for each frame.
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
        features = self.bsp(pixel_values, output_hidden_states=output_hidden_states, return_dict=True)
        logits = self.classifier(self.dropout(features.last_hidden_state)).squeeze(-1)
        loss = None
        if labels is not None:
            if labels.shape != logits.shape:
                raise ValueError(
                    f"labels must have the shape {tuple(logits.shape)}, one for each frame, "
                    f"got {tuple(labels.shape)}."
                )
            loss = nn.functional.smooth_l1_loss(logits.float(), labels.float())
        output = BSPClassifierOutput(loss=loss, logits=logits, hidden_states=features.hidden_states)
        return output if return_dict else output.to_tuple()


__all__ = [
    "BSPClassifierOutput",
    "BSPForBoundaryClassification",
    "BSPForBoundaryRegression",
    "BSPModel",
    "BSPModelOutput",
    "BSPPreTrainedModel",
]
