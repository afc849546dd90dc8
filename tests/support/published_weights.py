"""State dicts of this package under the names of the published checkpoints, to convert them again."""

from collections.abc import Mapping

from torch import Tensor

from bsp_hf.localization.gtad.conversion import PARALLEL_PREFIX
from bsp_hf.localization.lgi.conversion import LGI_PARTS, LGI_UNUSED
from bsp_hf.localization.tan.conversion import TAN_POINTWISE


def export_gtad_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {PARALLEL_PREFIX + key.removeprefix("gtad."): value for key, value in state_dict.items()}


def export_tan_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: value.reshape(*value.shape, *[1] * TAN_POINTWISE[key]) if key in TAN_POINTWISE else value
        for key, value in state_dict.items()
    }


def export_lgi_checkpoint(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict a part, the layer whose output nothing reads zero."""
    weight = state_dict["ta_reg_fn.tatt.fc.weight"]
    unused = {key: weight.new_zeros((len(weight),) * axes) for key, axes in LGI_UNUSED.items()}
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in LGI_PARTS}
    for key, value in {**state_dict, **unused}.items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    return parts
