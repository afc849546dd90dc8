"""What `bsp-hf info` says of a checkpoint: of this package, of transformers, or of another code base."""

import json
from math import prod
from pathlib import Path
from typing import Any

_OWN_FIELDS = ("num_frames", "shift_div", "shift_place")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_PREPROCESSING_FIELDS = ("size", "crop_size", "image_mean", "image_std", "num_frames", "stride_frames", "fps")


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Tell what a checkpoint folder or file holds, without running any code of it."""
    if path.is_dir() and _read_json(path / "config.json").get("model_type"):
        return _describe_folder(path)
    return _describe_foreign(path)


def _describe_folder(folder: Path) -> dict[str, Any]:
    config = _read_json(folder / "config.json")
    preprocessing = _read_json(folder / "preprocessor_config.json")
    record = _read_json(folder / "training_record.json")
    backbone = config.get("backbone_config") or {}
    labels = [config["id2label"][key] for key in sorted(config.get("id2label", {}), key=int)]
    weights = sorted(path for path in folder.glob("*.safetensors"))
    num_parameters, dtypes = _count_parameters(weights)
    facts: dict[str, Any] = {
        "kind": "checkpoint folder",
        "model": f"{', '.join(config.get('architectures') or ['unknown'])} ({config['model_type']})",
        "num_parameters": num_parameters,
        "dtypes": dtypes,
        "backbone": _summarize_backbone(backbone) if backbone else "the model itself",
        **{name: config[name] for name in _OWN_FIELDS if name in config},
        "labels": labels or "none",
        "preprocessing": {
            name: preprocessing[name] for name in _PREPROCESSING_FIELDS if name in preprocessing
        }
        or "missing (preprocessor_config.json)",
        "loads_without_the_package": "auto_map" in config,
        "written_by_transformers": config.get("transformers_version"),
        "bytes": sum(path.stat().st_size for path in weights),
    }
    if record:
        facts |= _describe_record(record)
    return facts


def _describe_record(record: dict[str, Any]) -> dict[str, Any]:
    """Tell how the encoder was trained, as far as its record says."""
    facts: dict[str, Any] = {"trained_on": record.get("task"), "clips_seen": record.get("clips_seen")}
    if isinstance(record.get("num_sources"), dict):
        facts["source_videos"] = record["num_sources"]
    evaluations = [entry for entry in record.get("history", ()) if "eval_loss" in entry]
    if evaluations:
        last = evaluations[-1]
        names = ("eval_loss", "eval_accuracy")
        facts["held_out"] = {"step": last.get("step"), **{n[5:]: last[n] for n in names if n in last}}
    if isinstance(record.get("versions"), dict):
        facts["trained_with"] = record["versions"]
    return {name: value for name, value in facts.items() if value is not None}


def _summarize_backbone(backbone: dict[str, Any]) -> str:
    words = [str(backbone.get("model_type", "unknown"))]
    for name in ("layer_type", "depths", "hidden_sizes", "embedding_size"):
        if name in backbone:
            words.append(f"{name} {backbone[name]}")
    return ", ".join(words)


def _count_parameters(weights: list[Path]) -> tuple[int, list[str]]:
    """Count the numbers that training moves by the files' headers, and name all their types."""
    from safetensors import safe_open

    total, dtypes = 0, set()
    for path in weights:
        with safe_open(str(path), framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                dtypes.add(str(part.get_dtype()))
                if name.rpartition(".")[2] not in _STATISTICS:
                    total += prod(part.get_shape())
    return total, sorted(dtypes)


def _describe_foreign(path: Path) -> dict[str, Any]:
    from bsp_hf.publishing.conversion.foreign_files import read_checkpoint
    from bsp_hf.publishing.conversion.known_files import parse_checkpoint_name

    checkpoint = read_checkpoint(path)
    named = parse_checkpoint_name(path)
    tensors = checkpoint.state_dict
    name = path.name.split(".")[0]
    return {
        "kind": "checkpoint of another code base",
        "weight_file": checkpoint.weight_file.name,
        "num_tensors": len(tensors),
        "num_parameters": sum(tensor.numel() for tensor in tensors.values()),
        "first_keys": list(tensors)[:4],
        "beside_the_weights": list(checkpoint.extras) or "nothing",
        "facts": checkpoint.facts or "none",
        "name_says": {k: v for k, v in vars(named).items() if v is not None} if named else "nothing",
        "to_convert": f"bsp-hf convert {path} {name}",
    }


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: this is no JSON ({error}).") from error
    return content if isinstance(content, dict) else {}
