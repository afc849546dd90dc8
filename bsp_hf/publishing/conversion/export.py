"""Writes an encoder as a checkpoint file of TSM's own code or of mmaction2."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, ResNetConfig

from bsp_hf.encoder.configuration_bsp import BSPConfig
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.modeling_tsm import shifted_blocks
from bsp_hf.files import atomic_file
from bsp_hf.localization.localizer.state_dicts import shorten_names
from bsp_hf.publishing.folder import name_architecture

from .key_layouts import get_layout, pair_keys
from .resnet_keys import HIDDEN_FIELDS

EXPORT_LAYOUTS = ("mit-han-lab", "mmaction2")


def export_tsm_state_dict(model: PreTrainedModel, layout: str = "mit-han-lab") -> dict[str, Tensor]:
    """Return an encoder's tensors, in the same memory, under the keys of another code base's bare network."""
    if layout not in EXPORT_LAYOUTS:
        raise ValueError(f"layout {layout!r} cannot be written; choose one of {', '.join(EXPORT_LAYOUTS)}.")
    if type(model) not in (BSPModel, BSPForBoundaryClassification):
        raise ValueError(
            f"a {type(model).__name__} has no counterpart in {layout}; give a BSPModel or a "
            "BSPForBoundaryClassification, for instance its part `bsp`."
        )
    _find_exportable_backbone(model.config, layout)
    keys = get_layout(layout)
    classifier = keys.classifiers[0] if model.config.classifier_dropout > 0 else keys.classifiers[-1]
    names = pair_keys(model, keys, model.config.shift_place, classifier)
    return {names[key]: tensor.detach() for key, tensor in model.state_dict().items()}


def export_checkpoint(folder: str | Path, path: str | Path, layout: str = "mit-han-lab") -> Path:
    """Write an encoder's folder as a checkpoint file of another code base.

    TSM's test script reads architecture, shift and modality from the file name, so give the file one such as
    `TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth`.

    Args:
        folder (`str` or `Path`): Folder of a [`BSPModel`] or [`BSPForBoundaryClassification`].
        path (`str` or `Path`): The file to write, with `torch.save`; replaced if it exists.
        layout (`str`, *optional*, defaults to `"mit-han-lab"`): `"mit-han-lab"` or `"mmaction2"`.

    Returns:
        `Path`: The file.

    Raises:
        FileNotFoundError: If there is no checkpoint in the folder.
        ValueError: If the model has no counterpart in the layout, or weights are missing in the folder.
    """
    folder, path = Path(folder), Path(path)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no config.json; pass the folder of a saved encoder.")
    config = BSPConfig.from_pretrained(folder)
    by_name = {cls.__name__: cls for cls in (BSPModel, BSPForBoundaryClassification)}
    saved_class = (config.architectures or ["BSPModel"])[0]
    if config.model_type != BSPConfig.model_type or saved_class not in by_name:
        raise ValueError(f"{folder} holds a {saved_class}; only {' and '.join(by_name)} can be exported.")
    backbone = _find_exportable_backbone(config, layout)
    loaded: tuple[PreTrainedModel, dict[str, list[str]]]
    loaded = by_name[saved_class].from_pretrained(folder, output_loading_info=True)  # type: ignore[assignment]
    model, loading = loaded
    if loading["missing_keys"]:
        raise ValueError(f"{folder} lacks the weights {shorten_names(sorted(loading['missing_keys']))}.")
    state_dict = export_tsm_state_dict(model, layout)
    if layout == "mit-han-lab":
        content = {
            "arch": name_architecture(backbone),
            "state_dict": {f"module.{key}": value for key, value in state_dict.items()},
        }
    else:
        content = {"meta": {}, "state_dict": state_dict}
    with atomic_file(path) as temporary:
        torch.save(content, temporary)
    return path


def _find_exportable_backbone(config: PreTrainedConfig, layout: str) -> ResNetConfig:
    backbone = config.backbone_config
    if not isinstance(backbone, ResNetConfig):
        raise ValueError(f"the backbone is not a ResNet, and {layout} can name the weights of ResNets only.")
    plain = ResNetConfig()
    for field in HIDDEN_FIELDS:
        if getattr(backbone, field) != getattr(plain, field):
            raise ValueError(
                f"the backbone has {field}={getattr(backbone, field)!r}; the code behind {layout} takes "
                f"{getattr(plain, field)!r} and would compute something else with these weights."
            )
    if config.shift_blocks is not None:
        raise ValueError(
            f"the encoder shifts in the blocks {config.shift_blocks} only; {layout} cannot say so and would "
            "shift in others."
        )
    if config.shift_place == "block" and not all(map(all, shifted_blocks(list(backbone.depths or ())))):
        raise ValueError(
            f"the encoder shifts in every second block; with shift_place='block' {layout} shifts in each."
        )
    return backbone
