"""Reads checkpoints of other code bases, and the config beside them, without running any code in them."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bsp_hf.files import BAD_FILE_ERRORS
from bsp_hf.metrics.text_files import read_json_object

# Where a checkpoint keeps its weights: the first is TSM's and mmaction2's, the second torchvision's.
STATE_DICT_ENTRIES = ("state_dict", "model")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

# What torch's reader raises for files that are cut, altered, of another kind, or that want code to run.
_TORCH_READ_ERRORS = (*BAD_FILE_ERRORS, ArithmeticError, AssertionError, LookupError, struct.error)


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint of another code base, as it lies on disk."""

    weight_file: Path
    state_dict: dict[str, Tensor]  # under the keys they were saved with, on the CPU
    extras: tuple[str, ...]  # what else the file holds, for instance "optimizer"
    facts: dict[str, str | int | float]  # extras that are one number or one word, for instance the epoch
    config: dict[str, Any]  # `config.json` beside the weights, if any; Any: another library's JSON
    preprocessor: dict[str, Any]  # `preprocessor_config.json`, likewise


def read_checkpoint(source: str | Path) -> ForeignCheckpoint:
    """Read a checkpoint file, or the folder of one, without unpickling anything but tensors.

    A file is one of `torch.save` (whatever its suffix) or safetensors; a folder has `model.safetensors` or
    `pytorch_model.bin`.
    """
    source = Path(source)
    weight_file = _find_weight_file(source)
    content = load_tensors(weight_file)
    state_dict, extras = _split(content, weight_file)
    beside = weight_file.parent if weight_file.name in WEIGHT_FILES else None
    return ForeignCheckpoint(
        weight_file=weight_file,
        state_dict=state_dict,
        extras=tuple(extras),
        facts={k: v for k, v in extras.items() if isinstance(v, (str, int, float)) and len(str(v)) < 100},
        config=read_json_object(beside / "config.json") if beside else {},
        preprocessor=read_json_object(beside / "preprocessor_config.json") if beside else {},
    )


def _find_weight_file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise FileNotFoundError(
            f"{source} does not exist. Give a checkpoint file or a folder on this machine; "
            "nothing is downloaded."
        )
    for name in WEIGHT_FILES:
        if (source / name).is_file():
            return source / name
    raise FileNotFoundError(
        f"{source} holds neither {' nor '.join(WEIGHT_FILES)}; pass the checkpoint file itself."
    )


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    # Eight bytes of length, then a JSON object; neither a zip archive nor a pickle begins like that.
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def load_tensors(path: Path) -> Any:  # Any: whatever the file holds
    """Return what a file of `torch.save` or safetensors holds, without running any code in it."""
    if _is_safetensors(path):
        try:
            return load_file(path, device="cpu")
        except SafetensorError as error:
            raise ValueError(f"{path.name} is a damaged safetensors file: {error}.") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _TORCH_READ_ERRORS as error:
        raise ValueError(_explain(path, error)) from error


def _explain(path: Path, error: Exception) -> str:
    wanted = re.search(r"GLOBAL ([\w.]*\w)", str(error))
    if wanted or "TorchScript" in str(error):
        code = f"the Python object {wanted[1]}" if wanted else "a TorchScript program"
        return (
            f"{path.name} was not read: it holds {code}, not tensors alone, and loading that would run code "
            "from the file. If you trust whoever made it, save its weights alone in the code base it comes "
            'from (torch.save(checkpoint["state_dict"], "weights.pth")) and convert that file.'
        )
    return (
        f"{path.name} was not read: it is neither a safetensors file nor a file of torch.save that can be "
        f"loaded without running code from it, or it is damaged ({type(error).__name__}). "
        "Compare its size with the original's and fetch it again."
    )


def _split(content: Any, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, expected a dict with a state dict.")
    for entry in STATE_DICT_ENTRIES:
        if isinstance(content.get(entry), Mapping):
            extras = {str(key): value for key, value in content.items() if key != entry}
            content = content[entry]
            break
    else:
        extras = {}
    weights = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    extras |= {str(key): value for key, value in content.items() if not isinstance(value, Tensor)}
    if not weights:
        raise ValueError(
            f"{path.name} holds no tensors, neither at its top nor under {' or '.join(STATE_DICT_ENTRIES)}; "
            f"its entries are {', '.join(list(extras)[:8]) or 'none'}."
        )
    for key, value in weights.items():
        # A tensor of stride 0 can claim any number of values and bring the machine to its knees.
        if value.is_meta or (
            value.layout == torch.strided and value.untyped_storage().nbytes() < value.nbytes
        ):
            raise ValueError(
                f"{path.name}: {key} claims {value.numel()} values, which the file does not hold."
            )
    return weights, extras
