"""Reads checkpoints of other code bases without running anything in them, and what lies beside them."""

import json
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

# Where a checkpoint keeps its weights: the first is TSM's and mmaction2's, the second torchvision's.
STATE_DICT_ENTRIES = ("state_dict", "model")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

# What torch's reader raises for files that are cut, altered, of another kind, or that want code to run.
_TORCH_READ_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)

_TSM_NAME = re.compile(
    r"TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[A-Za-z0-9]+)"
    r"(?:_shift(?P<shift_div>\d+)_(?P<shift_place>[a-z]+))?(?:_tpool)?"
    r"_(?P<consensus>[a-z]+)_segment(?P<num_frames>\d+)"
)
_MMACTION2_NAME = re.compile(r"ts[mn]_(?:.*[_-])?1x1x(?P<num_frames>\d+)[_-]")


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint of another code base, as it lies on disk.

    Args:
        weight_file (`Path`): The file that holds the weights.
        state_dict (`dict[str, torch.Tensor]`): The weights under the keys they were saved with, on the CPU.
        extras (`tuple[str, ...]`): What else the file holds, for instance `"optimizer"`.
        facts (`dict`): Those extras that are one number or one word, for instance the epoch.
        config (`dict`): `config.json` beside the weights; empty where there is none.
        preprocessor (`dict`): `preprocessor_config.json`, likewise.
    """

    weight_file: Path
    state_dict: dict[str, Tensor]
    extras: tuple[str, ...]
    facts: dict[str, str | int | float]
    config: dict[str, Any]  # Any: another library's JSON
    preprocessor: dict[str, Any]


@dataclass(frozen=True)
class FileNameFacts:
    """What the file names of published TSM checkpoints say.

    Args:
        num_frames (`int`): Frames of a clip.
        shift_div (`int`, *optional*): Denominator of the shifted part; `None` if the name is silent.
        shift_place (`str`, *optional*): `"none"` for a network without shift; `None` if the name is silent.
        architecture (`str`, *optional*): For instance `"resnet50"`.
    """

    num_frames: int
    shift_div: int | None = None
    shift_place: str | None = None
    architecture: str | None = None


def parse_checkpoint_name(path: str | Path) -> FileNameFacts | None:
    """Read the settings out of the name of a published checkpoint.

    The names are those of TSM's own code, given to the file or, by its training script, to the folder around
    it (`TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth`), and of mmaction2
    (`tsm_r50_1x1x8_50e_kinetics400_rgb_...pth`), which holds the number of frames alone.

    Args:
        path (`str` or `Path`): The file; it need not exist.

    Returns:
        `FileNameFacts`: The settings, or `None` if the name follows neither convention.
    """
    path = Path(path).absolute()
    for name in (path.name, path.parent.name):
        if match := _TSM_NAME.match(name):
            return FileNameFacts(
                num_frames=int(match["num_frames"]),
                shift_div=int(match["shift_div"]) if match["shift_div"] else None,
                shift_place=match["shift_place"] or "none",
                architecture=match["arch"],
            )
    match = _MMACTION2_NAME.match(path.name)
    return FileNameFacts(num_frames=int(match["num_frames"])) if match else None


def read_checkpoint(source: str | Path) -> ForeignCheckpoint:
    """Read a checkpoint file, or the folder of one, without unpickling anything but tensors.

    Args:
        source (`str` or `Path`): A file of `torch.save` (whatever its suffix), a safetensors file, or a
            folder with `model.safetensors` or `pytorch_model.bin`.

    Returns:
        `ForeignCheckpoint`: Weights and what lies beside them.

    Raises:
        FileNotFoundError: If there is no such file, or no weights in the folder.
        ValueError: If the file is damaged, needs code to run, or holds no state dict.
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
        config=_read_json(beside, "config.json"),
        preprocessor=_read_json(beside, "preprocessor_config.json"),
    )


def read_label_names(labels: str | Path | Sequence[str], num_labels: int) -> list[str]:
    """Read the names of a classifier's classes.

    Args:
        labels (`str`, `Path` or `Sequence[str]`): The names in order, or a file of them: plain text with one
            name a line, a JSON list, or a JSON object from numbers to names or from names to numbers.
        num_labels (`int`): Classes of the classifier.

    Returns:
        `list[str]`: The names, in the order of the classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If names are missing, empty or too many.
    """
    if not isinstance(labels, (str, Path)):
        names, where = [str(name) for name in labels], "labels"
    else:
        path, where = Path(labels), f"label file {Path(labels).name}"
        text = path.read_text(encoding="utf-8-sig")
        names = _names_of_json(text, where) if path.suffix == ".json" else text.rstrip().splitlines()
    names = [name.strip() for name in names]
    if len(names) != num_labels:
        raise ValueError(f"{where} holds {len(names)} names, the classifier has {num_labels} classes.")
    # Double names are let through: ImageNet's own list has two cranes.
    if "" in names:
        raise ValueError(f"{where}: the name of class {names.index('')} is empty.")
    return names


def _names_of_json(text: str, where: str) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not valid JSON: {error}.") from error
    if isinstance(content, list):
        return [str(name) for name in content]
    if isinstance(content, dict) and content:
        pairs = content.items()
        if all(isinstance(value, int) for value in content.values()):
            pairs = {number: name for name, number in pairs}.items()
        by_number = {str(number): str(name) for number, name in pairs}
        if set(by_number) == {str(number) for number in range(len(content))}:
            return [by_number[str(number)] for number in range(len(content))]
    raise ValueError(
        f"{where} must hold a list of names, or an object that pairs every number from 0 on with one name."
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
        f"{source} holds neither {' nor '.join(WEIGHT_FILES)}; give the checkpoint file itself."
    )


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    # Eight bytes of length, then a JSON object; neither a zip archive nor a pickle begins like that.
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def load_tensors(path: Path) -> Any:  # Any: whatever the file holds
    """Load a file of `torch.save` or safetensors without running anything in it.

    Args:
        path (`Path`): The file.

    Returns:
        What the file holds: tensors, and containers and plain values around them.

    Raises:
        ValueError: If the file is damaged or needs code to run.
    """
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


def _read_json(folder: Path | None, name: str) -> dict[str, Any]:
    if folder is None or not (folder / name).is_file():
        return {}
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name} in {folder.name} is not valid JSON: {error}.") from error
    return content if isinstance(content, dict) else {}
