"""What `bsp-hf info` prints of a checkpoint: of this package, of transformers, or of another code base."""

from math import prod
from pathlib import Path
from typing import Any

from bsp_hf.metrics.text_files import read_json_object

_OWN_FIELDS = ("num_frames", "shift_div", "shift_place", "shift_blocks")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_PREPROCESSING_FIELDS = ("size", "crop_size", "image_mean", "image_std", "num_frames", "stride_frames", "fps")


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Return facts about a checkpoint folder or file, without running any code in it."""
    if path.is_dir() and read_json_object(path / "config.json").get("model_type"):
        return _describe_folder(path)
    return _describe_foreign(path)


def _describe_folder(folder: Path) -> dict[str, Any]:
    config = read_json_object(folder / "config.json")
    preprocessing = read_json_object(folder / "preprocessor_config.json")
    record = read_json_object(folder / "training_record.json")
    backbone = config.get("backbone_config") or {}
    labels = [config["id2label"][key] for key in sorted(config.get("id2label", {}), key=int)]
    weights = sorted(folder.glob("*.safetensors"))
    num_parameters, dtypes = _count_parameters(weights)
    return {
        "kind": "checkpoint folder",
        "model": f"{', '.join(config.get('architectures') or ['unknown'])} ({config['model_type']})",
        "num_parameters": num_parameters,
        "dtypes": dtypes,
        "backbone": _summarize_backbone(backbone) if backbone else "the model itself",
        **_select(config, _OWN_FIELDS),
        "labels": labels or "none",
        "preprocessing": _select(preprocessing, _PREPROCESSING_FIELDS)
        or "missing (preprocessor_config.json)",
        "loads_without_the_package": "auto_map" in config,
        "written_by_transformers": config.get("transformers_version"),
        "bytes": sum(path.stat().st_size for path in weights),
        **_describe_record(record),
    }


def _describe_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return how the encoder was trained, as far as its record says."""
    evaluations = [entry for entry in record.get("history", ()) if "eval_loss" in entry]
    last = evaluations[-1] if evaluations else {}
    held_out = {name[5:]: last[name] for name in ("eval_loss", "eval_accuracy") if name in last}
    facts = {
        "trained_on": record.get("task"),
        "clips_seen": record.get("clips_seen"),
        "source_videos": record.get("num_sources"),
        "held_out": {"step": last.get("step"), **held_out} if last else None,
        "trained_with": record.get("versions"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _summarize_backbone(backbone: dict[str, Any]) -> str:
    described = _select(backbone, ("layer_type", "depths", "hidden_sizes", "embedding_size"))
    return ", ".join(
        [str(backbone.get("model_type", "unknown")), *(f"{k} {v}" for k, v in described.items())]
    )


def _count_parameters(weights: list[Path]) -> tuple[int, list[str]]:
    """Return the number of trained values by the files' headers, and the types of all tensors."""
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


def _select(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
