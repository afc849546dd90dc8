"""The two-stream fusion: any number of encoders side by side, their features concatenated (Fig. 3a)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from .configuration_fusion import BSPTwoStreamConfig
from .modeling_bsp import BSPModel, BSPModelOutput, BSPPreTrainedModel, select_hidden_states
from .modeling_distilled import BSPDistilledModel
from .modeling_two_head import BSPTwoHeadModel
from .provenance import identify_weights, relevant_settings

logger = logging.get_logger(__name__)


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
            kwargs: Ignored; accepted because pipelines and trainers pass more than one model takes.

        Returns:
            `BSPModelOutput`: `last_hidden_state` `(batch, num_frames, hidden_size)` and `pooler_output`
            `(batch, hidden_size)`, with `hidden_size` the sum over the streams. `last_hidden_state` is `None`
            if a stream gives tokens and not one feature a frame.
        """
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
        """Put trained encoders side by side; their weights are copied, in float32.

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
                preprocessing[name] = relevant_settings(extractors[name].to_dict())
            else:
                preprocessing[name] = saved_preprocessing(models[name].name_or_path)
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
        """Refuse, because the streams are whole encoders; see [`~BSPTwoStreamModel.from_encoders`].

        Args:
            pretrained_model_name_or_path (`str`): Not used.
            kwargs: Not used.

        Returns:
            `BSPTwoStreamModel`: Never.

        Raises:
            TypeError: Always.
        """
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
    """Return the snippet feature, as the feature pipeline takes it from a single model.

    Args:
        output (`ModelOutput`): What a video model gave.

    Returns:
        `torch.Tensor`: `(batch, dim)`, the pooled output, or the mean of the tokens.
    """
    pooled = output.get("pooler_output")
    return output.last_hidden_state.mean(1) if pooled is None else pooled


def saved_preprocessing(name: str) -> dict[str, Any] | None:
    """Read the preprocessing that is saved beside an encoder.

    Args:
        name (`str`): Folder or Hub id.

    Returns:
        `dict` or `None`: Its settings that change a feature's value; `None` where nothing is saved.
    """
    if not name:
        return None
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        return None
    return relevant_settings(settings)


def check_preprocessing(preprocessing: Mapping[str, dict[str, Any] | None]) -> None:
    """Refuse encoders that were trained to see different pictures, where all will see the same.

    Args:
        preprocessing (`Mapping[str, dict]`): The settings of every encoder by its name; `None` where they are
            not known.

    Raises:
        ValueError: If they differ; the message says in what.
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


__all__ = ["BSPTwoStreamModel", "check_preprocessing", "pooled_features", "saved_preprocessing"]
