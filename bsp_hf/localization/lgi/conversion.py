"""Published LGI checkpoints to state dicts of this package."""

from collections.abc import Mapping

import torch

from bsp_hf.localization.localizer.state_dicts import StateDict, check_state_dict

from .configuration_lgi import LGIConfig
from .modeling_lgi import LGIForVideoGrounding

LGI_PARTS = ("video_enc", "query_enc", "vti_fn", "ta_reg_fn", "sqan")
# A linear layer that every published LGI file holds and whose output nothing reads.
LGI_UNUSED = {"vti_fn.satt_fn.fc.weight": 2, "vti_fn.satt_fn.fc.bias": 1}


def convert_lgi_checkpoint(
    checkpoint: Mapping[str, Mapping[str, torch.Tensor]], config: LGIConfig
) -> StateDict:
    """Convert a published LGI checkpoint, which holds one state dict per part of the network.

    Besides the parts it may hold `"criterion"`, which has no parameter. The unused layer is left out; tensors
    share memory with the input.
    """
    unknown = sorted(set(checkpoint) - {*LGI_PARTS, "criterion"})
    missing = [part for part in LGI_PARTS if part not in checkpoint]
    if unknown or missing:
        raise ValueError(
            f"not an LGI checkpoint: parts {missing} are missing and {unknown} unknown; "
            f"expected a dict of the state dicts {', '.join(LGI_PARTS)}."
        )
    joined = {f"{part}.{key}": value for part in LGI_PARTS for key, value in checkpoint[part].items()}
    unused = {key: (config.hidden_dim,) * axes for key, axes in LGI_UNUSED.items()}
    check_state_dict(joined, LGIForVideoGrounding, config, "LGI", unused)
    return {key: value for key, value in joined.items() if key not in LGI_UNUSED}
