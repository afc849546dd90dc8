"""Turns published checkpoints of G-TAD, 2D-TAN and LGI into folders that `AutoModel` reads."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from bsp_hf.files import hash_file
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.gtad.conversion import PARALLEL_PREFIX, convert_gtad_state_dict
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from bsp_hf.localization.lgi.conversion import LGI_PARTS, convert_lgi_checkpoint
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.localizer.config import LocalizerConfig
from bsp_hf.localization.localizer.folder import save_localizer_folder
from bsp_hf.localization.tan.conversion import convert_tan_state_dict
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

from .foreign_files import load_tensors
from .report import ConvertedSetting, LocalizerReport

logger = logging.getLogger(__name__)

_MODELS: dict[str, type[PreTrainedModel]] = {
    "gtad": GTADForTemporalActionLocalization,
    "tan": TANForVideoGrounding,
    "lgi": LGIForVideoGrounding,
}
# Published settings, each a class method of the config.
LOCALIZER_PRESETS = {
    "gtad": ("activitynet", "thumos14"),
    "tan": ("charades", "activitynet_captions", "tacos"),
    "lgi": ("charades", "activitynet_captions"),
}
# Sizes that are read from the weights: field, the tensor, and the axis of its shape.
_SIZES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "gtad": (
        ("hidden_dim", "backbone1.0.weight", 0),
        ("aligned_dim", "localization.0.weight", 0),
        ("map_dim", "localization.2.weight", 0),
        ("map_kernel_size", "localization.4.weight", 2),
    ),
    "tan": (
        ("feature_dim", "frame_layer.vis_conv.weight", 1),
        ("hidden_dim", "frame_layer.vis_conv.weight", 0),
        ("text_hidden_dim", "fusion_layer.textual_encoder.weight_hh_l0", 1),
        ("word_dim", "fusion_layer.textual_encoder.weight_ih_l0", 1),
    ),
    "lgi": (
        ("feature_dim", "video_enc.vid_emb_fn.0.weight", 1),
        ("hidden_dim", "video_enc.vid_emb_fn.0.weight", 0),
        ("num_rows", "video_enc.pos_emb_fn.0.weight", 0),
        ("vocab_size", "query_enc.embedding.weight", 0),
        ("word_dim", "query_enc.embedding.weight", 1),
    ),
}
# Further fields that the tensors show: nothing else fits them.
_ALSO_SHOWN: dict[str, tuple[str, ...]] = {
    "gtad": ("feature_dim", "num_groups", "group_width"),
    "tan": ("proposals", "query_encoder", "num_text_layers", "map_kernel_sizes"),
    "lgi": (
        "query_input",
        "num_text_layers",
        "num_phrases",
        "attention_dim",
        "local_kernel_size",
        "num_local_blocks",
        "num_nonlocal_blocks",
    ),
}


def convert_localizer_checkpoint(
    source: str | Path,
    output_folder: str | Path,
    *,
    kind: str | None = None,
    preset: str | None = None,
    vocabulary: QueryVocabulary | Sequence[str] | None = None,
    **given: Any,
) -> LocalizerReport:
    """Turn a published checkpoint of a localizer into a folder that `AutoModel` and the pipelines read.

    Widths are read from the weights. Everything that the weights do not show is the preset's unless it is
    given; the report lists it. No code in the file is run, and nothing is written unless every tensor fits.

    Args:
        source (`str` or `Path`): A file of `torch.save`: G-TAD's `checkpoint.pth.tar`, 2D-TAN's `.pkl`, LGI's
            `.pkl`.
        output_folder (`str` or `Path`): The folder to write; made if it does not exist.
        kind (`str`, *optional*): `"gtad"`, `"tan"` or `"lgi"`; detected by the keys.
        preset (`str`, *optional*): The published setting, one of `LOCALIZER_PRESETS[kind]`. By default the
            one whose tensors have the file's shapes; it must be given where several do, as with 2D-TAN's
            for Charades-STA and TACoS.
        vocabulary (`QueryVocabulary` or `Sequence[str]`, *optional*): LGI: the words of its embedding in
            their order, without which the folder reads no sentence.
        given: Fields of the localizer's config in which the training differed from the preset, for instance
            `context_style=2` or `num_steps=128`.

    Returns:
        `LocalizerReport`: What was found, taken and assumed.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the config has no field of a name in `given`.
        ValueError: If the file is damaged, needs code to run, is not a checkpoint of a localizer, or if a
            tensor is missing, unknown or of another shape; the message names it.
        huggingface_hub.errors.StrictDataclassError: If a field is out of range.
    """
    path, output_folder = Path(source), Path(output_folder)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; pass the checkpoint file itself.")
    content = load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, expected a dict of tensors.")
    kind = kind or _detect_kind(content)
    if kind not in _MODELS:
        raise ValueError(f"kind={kind!r} is not one of {', '.join(_MODELS)}.")
    known = list_config_fields(kind)
    if unknown := [name for name in given if name not in known]:
        raise TypeError(
            f"{', '.join(unknown)}: the config of {kind} has no such field; it has {', '.join(known)}."
        )
    weights, left = _find_weights(content, kind, path)
    if isinstance(vocabulary, Sequence):
        vocabulary = QueryVocabulary(tuple(vocabulary))
    sizes = _read_sizes(weights, kind)
    preset, config, converted = _fit(weights, kind, preset, {**sizes, **given})
    if vocabulary is not None and kind == "lgi" and len(vocabulary) != config.vocab_size:
        raise ValueError(
            f"the vocabulary has {len(vocabulary)} numbers with the reserved ones, the embedding "
            f"{config.vocab_size} rows; pass the words that the checkpoint was trained with."
        )
    model = _MODELS[kind](config)
    model.load_state_dict(converted, strict=True)
    shown = (*(field for field, _, _ in _SIZES[kind]), *_ALSO_SHOWN[kind])
    origins = dict.fromkeys(shown, "weights") | dict.fromkeys(given, "argument")
    report = LocalizerReport(
        source=path.name,
        source_sha256=hash_file(path),
        output_folder=output_folder,
        kind=kind,
        preset=preset,
        settings=tuple(
            ConvertedSetting(name, getattr(config, name), origins.get(name, f"preset {preset}"))
            for name in known
        ),
        num_tensors=len(converted),
        left=tuple(left),
    )
    record = {"conversion": report.to_record(), "preset": preset}
    save_localizer_folder(model, output_folder, vocabulary=vocabulary, record=record)
    logger.info("%s", report)
    return report


def list_config_fields(kind: str) -> tuple[str, ...]:
    """Return the fields of a kind's config, without those that name an encoder."""
    names = [field.name for field in fields(_MODELS[kind].config_class)]  # type: ignore[arg-type] # a class
    without = {field.name for field in fields(PreTrainedConfig)} | {"encoder", "encoder_copy", "text_encoder"}
    return tuple(name for name in names if name not in without)


