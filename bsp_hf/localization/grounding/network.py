"""Differences between the grounding networks, for training and for the pipeline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.hyperparameters import Hyperparameters

from .configuration import GroundingConfig
from .samples import GroundingSample


@dataclass(frozen=True)
class GroundingNetwork:
    """A grounding network: its classes, published settings, samples and decoding."""

    config_class: type[GroundingConfig]  # each preset is one of its class methods
    model_class: type[PreTrainedModel]
    presets: Mapping[str, Hyperparameters]  # published hyper-parameters by the preset's name
    # of its published recall, see `evaluate_grounding`; that of 2D-TAN cuts moments at the video's end
    rule: str
    # from config, features, query, duration in seconds, moment in seconds or None, generator or None
    make_sample: Callable[..., GroundingSample]
    # Any: config and output of the network
    # from config, output, durations in seconds and the most moments, to `Detections` for each query
    decode: Callable[[Any, Any, Sequence[float], int], list[Detections]]
    # each query's loss from config, output and labels, for a published schedule that watches it
    measure_losses: Callable[[Any, Any, Tensor], list[float]] | None = None  # Any: as above
    # config fields with which it reads word vectors in place of an embedding of its own
    vector_fields: Mapping[str, Any] = field(default_factory=dict)  # Any: the value of a config field
