"""Published 2D-TAN and LGI checkpoints to this package's state dicts and back; pure functions."""

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from .lgi import LGIConfig, LGIForVideoGrounding
from .tan import TANConfig, TANForVideoGrounding

StateDict = dict[str, torch.Tensor]

LGI_PARTS = ("video_enc", "query_enc", "vti_fn", "ta_reg_fn", "sqan")

# 1x1 convolutions of the published network that are linear layers here, with the axes behind the matrix.
TAN_POINTWISE = {"frame_layer.vis_conv.weight": 1, "fusion_layer.vis_conv.weight": 2, "pred_layer.weight": 2}

# A linear layer that every published LGI file holds and whose output nothing reads.
LGI_UNUSED = {"vti_fn.satt_fn.fc.weight": 2, "vti_fn.satt_fn.fc.bias": 1}


def convert_tan_state_dict(state_dict: Mapping[str, torch.Tensor], config: TANConfig) -> StateDict:
    """Convert a published 2D-TAN checkpoint, which is a bare state dict.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): What the `.pkl` file holds.
        config (`TANConfig`): The setting it was trained with, for instance `TANConfig.charades()`.

    Returns:
        `dict`: State dict for [`TANForVideoGrounding`]. Tensors share memory with the input.

    Raises:
        ValueError: If a key is missing or unknown, or a shape does not fit the config.
    """
    converted = {
        key: value.flatten(1) if key in TAN_POINTWISE and value.ndim == 2 + TAN_POINTWISE[key] else value
        for key, value in state_dict.items()
    }
    _check_fit(converted, _expected_shapes(TANForVideoGrounding, config), "2D-TAN")
    return converted


def export_tan_state_dict(state_dict: Mapping[str, torch.Tensor]) -> StateDict:
    """Convert a state dict of [`TANForVideoGrounding`] to the published layout.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): `model.state_dict()`.

    Returns:
        `dict`: A bare state dict that the published 2D-TAN code loads. Tensors share memory with the input.
    """
    return {
        key: value.reshape(*value.shape, *[1] * TAN_POINTWISE[key]) if key in TAN_POINTWISE else value
        for key, value in state_dict.items()
    }


def convert_lgi_checkpoint(
    checkpoint: Mapping[str, Mapping[str, torch.Tensor]], config: LGIConfig
) -> StateDict:
    """Convert a published LGI checkpoint, which holds one state dict per part of the network.

    Args:
        checkpoint (`Mapping`): State dicts under `"video_enc"`, `"query_enc"`, `"vti_fn"`, `"ta_reg_fn"` and
            `"sqan"`, perhaps also `"criterion"`, which holds no parameter.
        config (`LGIConfig`): The setting it was trained with; `vocab_size` must be that of its embedding.

    Returns:
        `dict`: State dict for [`LGIForVideoGrounding`]. The unused layer `vti_fn.satt_fn.fc` is left out.
        Tensors share memory with the input.

    Raises:
        ValueError: If a part or key is missing or unknown, or a shape does not fit the config.
    """
    unknown = sorted(set(checkpoint) - {*LGI_PARTS, "criterion"})
    missing = [part for part in LGI_PARTS if part not in checkpoint]
    if unknown or missing:
        raise ValueError(
            f"not an LGI checkpoint: parts {missing} are missing and {unknown} unknown; "
            f"expected a dict of the state dicts {', '.join(LGI_PARTS)}."
        )
    joined = {f"{part}.{key}": value for part in LGI_PARTS for key, value in checkpoint[part].items()}
    expected = _expected_shapes(LGIForVideoGrounding, config)
    dim = config.hidden_dim
    _check_fit(joined, {**expected, **{key: (dim,) * axes for key, axes in LGI_UNUSED.items()}}, "LGI")
    return {key: value for key, value in joined.items() if key not in LGI_UNUSED}


def export_lgi_checkpoint(state_dict: Mapping[str, torch.Tensor]) -> dict[str, StateDict]:
    """Convert a state dict of [`LGIForVideoGrounding`] to the published layout.

    Args:
        state_dict (`Mapping[str, torch.Tensor]`): `model.state_dict()`.

    Returns:
        `dict`: Five state dicts that the published LGI code loads. The layer that code never reads is zero.
        Other tensors share memory with the input.
    """
    weight = state_dict["ta_reg_fn.tatt.fc.weight"]
    unused = {key: weight.new_zeros((len(weight),) * axes) for key, axes in LGI_UNUSED.items()}
    parts: dict[str, StateDict] = {part: {} for part in LGI_PARTS}
    for key, value in {**state_dict, **unused}.items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    return parts


def _expected_shapes(
    model_class: type[PreTrainedModel], config: TANConfig | LGIConfig
) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = model_class(config)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def _check_fit(state_dict: StateDict, expected: dict[str, tuple[int, ...]], name: str) -> None:
    missing = [key for key in expected if key not in state_dict]
    unknown = [key for key in state_dict if key not in expected]
    if missing or unknown:
        raise ValueError(
            f"not a {name} checkpoint of this config: {len(missing)} keys missing {missing[:5]}, "
            f"{len(unknown)} unknown {unknown[:5]}. Check the preset and strip any wrapper prefix."
        )
    for key, shape in expected.items():
        if tuple(state_dict[key].shape) != shape:
            raise ValueError(
                f"{name} checkpoint: {key} has shape {tuple(state_dict[key].shape)}, "
                f"the config asks for {shape}."
            )


__all__ = [
    "convert_lgi_checkpoint",
    "convert_tan_state_dict",
    "export_lgi_checkpoint",
    "export_tan_state_dict",
]
