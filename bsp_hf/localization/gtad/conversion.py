"""Published G-TAD checkpoints to ours: the parameter names agree up to prefixes."""

from collections.abc import Mapping

from torch import Tensor

from bsp_hf.localization.localizer.state_dicts import check_state_dict

from .configuration_gtad import GTADConfig
from .modeling_gtad import GTADForTemporalActionLocalization

PARALLEL_PREFIX = "module."  # the published files were saved from a data-parallel wrapper
BACKBONE_PREFIXES = ("backbone1.", "backbone2.")


def convert_gtad_state_dict(original: Mapping[str, Tensor], config: GTADConfig) -> dict[str, Tensor]:
    """Rename the weights of the published code to those of [`GTADForTemporalActionLocalization`].

    Keys may have `module.` in front. Of a checkpoint file, read with `weights_only=True`, pass the entry
    `"state_dict"`. The tensors are shared.
    """
    bare = {key.removeprefix(PARALLEL_PREFIX): value for key, value in original.items()}
    converted = {f"gtad.{key}" if key.startswith(BACKBONE_PREFIXES) else key: bare[key] for key in bare}
    check_state_dict(converted, GTADForTemporalActionLocalization, config, "G-TAD")
    return converted