def _detect_kind(content: Mapping[str, Any]) -> str:
    if all(isinstance(content.get(part), Mapping) for part in LGI_PARTS):
        return "lgi"
    keys = content.get("state_dict", content)
    keys = [str(key).removeprefix(PARALLEL_PREFIX) for key in keys] if isinstance(keys, Mapping) else []
    for kind, prefix in (("gtad", "localization."), ("tan", "fusion_layer."), ("lgi", "video_enc.")):
        if any(key.startswith(prefix) for key in keys):
            return kind
    raise ValueError(
        "this is not a checkpoint of G-TAD, 2D-TAN or LGI; its entries are "
        f"{', '.join(map(str, list(content)[:5]))}."
    )


def _find_weights(content: Mapping[str, Any], kind: str, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights under flat keys without wrapper, and what else the file holds."""
    if kind == "lgi":
        missing = [part for part in LGI_PARTS if not isinstance(content.get(part), Mapping)]
        if missing:
            raise ValueError(
                f"{path.name} is not an LGI checkpoint: the parts {', '.join(missing)} are missing."
            )
        flat = {f"{part}.{key}": value for part in LGI_PARTS for key, value in content[part].items()}
        left = [str(key) for key in content if key not in LGI_PARTS]
    else:
        inner = content.get("state_dict")
        flat = dict(inner) if isinstance(inner, Mapping) else dict(content)
        left = [str(key) for key in content if key != "state_dict"] if isinstance(inner, Mapping) else []
    weights = {str(key).removeprefix(PARALLEL_PREFIX): value for key, value in flat.items()}
    strange = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    if strange or not weights:
        raise ValueError(f"{path.name}: {', '.join(strange[:5]) or 'it'} holds no tensor.")
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"{path.name}: {', '.join(broken[:5])} holds values that are not finite.")
    return weights, left


def _read_sizes(weights: Mapping[str, Tensor], kind: str) -> dict[str, int]:
    sizes = {}
    for field, key, axis in _SIZES[kind]:
        if key in weights and weights[key].ndim > axis:
            sizes[field] = int(weights[key].shape[axis])
    stem = weights.get("backbone1.0.weight")
    if kind == "gtad" and stem is not None and stem.ndim == 3:
        sizes["feature_dim"] = int(stem.shape[1]) * 4  # a grouped convolution holds a fourth of the channels
    return sizes


def _fit(
    weights: Mapping[str, Tensor], kind: str, preset: str | None, settings: Mapping[str, Any]
) -> tuple[str, LocalizerConfig, dict[str, Tensor]]:
    """Convert by the preset that is named, or by the only one whose shapes are the file's."""
    presets = LOCALIZER_PRESETS[kind]
    if preset is not None and preset not in presets:
        raise ValueError(f"preset={preset!r} is not one of {', '.join(presets)}, those of {kind}.")
    failure: ValueError | None = None
    fitting = []
    # 2D-TAN's pool and conv have other keys, so the kind of the proposals shows.
    is_conv = any(key.startswith("prop_layer.") for key in weights)
    extra = {"proposals": "conv" if is_conv else "pool"} if kind == "tan" else {}
    for name in [preset] if preset is not None else presets:
        config = getattr(_MODELS[kind].config_class, name)(**{**extra, **settings})
        try:
            fitting.append((name, config, _convert(weights, kind, config)))
        except ValueError as error:
            failure = failure or error
    if len(fitting) > 1:
        names = ", ".join(name for name, _, _ in fitting)
        raise ValueError(f"the weights fit several settings: pass preset=, one of {names}.")
    if not fitting:
        raise failure or ValueError(f"there is no preset for {kind}.")
    return fitting[0]


def _convert(weights: Mapping[str, Tensor], kind: str, config: Any) -> dict[str, Tensor]:
    if kind == "gtad":
        return convert_gtad_state_dict(weights, config)
    if kind == "tan":
        return convert_tan_state_dict(weights, config)
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in LGI_PARTS}
    for key, value in weights.items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    return convert_lgi_checkpoint(parts, config)
