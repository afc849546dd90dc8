"""Base of the package's models: remembers the revision that was loaded, refuses unknown arguments."""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from .provenance import HubOrigin

_Model = TypeVar("_Model", bound="HubPreTrainedModel")

# What trainers and pipelines of transformers pass to every model, whether or not it has a use for it.
GENERIC_ARGUMENTS = frozenset({"num_items_in_batch", "output_attentions", "return_loss", "use_cache"})


class WeightSizeError(ValueError, RuntimeError):
    """Weights of other sizes than the config's: a mistake in a folder; transformers raises RuntimeError."""


class HubPreTrainedModel(PreTrainedModel):
    """A model that knows what it was loaded from; see `loaded_revision` of `provenance`."""

    hub_origin: HubOrigin | None = None

    @classmethod
    def from_pretrained(
        cls: type[_Model], pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> _Model:
        """Load a model as [`PreTrainedModel.from_pretrained`] does, and remember what it was loaded from."""
        name = pretrained_model_name_or_path
        places = {key: kwargs[key] for key in ("revision", "cache_dir", "subfolder") if key in kwargs}
        place = os.path.join(str(name), kwargs.get("subfolder") or "").rstrip("/")
        try:
            loaded: Any = super().from_pretrained(name, *args, **kwargs)
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise WeightSizeError(
                f"{place}: config.json: it has other sizes than model.safetensors."
            ) from error
        except SafetensorError as error:
            raise OSError(
                f"{place}: the weights cannot be read from model.safetensors ({error}); is it complete?"
            ) from error
        if name is not None and not os.path.isdir(name):
            model = loaded[0] if kwargs.get("output_loading_info") else loaded
            model.hub_origin = model.base_model.hub_origin = HubOrigin.find(str(name), **places)
        return loaded


def refuse_unknown_arguments(model: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Raise a `TypeError` that names what `forward` was given and neither it nor a trainer knows.

    Args:
        model (`nn.Module`): The model, for the message.
        arguments (`Mapping`): What `forward` has no parameter for; [`GENERIC_ARGUMENTS`] are passed over.
    """
    unknown = sorted(name for name in arguments if name not in GENERIC_ARGUMENTS)
    if unknown:
        raise TypeError(
            f"{type(model).__name__} takes no argument {', '.join(unknown)}; look at the parameters of its "
            "forward for the right name, or leave the argument out."
        )
