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
    """A grounding network: its classes, published settings, samples and decoding.

    Args:
        config_class (`type`): The config; each preset is one of its class methods.
        model_class (`type`): The model.
        presets (`Mapping[str, Hyperparameters]`): Published hyper-parameters by name of the preset.
        rule (`str`): The rule of its published recall, see `evaluate_grounding`; under that of 2D-TAN moments
            are cut at the end of their video.
        make_sample (`Callable`): Makes a [`GroundingSample`] of config, features, query, duration in seconds,
            moment in seconds (or None) and random generator (or None).
        decode (`Callable`): Makes a [`Detections`] a query of config, output, durations in seconds and the
            largest number of moments.
        measure_losses (`Callable`, *optional*): The loss of every query of config, output and labels, for a
            published schedule that watches it.
        vector_fields (`Mapping`, *optional*): Config fields with which it reads vectors of
            words in place of an embedding of its own.
    """

    config_class: type[GroundingConfig]
    model_class: type[PreTrainedModel]
    presets: Mapping[str, Hyperparameters]
    rule: str
    make_sample: Callable[..., GroundingSample]
    # Any: config and output of the network
    decode: Callable[[Any, Any, Sequence[float], int], list[Detections]]
    measure_losses: Callable[[Any, Any, Tensor], list[float]] | None = None  # Any: as above
    vector_fields: Mapping[str, Any] = field(default_factory=dict)  # Any: the value of a config field
