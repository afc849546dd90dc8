"""Checks which files of an encoder's or a localizer's folder are published, and that they load."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoFeatureExtractor, PreTrainedModel

from bsp_hf.features.encoder_record import EncoderMismatchError
from bsp_hf.files import blame_file
from bsp_hf.localization.grounding.queries import VOCABULARY_FILE
from bsp_hf.localization.grounding.query_reader import QueryReader
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.localizer.companions import TEXT_ENCODER_FOLDER, WORD_VECTORS_FILE
from bsp_hf.localization.localizer.config import LocalizerConfig
from bsp_hf.localization.localizer.encoders import ENCODER_FOLDER, load_encoders
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.publishing.cards.files import CARD_FILE, RECORD_FILE

from .folder import ENCODER_CODE, VIDEO_PROCESSOR_FILE

_CONFIG_FILE = "config.json"
_PREPROCESSOR_FILE = "preprocessor_config.json"
_WEIGHTS_FILE = "model.safetensors"
_WEIGHTS_INDEX = "model.safetensors.index.json"
# A card that is missing is rendered from the record.
_NEEDED_BY_LOCALIZERS = (_CONFIG_FILE, RECORD_FILE)
_NEEDED_BY_ENCODERS = (_CONFIG_FILE, _PREPROCESSOR_FILE, RECORD_FILE)
# What people add to a card.
_EXTRAS = ("*.png", "*.jpg", "*.svg", "*.pdf", "LICENSE", "LICENSE.*", "NOTICE")
# What training leaves in its output folder for itself. Checkpoints hold pickles of optimizers.
_WORKING_FILES = (
    "checkpoints",
    "checkpoints/*",
    "frame_counts.json",
    "bsp-pretrain/*",
    "*/events.out.tfevents.*",
    "*/__pycache__/*",
    "__pycache__/*",
)
# Results hold sentences and names of other people's data sets.
_LOCALIZER_WORKING_FILES = (
    "history.json",
    "results.json",
    "results.txt",
    "predictions.jsonl",
    "actionness.csv",
)
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_LOCALIZER_SUBFOLDER_FILES = re.compile(
    rf"({ENCODER_FOLDER}(_\d+)?|{TEXT_ENCODER_FOLDER})/[^/]+\.(json|safetensors|txt|model|md)"
)
_ENCODER_MODULES = re.compile(rf"{ENCODER_FOLDER}(_\d+)?/([^/]+\.py)")
_TASK = "video-feature-extraction"


@dataclass(frozen=True)
class FolderCheck:
    """Which files of a folder are published, and what is wrong with it."""

    files: tuple[str, ...]  # relative to the folder, with `/` between the parts
    left_out: tuple[str, ...]  # working files
    problems: tuple[str, ...]  # why it cannot be published, one sentence each; empty if it can
    notes: tuple[str, ...]  # what the owner should know


def check_folder(folder: str | Path) -> FolderCheck:
    """Check that the folder of a model is complete, loads, and holds nothing that should not be published.

    The card is not looked at; see [`find_card_gaps`].
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; pass the one that a model was saved to.")
    config: dict[str, Any] = {}
    model_class = None
    problems = []
    try:
        if (folder / _CONFIG_FILE).is_file():
            config = json.loads((folder / _CONFIG_FILE).read_text("utf-8"))
            model_class = find_model_class(config.get("architectures"))
    except (ValueError, AttributeError, TypeError) as error:
        problems.append(f"{_CONFIG_FILE} cannot be read: {error}")
    is_localizer = _is_localizer(model_class)
    working_files = (*_WORKING_FILES, *(_LOCALIZER_WORKING_FILES if is_localizer else ()))
    names, outside = [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            outside.append(name)
        elif path.is_file():
            names.append(name)
    left_out = [name for name in names if _is_working_file(name, working_files)]
    problems += [
        f"{name} is a link that leads out of the folder; replace it with what it points to, or delete it"
        for name in outside
        if not _is_working_file(name, working_files)
    ]
    needed = _NEEDED_BY_LOCALIZERS if is_localizer else _NEEDED_BY_ENCODERS
    writer = "save_localizer_folder" if is_localizer else "save_checkpoint_folder"
    problems += [f"{name} is missing; {writer} writes it" for name in needed if name not in names]
    known = {*_NEEDED_BY_ENCODERS, VIDEO_PROCESSOR_FILE, CARD_FILE}
    if config and not is_localizer:
        try:
            code, code_problems = _find_code(folder, names, config)
            known |= code
            problems += code_problems
        except (ValueError, AttributeError, TypeError) as error:
            problems.append(f"{_CONFIG_FILE} cannot be read: {error}")
    try:
        weights = _find_weights(folder)
        known |= weights
        problems += [f"{name} is missing" for name in sorted(weights - set(names))]
    except (ValueError, KeyError, AttributeError) as error:
        problems.append(f"{_WEIGHTS_INDEX} cannot be read: {error}")
    files = [
        name
        for name in names
        if name in known or _matches(name, _EXTRAS) or (is_localizer and _is_localizer_file(name))
    ]
    for name in sorted({*names} - {*left_out} - {*files}):
        if name.endswith(_PICKLES):
            problems.append(f"{name} may be a pickle, which runs code when it is read; delete it")
        else:
            kind = "a localizer" if is_localizer else "an encoder"
            problems.append(f"{name} does not belong to {kind}; delete it or move it elsewhere")
    notes = _find_paths(folder, files)
    if not problems:
        problems, more = _try_loading(folder, config, model_class)
        notes = more + notes
    return FolderCheck(tuple(files), tuple(left_out), tuple(problems), tuple(notes))


def find_model_class(architectures: list[str] | None) -> type[PreTrainedModel] | None:
    """Return the class of the package that a config names; `None` if it has no such class."""
    package = import_module(__name__.partition(".")[0])
    found = (
        getattr(package, architectures[0]) if architectures and architectures[0] in package.__all__ else None
    )
    return found if isinstance(found, type) and issubclass(found, PreTrainedModel) else None


def _is_localizer(model_class: type[PreTrainedModel] | None) -> bool:
    config_class = None if model_class is None else model_class.config_class
    return config_class is not None and issubclass(config_class, LocalizerConfig)


def _is_working_file(name: str, patterns: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or _matches(name, patterns)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    # `*` must not reach into folders unless the pattern does.
    return any(fnmatch(name, pattern) and ("/" in pattern or "/" not in name) for pattern in patterns)


def _is_localizer_file(name: str) -> bool:
    """Return whether a file belongs to a localizer, besides its weights, config, record and card."""
    module = _ENCODER_MODULES.fullmatch(name)
    if module is not None:  # other code does not belong to a localizer
        return (ENCODER_CODE / module[2]).is_file()
    is_companion = name in (VOCABULARY_FILE, WORD_VECTORS_FILE)
    return is_companion or _LOCALIZER_SUBFOLDER_FILES.fullmatch(name) is not None


def _find_weights(folder: Path) -> set[str]:
    index = folder / _WEIGHTS_INDEX
    if not index.is_file():
        return {_WEIGHTS_FILE}
    return {_WEIGHTS_INDEX, *json.loads(index.read_text("utf-8"))["weight_map"].values()}


def _find_code(folder: Path, names: list[str], config: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Return the modules that loading without the package needs, and what is wrong with them."""
    problems = []
    entries = dict(config.get("auto_map") or {})
    for needed in ("AutoConfig", "AutoModel"):
        if needed not in entries:
            problems.append(f"{_CONFIG_FILE} has no {needed} in auto_map, so it loads with bsp_hf only")
    pipeline = (config.get("custom_pipelines") or {}).get(_TASK)
    if pipeline is None:
        problems.append(f"{_CONFIG_FILE} has no custom_pipelines entry {_TASK}")
    else:
        entries[_TASK] = pipeline["impl"]
    if problems:
        problems[-1] += "; save the encoder with save_checkpoint_folder"
    waiting = []
    for name, entry in entries.items():
        if "--" in entry:
            problems.append(
                f"auto_map takes {name} from another repository ({entry}); save the encoder again"
            )
        else:
            waiting.append(f"{entry.rpartition('.')[0]}.py")
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in names:
            problems.append(
                f"{name} is missing, without which it does not load where bsp_hf is not installed"
            )
            continue
        source = (folder / name).read_text("utf-8")
        waiting += [f"{module}.py" for module in re.findall(r"^\s*from \.(\w+) import", source, re.M)]
    # All modules of the package may be there, whether this encoder needs them or not.
    return {path.name for path in ENCODER_CODE.glob("*.py")} | seen, problems


def _try_loading(
    folder: Path, config: dict[str, Any], model_class: type[PreTrainedModel] | None
) -> tuple[list[str], list[str]]:
    """Load a model with all that its folder holds; return problems and notes."""
    if model_class is None:
        named = (config.get("architectures") or [""])[0]
        return [f"{_CONFIG_FILE} names the class {named or 'of no model'}, which bsp_hf does not have"], []
    is_localizer = _is_localizer(model_class)
    loaded: tuple[PreTrainedModel, dict[str, Any]]
    try:
        with blame_file(folder / _WEIGHTS_FILE, "weights"):
            loaded = model_class.from_pretrained(folder, output_loading_info=True)  # type: ignore[assignment]
        if not is_localizer:
            with blame_file(folder / _PREPROCESSOR_FILE, "settings"):
                AutoFeatureExtractor.from_pretrained(folder)
    except (ValueError, OSError) as error:
        return [f"it does not load: {error}"], []
    model, loading = loaded
    problems = [
        f"{len(loading[kind])} weights are {word}, for instance {min(map(str, loading[kind]))}"
        for kind, word in {
            "missing_keys": "missing",
            "unexpected_keys": "not the model's",
            "mismatched_keys": "of another shape",
        }.items()
        if loading.get(kind)
    ]
    broken = [name for name, value in model.state_dict().items() if not bool(torch.isfinite(value).all())]
    if broken:
        problems.append(f"{len(broken)} weights are not finite, for instance {broken[0]}")
    if problems or not is_localizer:
        return problems, []
    return _check_companions(model, folder)


def _check_companions(model: PreTrainedModel, folder: Path) -> tuple[list[str], list[str]]:
    """Load a localizer's encoders and what reads its queries; return problems and notes."""
    problems, notes = [], []
    config = model.config
    if (folder / ENCODER_FOLDER).is_dir():
        try:
            load_encoders(model)
        except (EncoderMismatchError, ValueError, OSError) as error:
            problems.append(f"its encoder does not fit: {error}")
    else:
        notes.append(
            "there is no encoder in it, so it reads stored features, and videos only where its config names "
            "an encoder on the Hub; save_localizer_folder(..., encoder=...) adds one"
        )
    if isinstance(config, TANConfig | LGIConfig):
        is_elsewhere = config.text_encoder is not None and not (folder / config.text_encoder).is_dir()
        try:
            if not is_elsewhere:
                QueryReader.from_pretrained(folder, config)
        except (ValueError, OSError) as error:
            is_lost = isinstance(config, LGIConfig) and config.query_input == "word_ids"
            # Word vectors can be had elsewhere; the words of a trained embedding cannot.
            (problems if is_lost else notes).append(f"it reads no sentence by itself: {error}")
    return problems, notes


def _find_paths(folder: Path, files: Iterable[str]) -> list[str]:
    """Return a note for each path of the record that reveals the machine on which the model was made."""
    if RECORD_FILE not in files:
        return []
    text = (folder / RECORD_FILE).read_text("utf-8", errors="replace")
    paths = sorted(
        set(re.findall(r'(?<![\w./:])(?:/(?:home|Users|root)/[^\s"\']+|[A-Z]:\\\\[^\s"\']+)', text))
    )
    return [f"{RECORD_FILE} names {path}; change it if nobody is to know" for path in paths[:5]]
