"""Published G-TAD checkpoints to ours and back: the parameter names agree up to prefixes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .configuration_gtad import GTADConfig
from .modeling_gtad import GTADForTemporalActionLocalization

PARALLEL_PREFIX = "module."  # the published files were saved from a data-parallel wrapper
BACKBONE_PREFIXES = ("backbone1.", "backbone2.")


def convert_gtad_state_dict(original: Mapping[str, Tensor], config: GTADConfig) -> dict[str, Tensor]:
    """Rename the weights of the published code to those of [`GTADForTemporalActionLocalization`].

    Args:
        original (`Mapping[str, Tensor]`): State dict of the published code, with or without `module.` in
            front of every key. Of a checkpoint file, read with `weights_only=True`, pass the entry
            `"state_dict"`.
        config (`GTADConfig`): Of the model they are meant for.

    Returns:
        `dict[str, Tensor]`: State dict for `load_state_dict`; it shares the tensors.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape than the config asks for.
    """
    bare = {key.removeprefix(PARALLEL_PREFIX): value for key, value in original.items()}
    converted = {f"gtad.{key}" if key.startswith(BACKBONE_PREFIXES) else key: bare[key] for key in bare}
    with torch.device("meta"):
        expected = GTADForTemporalActionLocalization(config).state_dict()
    missing, unknown = sorted(set(expected) - set(converted)), sorted(set(converted) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"not a G-TAD state dict: {len(missing)} weights are missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}."
        )
    for key, value in converted.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"{key} has the shape {tuple(value.shape)}, the config asks for "
                f"{tuple(expected[key].shape)}. "
                "Check feature_dim, the widths, the bins and map_kernel_size."
            )
    return converted


def export_gtad_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of [`GTADForTemporalActionLocalization`] to those of the published code.

    Args:
        state_dict (`Mapping[str, Tensor]`): State dict of our model.

    Returns:
        `dict[str, Tensor]`: The same tensors under the published keys, `module.` in front.
    """
    return {PARALLEL_PREFIX + key.removeprefix("gtad."): value for key, value in state_dict.items()}
