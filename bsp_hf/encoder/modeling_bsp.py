"""The BSP video encoder and its boundary classifier."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig
from transformers import initialization as init
from transformers.utils import ModelOutput

from .backbone_family import ShiftSettings
from .backbones import find_family
from .configuration_bsp import BSPConfig
from .pretrained_model import HubPreTrainedModel, refuse_unknown_arguments

# What `from_pretrained` passes on to the config, as far as it decides where that lies.
_CONFIG_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")

_Model = TypeVar("_Model", bound="BSPPreTrainedModel")


@dataclass
class BSPModelOutput(ModelOutput):
    """Output of [`BSPModel`].

    Args:
        last_hidden_state (`torch.Tensor`): `(batch, num_frames, hidden_size)`, spatially pooled features of
            every frame.
        pooler_output (`torch.Tensor`): `(batch, hidden_size)`, their mean: the snippet feature "before the
            fully connected layer" (Sec. 4.1).
        hidden_states (`tuple[torch.Tensor]`, *optional*): Of an image network the output of the stem and
            that of every stage, each `(batch, num_frames, channels, height, width)`; of a video model its
            own, each `(batch, num_tokens, hidden_size)`.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor | None, ...] | None = None


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
    hidden_states: tuple[Tensor | None, ...] | None = None


