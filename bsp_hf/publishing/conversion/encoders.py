"""Turns checkpoints of TSM, mmaction2, torchvision, timm and others into a folder that `AutoModel` reads."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from bsp_hf.encoder.configuration_bsp import BSPConfig
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryClassification, BSPModel
from bsp_hf.files import hash_file
from bsp_hf.localization.localizer.state_dicts import check_tensors
from bsp_hf.publishing.folder import describe_preprocessing, name_architecture, save_checkpoint_folder

from .class_names import read_label_names
from .foreign_files import ForeignCheckpoint, read_checkpoint
from .key_layouts import detect_layout, pair_keys, strip_wrappers
from .known_files import describe_known_file, parse_checkpoint_name
from .report import ConversionReport, ConvertedSetting, keep_plain_facts
from .resnet_keys import HIDDEN_FIELDS
from .weight_names import KeyLayout

logger = logging.getLogger(__name__)

_COUNTER = ".num_batches_tracked"
# mmaction2 keeps its pixel statistics in the model; some of its versions save them with the weights.
_KNOWN_EXTRAS = ("data_preprocessor.mean", "data_preprocessor.std")
# timm's networks with torchvision's stem, strides and pooling. Others, such as resnetaa50, have the same keys
# and shapes and compute something else.
_PLAIN_TIMM_NAME = re.compile(r"(tv_)?resnet\d+(\..+)?")


def convert_checkpoint(
    source: str | Path,
    output_folder: str | Path,
    *,
    layout: str | None = None,
    num_frames: int | None = None,
    shift_div: int | None = None,
    shift_place: str | None = None,
    classifier_dropout: float | None = None,
    labels: str | Path | Sequence[str] | None = None,
    keep_classifier: bool = True,
) -> ConversionReport:
    """Turn a checkpoint of another code base into a folder that `AutoModel` reads.

    Settings that are not given are read from the keys and from the names of published files, and are else
    those of TSM. No code in the file is run, and nothing is written unless every tensor fits.

    Args:
        source (`str` or `Path`): A file of `torch.save` or safetensors, or a folder with
            `model.safetensors`: TSM as its authors release it, mmaction2's TSM and TSN, a ResNet of
            torchvision, timm or transformers, or an EfficientNet-Lite as the package
            `efficientnet-lite-pytorch` names its weights.
        output_folder (`str` or `Path`): The folder to write; made if it does not exist. Files of the same
            name are replaced.
        layout (`str`, *optional*): `"mit-han-lab"`, `"mmaction2"`, `"torchvision"`, `"timm"`,
            `"transformers"` or `"efficientnet-lite-pytorch"`; `None` detects it.
        num_frames (`int`, *optional*): Frames of a snippet.
        shift_div (`int`, *optional*): Denominator of the shifted part. Weights do not show it.
        shift_place (`str`, *optional*): `"blockres"`, `"block"` or `"none"`. Without it video networks shift
            where their keys say, and image networks get `"blockres"`.
        classifier_dropout (`float`, *optional*): Dropout in front of the classifier, for further training.
        labels (`str`, `Path` or `Sequence[str]`, *optional*): Names of the classes, or a file of them: one a
            line, or JSON.
        keep_classifier (`bool`, *optional*, defaults to `True`): `False` leaves the classifier behind and
            makes a [`BSPModel`], as a checkpoint without one does.

    Returns:
        `ConversionReport`: What was found, taken and left.

    Raises:
        FileNotFoundError: If the source or the label file does not exist.
        ValueError: If the file is damaged or needs code to run, if no layout fits, or if a tensor is missing,
            unknown, of another shape or not finite; the message names it.
        huggingface_hub.errors.StrictDataclassError: If a setting is out of range.

    Example:
    ```python
    >>> from bsp_hf.publishing.conversion.encoders import convert_checkpoint
    >>> file_name = "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth"
    >>> report = convert_checkpoint(file_name, "bsp-tsm-r50")  # doctest: +SKIP
    ```
    """
    output_folder = Path(output_folder)
    checkpoint = read_checkpoint(source)
    if output_folder.resolve() == checkpoint.weight_file.resolve().parent:
        raise ValueError(f"output_folder={output_folder} is where the source lies; write to another folder.")
    weights, wrapper = strip_wrappers(checkpoint.state_dict)
    keys = detect_layout(weights, layout)
    place_in_keys = keys.find_shift_place(weights)
    classifier = _find_classifier(weights, keys) if keep_classifier else None
    if labels is not None and classifier is None:
        raise ValueError(
            "labels= was given, but there is no classifier to name the classes of; leave it out."
        )
    given = {
        "num_frames": num_frames,
        "shift_div": shift_div,
        "shift_place": shift_place,
        "classifier_dropout": classifier_dropout,
    }
    settings = _settle_settings(given, checkpoint.weight_file, keys, place_in_keys, classifier)
    backbone = _describe_backbone(checkpoint, keys.infer_backbone(weights, place_in_keys))
    values: dict[str, Any] = {setting.name: setting.value for setting in settings}  # Any: types differ
    config = BSPConfig(
        backbone_config=backbone,
        **values,
        **(_name_labels(weights[f"{classifier}.weight"], checkpoint, labels) if classifier else {}),
    )

    with torch.device("meta"):
        model = BSPForBoundaryClassification(config) if classifier else BSPModel(config)
    names = pair_keys(model, keys, place_in_keys, classifier)
    left = _find_extras(weights, () if keep_classifier else keys.classifiers)
    _check_weights(weights, names, model.state_dict(), left, keys)
    model.load_state_dict({key: _copy_weight(weights.get(name)) for key, name in names.items()}, assign=True)

    extractor = BSPFeatureExtractor(
        num_frames=values["num_frames"], **_find_pixel_statistics(checkpoint, keys)
    )
    report = ConversionReport(
        source=checkpoint.weight_file.name,
        source_sha256=hash_file(checkpoint.weight_file),
        output_folder=output_folder,
        layout=f"{layout or keys.name} ({'detected' if layout is None else 'given'})",
        architecture=name_architecture(backbone),
        model_class=type(model).__name__,
        num_labels=config.num_labels if classifier else None,
        settings=settings,
        preprocessing=describe_preprocessing(extractor),
        renamed=tuple((wrapper + name, key) for key, name in names.items() if name in weights),
        filled=tuple(key for key, name in names.items() if name not in weights),
        left=(*(wrapper + key for key in left), *checkpoint.extras),
        notes=tuple(_collect_notes(checkpoint, weights, keys, place_in_keys, settings, backbone)),
    )
    record = {
        "conversion": report.to_record(),
        "checkpoint": keep_plain_facts(checkpoint.facts),
        **describe_known_file(report.source_sha256),
    }
    save_checkpoint_folder(model.eval(), extractor, output_folder, record)
    logger.info("%s", report)
    return report


def _find_classifier(weights: Mapping[str, Tensor], keys: KeyLayout) -> str | None:
    name = next((name for name in keys.classifiers if f"{name}.weight" in weights), None)
    if name is not None and weights[f"{name}.weight"].ndim != 2:
        raise ValueError(
            f"{name}.weight has the shape {tuple(weights[f'{name}.weight'].shape)}, expected (classes, "
            "features). Pass keep_classifier=False to convert the encoder alone."
        )
    return name


def _settle_settings(
    given: Mapping[str, int | float | str | None],
    weight_file: Path,
    keys: KeyLayout,
    place_in_keys: str,
    classifier: str | None,
) -> tuple[ConvertedSetting, ...]:
    """Return each setting from its first source: caller, keys, name of the file, TSM's defaults."""
    name_facts = parse_checkpoint_name(weight_file) if keys.records_shift else None
    if name_facts and name_facts.shift_place not in (None, place_in_keys) and given["shift_place"] is None:
        raise ValueError(
            f"the file's name says shift_place={name_facts.shift_place!r}, its keys say {place_in_keys!r}. "
            "Pass shift_place= to say which is true."
        )
    without_dropout = classifier is not None and classifier != keys.classifiers[0]
    known: dict[str, dict[str, int | float | str | None]] = {
        "keys": {
            "shift_place": place_in_keys if keys.records_shift else None,
            "classifier_dropout": 0.0 if without_dropout else None,
        },
        "file name": dict(vars(name_facts)) if name_facts else {},
        "default": {name: getattr(BSPConfig(), name) for name in given},
    }
    return tuple(
        next(
            ConvertedSetting(name, value, origin)
            for origin, values in {"argument": given, **known}.items()
            if (value := values.get(name)) is not None
        )
        for name in given
    )


def _describe_backbone(checkpoint: ForeignCheckpoint, backbone: PreTrainedConfig) -> PreTrainedConfig:
    config = checkpoint.config
    architecture = config.get("architecture")
    if isinstance(architecture, str) and not _PLAIN_TIMM_NAME.fullmatch(architecture):
        raise ValueError(
            f"config.json says the network is timm's {architecture}, which is not a plain ResNet even if "
            "its weights look like one; only resnet18, resnet34, resnet50 and their like can be converted."
        )
    if config.get("model_type") == "resnet":
        for field in HIDDEN_FIELDS:
            setattr(backbone, field, config.get(field, getattr(backbone, field)))
    return backbone


def _name_labels(
    weight: Tensor, checkpoint: ForeignCheckpoint, labels: str | Path | Sequence[str] | None
) -> dict[str, Any]:  # Any: fields of the config
    """Return the label fields of the config."""
    num_labels = weight.shape[0]
    recorded = checkpoint.config.get("id2label")
    if labels is not None:
        names = read_label_names(labels, num_labels)
    elif isinstance(recorded, dict) and set(recorded) == {str(number) for number in range(num_labels)}:
        names = [str(recorded[str(number)]) for number in range(num_labels)]
    else:
        return {"num_labels": num_labels}
    return {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}