class BSPPreTrainedModel(HubPreTrainedModel):
    """Base of the models that hold one BSP encoder."""

    config_class = BSPConfig
    base_model_prefix = "bsp"
    main_input_name = "pixel_values"
    input_modalities = ("video",)  # type: ignore[assignment]  # a tuple, as in transformers' own models
    supports_gradient_checkpointing = True
    _no_split_modules = [  # noqa: RUF012
        "ResNetBasicLayer",
        "ResNetBottleNeckLayer",
        "EfficientNetLiteBlock",
    ]
    # Running statistics in bf16 stop moving long before they have converged. Tensors by name, because all of
    # a module would take the counter of batches with it, which is no float.
    _keep_in_fp32_modules_strict = {  # noqa: RUF012
        f"normalization.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    }

    # Models whose heads have weights of the same names, and what those predict.
    _other_heads: ClassVar[dict[str, str]] = {}

    def post_init(self) -> None:
        """Finish the set-up; of the tensors kept in float32, name only those that this model has."""
        super().post_init()
        names = list(self.state_dict())
        self._keep_in_fp32_modules_strict = {
            kept
            for kept in self._keep_in_fp32_modules_strict
            if any(name.endswith(f".{kept}") for name in names)
        }

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
        """Load a model from a folder or the Hub; where there is none, the error names ways to get one.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): A local folder, or `org/name` on the Hub.
            args: As for [`PreTrainedModel.from_pretrained`].
            kwargs: As for [`PreTrainedModel.from_pretrained`].

        Returns:
            `BSPPreTrainedModel`: The model, in evaluation mode.

        Raises:
            OSError: If there is no such model, or its folder lacks a file.
            ValueError: If the checkpoint holds another head than this class has.
        """
        try:
            cls._refuse_other_head(pretrained_model_name_or_path, kwargs)
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
    def _refuse_other_head(cls, source: str | os.PathLike | None, kwargs: dict[str, Any]) -> None:
        """Raise if a checkpoint's head has the same weights as ours by name, and another meaning."""
        config = kwargs.get("config")
        if source is None or not (cls._other_heads or isinstance(config, PreTrainedConfig)):
            return
        if not isinstance(config, PreTrainedConfig):
            options = {name: kwargs[name] for name in _CONFIG_OPTIONS if name in kwargs}
            config = cls.config_class.from_pretrained(config or source, **options)
        for name in set(config.architectures or ()) & set(cls._other_heads):
            raise ValueError(
                f"{source} is a {name}; its head {cls._other_heads[name]}, which {cls.__name__} would take "
                f"for its own. Load it with bsp_hf.{name}.from_pretrained, or its encoder with AutoModel."
            )

    @classmethod
    def from_backbone(cls: type[_Model], pretrained_model_name_or_path: str, **kwargs: Any) -> _Model:
        """Start from the weights of an image or video model, for instance `"microsoft/resnet-50"`.

        Args:
            pretrained_model_name_or_path (`str`): Folder or Hub id that `AutoModel` reads; a classification
                head in it is left behind. Of a BSP checkpoint its backbone is taken.
            kwargs: Fields of the model's config other than `backbone_config`.

        Returns:
            `BSPPreTrainedModel`: A model of this class whose backbone holds those weights.

        Raises:
            ValueError: If the checkpoint lacks weights of the backbone, or is of no kind that can be one.
        """
        source, report = AutoModel.from_pretrained(
            pretrained_model_name_or_path, dtype=torch.float32, output_loading_info=True
        )
        # Any: whatever AutoModel builds
        backbone: Any = source.backbone if isinstance(source, BSPModel) else source
        backbone.config.dtype = None  # or this would hold for the backbone of every model loaded later
        model = cls(cls.config_class(backbone_config=backbone.config, **kwargs))
        family = find_family(backbone.config)
        missing = [key for key in report["missing_keys"] if key.partition(".")[0] not in family.idle_parts]
        if missing:
            raise ValueError(
                f"{pretrained_model_name_or_path} lacks {len(missing)} weights of its "
                f"backbone, first {min(missing)}; it cannot initialise a BSP encoder."
            )
        weights = family.trim(backbone).state_dict()
        model.base_model.get_submodule("backbone").load_state_dict(weights)
        return model


class BSPModel(BSPPreTrainedModel):
    """A residual image network whose frames exchange channels, or a video model: clips in, features out.

    Args:
        config (`BSPConfig`): The encoder's configuration.

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
        self.family = find_family(config.backbone_config)
        self.backbone = self.family.build(config.backbone_config)
        self.family.check_shift(self.backbone, self._shift())
        self.gradient_checkpointing = False
        self._kept_parts: list[nn.Module] = []
        self.post_init()

    def _shift(self) -> ShiftSettings:
        config = self.config
        return ShiftSettings(config.shift_div, config.shift_place, config.shift_blocks)

    def freeze_blocks(self, num_blocks: int) -> None:
        """Keep the stem and the first blocks as they are, in training too.

        Their parameters get no gradients, and their batch norms stay in evaluation mode, so that what comes
        out of them does not change. A model that is loaded trains whole again.

        Args:
            num_blocks (`int`): How many blocks, counted through all stages; at least 1.

        Raises:
            ValueError: If there are fewer blocks, or the backbone is a video model.

        Example:
        ```python
        >>> from bsp_hf import BSPConfig, BSPModel
        >>> model = BSPModel(BSPConfig.from_backbone_name("resnet18"))
        >>> model.freeze_blocks(4)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
        10493440
        ```
        """
        if num_blocks < 1:
            raise ValueError(f"num_blocks={num_blocks} must be at least 1.")
        self._kept_parts = self.family.first_parts(self.backbone, num_blocks)
        for part in self._kept_parts:
            part.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "BSPModel":
        """Switch to training or evaluation; what [`freeze_blocks`] keeps stays in evaluation mode."""
        super().train(mode)
        for part in self._kept_parts:
            part.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Return the first module that sees the pixels."""
        return self.family.input_embeddings(self.backbone)

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPModelOutput | tuple[Tensor, ...]:
        """Encode clips.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`, normalised as the
                feature extractor does. An image network takes any number of frames and any size that it can
                halve, a video model what it was made for.
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage, or of those named, with None in place of the others.
            return_dict (`bool`, *optional*): Return a [`BSPModelOutput`] (default) or a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPModelOutput`: Frame features, snippet features and, if asked for, feature maps.

        Raises:
            ValueError: If `pixel_values` has another number of dimensions or channels, or a video model
                takes no clips of this length or size.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        num_channels = self.family.num_channels(config.backbone_config)
        if pixel_values.ndim != 5 or pixel_values.shape[2] != num_channels:
            raise ValueError(
                f"pixel_values must have the shape (batch, num_frames, {num_channels}, height, width), "
                f"got {tuple(pixel_values.shape)}. Stack the frames of each clip, and the clips."
            )
        output_hidden_states = (
            config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        return_dict = config.return_dict if return_dict is None else return_dict

        encoded = self.family.encode(
            self.backbone,
            pixel_values.to(self.dtype),
            self._shift(),
            keeps_hidden_states=bool(output_hidden_states),
            checkpoint=(
                self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None
            ),
        )
        output = BSPModelOutput(
            last_hidden_state=encoded.frame_features,
            pooler_output=encoded.frame_features.mean(1),
            hidden_states=select_hidden_states(encoded.hidden_states, output_hidden_states),
        )
        return output if return_dict else output.to_tuple()


def select_hidden_states(
    hidden_states: tuple[Tensor, ...] | None, wanted: bool | Sequence[int] | None
) -> tuple[Tensor | None, ...] | None:
    """Return as many hidden states, with None in place of those whose places are not among the wanted.

    Negative places count from the end; a bool keeps all.
    """
    if hidden_states is None or isinstance(wanted, bool) or wanted is None:
        return hidden_states
    kept = {place % len(hidden_states) for place in wanted}
    return tuple(states if place in kept else None for place, states in enumerate(hidden_states))


class BSPForBoundaryClassification(BSPPreTrainedModel):
    """A BSP encoder with a linear classifier on its pooled frame features (Sec. 3.3).

    With the default configuration the classes are the four boundary types; the same model with another
    number of labels is the paper's action classifier.

    Args:
        config (`BSPConfig`): The encoder's configuration; `num_labels` sizes the classifier.
    """

    # The loss is a plain mean, so a trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False
    _other_heads: ClassVar[dict[str, str]] = {"BSPForBoundaryRegression": "rates frames"}

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
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPClassifierOutput | tuple[Tensor, ...]:
        """Classify clips by their boundary type.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): `(batch,)`, int64, values of [`BoundaryType`].
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage, or of those named.
            return_dict (`bool`, *optional*): Return a [`BSPClassifierOutput`] (default) or a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPClassifierOutput`: Loss (with labels), logits and frame logits.
        """
        refuse_unknown_arguments(self, kwargs)
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
    _other_heads: ClassVar[dict[str, str]] = {"BSPForBoundaryClassification": "names classes"}

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
        output_hidden_states: bool | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BSPClassifierOutput | tuple[Tensor, ...]:
        """Rate the frames of clips.

        Args:
            pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`.
            labels (`torch.Tensor`, *optional*): float `(batch, num_frames)`, the heatmap, in [0, 1].
            output_hidden_states (`bool` or `Sequence[int]`, *optional*): Also return the feature maps of
                every stage, or of those named.
            return_dict (`bool`, *optional*): Return a [`BSPClassifierOutput`] (default) or a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `BSPClassifierOutput`: Loss (smooth L1, with labels) and `logits` `(batch, num_frames)`, the
            regressed heatmap.

        Raises:
            ValueError: If there is not one label for each frame.
        """
        refuse_unknown_arguments(self, kwargs)
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