def _find_extras(weights: Mapping[str, Tensor], heads: Sequence[str]) -> list[str]:
    """Return the keys that are not taken: pixel statistics, and the classifier if it is not wanted."""
    return [key for key in weights if key in _KNOWN_EXTRAS or key.rpartition(".")[0] in heads]


def _check_weights(
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    model: Mapping[str, Tensor],
    left: Sequence[str],
    keys: KeyLayout,
) -> None:
    check_tensors(
        {name: tensor for name, tensor in weights.items() if name not in left},
        # Batch counters may be missing; no output depends on them.
        {n: tuple(model[k].shape) for k, n in names.items() if n in weights or not n.endswith(_COUNTER)},
        keys.network,
        f"{keys.relatives} cannot be converted; keep_classifier=False leaves a classifier out.",
    )
    for name in names.values():
        tensor = weights.get(name)
        if tensor is None or name.endswith(_COUNTER):
            continue
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ValueError(f"{name} holds {tensor.dtype} ({tensor.layout}), expected dense floating point.")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite; the checkpoint is damaged.")


def _copy_weight(tensor: Tensor | None) -> Tensor:
    """Return a copy of a weight in the model's precision; 0 for a batch counter that is missing."""
    if tensor is None:
        return torch.zeros((), dtype=torch.long)
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.long, copy=True).contiguous()


def _find_pixel_statistics(
    checkpoint: ForeignCheckpoint, keys: KeyLayout
) -> dict[str, Any]:  # Any: fields of the extractor
    """Return mean and deviation from the files beside the weights, for pixels in 0..1; else the layout's."""
    timm = checkpoint.config.get("pretrained_cfg")
    candidates = [(checkpoint.preprocessor, "image_mean", "image_std")]
    if isinstance(timm, dict):
        candidates.append((timm, "mean", "std"))
    for settings, *fields in candidates:
        found = [settings.get(field) for field in fields]
        if all(isinstance(values, list) and len(values) == 3 for values in found):
            return {"image_mean": found[0], "image_std": found[1]}
    return dict(keys.pixel_statistics)


def _collect_notes(
    checkpoint: ForeignCheckpoint,
    weights: Mapping[str, Tensor],
    keys: KeyLayout,
    place_in_keys: str,
    settings: Sequence[ConvertedSetting],
    backbone: PreTrainedConfig,
) -> list[str]:
    notes = []
    by_name = {setting.name: setting for setting in settings}
    place, div = by_name["shift_place"], by_name["shift_div"]
    if keys.preprocessing_note:
        notes.append(keys.preprocessing_note)
    if keys.records_shift and place.value != place_in_keys:
        notes.append(f"the keys say shift_place={place_in_keys}; the argument overrules them")
    if not keys.records_shift and place.value != "none":
        notes.append(
            "image weights know no shift: train on before you use the features, "
            "or pass shift_place='none' for the image network as it is"
        )
    if keys.records_shift and place.value != "none" and div.origin == "default":
        notes.append(
            f"weights do not show shift_div; {div.value} is TSM's usual one, pass another if it is not"
        )
    facts = parse_checkpoint_name(checkpoint.weight_file) if keys.records_shift else None
    found = name_architecture(backbone)
    if facts and facts.architecture not in (None, found):
        notes.append(f"the file's name says {facts.architecture}, its tensors are those of a {found}")
    dtypes = {str(w.dtype).removeprefix("torch.") for w in weights.values() if w.is_floating_point()}
    if others := sorted(dtypes - {"float32"}):
        notes.append(f"weights in {', '.join(others)} were converted to float32")
    return notes
