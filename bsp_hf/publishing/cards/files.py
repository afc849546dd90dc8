"""Reads, writes and checks the record and the model card of a folder."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from bsp_hf.files import atomic_write_text
from bsp_hf.metrics.text_files import read_json

from .render import STAMP, TO_BE_FILLED_IN, digest, digest_record, render_card

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
RECORD_FILE = "training_record.json"
REQUIRED_METADATA = ("license", "library_name", "pipeline_tag", "tags")
REQUIRED_SECTIONS = (
    "Training data",
    "Training",
    "Results",
    "Intended use",
    "Limits",
    "Bias and privacy",
    "Licence",
    "Citation",
)


def read_record(path: str | Path) -> dict[str, Any]:
    """Return how a model was made: the content of `training_record.json`, given by itself or its folder."""
    path = Path(path) / RECORD_FILE if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; save_checkpoint_folder and save_localizer_folder write it."
        )
    record = read_json(path)
    if not isinstance(record, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(record).__name__}.")
    return record


def record_as_json(record: Mapping[str, Any]) -> bytes:
    """Return a record, or another JSON object of a folder, as it is written."""
    return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()


def write_card(
    folder: str | Path,
    record: Mapping[str, Any] | None = None,
    *,
    model_id: str | None = None,
    replace: bool = False,
) -> Path:
    """Write the model card of a checkpoint folder, from `record` or the folder's own; return its path.

    A card that somebody has edited or written is left alone, unless `replace` is set.
    """
    folder = Path(folder)
    path = folder / CARD_FILE
    if replace or not keeps_card(folder):
        record = read_record(folder) if record is None else record
        atomic_write_text(path, render_card(record, model_id or folder.resolve().name))
    return path


def keeps_card(folder: Path) -> bool:
    """Return whether the folder has a card that somebody has edited, and warn that it is kept."""
    path = folder / CARD_FILE
    is_edited = path.is_file() and not is_as_rendered(path.read_text(encoding="utf-8"))
    if is_edited:
        logger.warning("%s was edited and is kept; it may not describe these weights", path)
    return is_edited


def plan_card(
    folder: str | Path, model_id: str, fields: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Return the folder's record with these fields of its card, and the card as it will be published.

    The card is rendered from the record, or the folder's own if somebody has edited it. Nothing is written.
    """
    record = read_record(folder)
    path = Path(folder) / CARD_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    fields = {name: value for name, value in (fields or {}).items() if value}
    if fields:
        record["card"] = {**(record.get("card") or {}), **fields}
    if text is None or is_as_rendered(text):
        return record, render_card(record, model_id)
    if fields:
        raise ValueError(f"{path} was edited, so {', '.join(fields)} must be filled in there.")
    return record, text


def is_as_rendered(text: str) -> bool:
    """Return whether a card is exactly as it was rendered, neither edited nor written by something else."""
    found = STAMP.search(text)
    return found is not None and found[1] == digest(text[: found.start()].rstrip() + "\n")


def find_card_gaps(text: str, record: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return a sentence for each thing that a card must say and does not, or that is of another record."""
    try:
        card = ModelCard(text, ignore_metadata_errors=False)
        metadata = card.data.to_dict()
    except (ValueError, TypeError, yaml.YAMLError) as error:
        return (f"its metadata cannot be read: {error}",)
    gaps = [f"metadata `{name}:` is empty" for name in REQUIRED_METADATA if not metadata.get(name)]
    sections = {
        title.strip(): body for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    for title in REQUIRED_SECTIONS:
        body = STAMP.sub("", sections.get(title, "")).strip()
        if title not in sections:
            gaps.append(f"there is no section `## {title}`")
        elif not body:
            gaps.append(f"section `## {title}` is empty")
        elif TO_BE_FILLED_IN in body:
            gaps.append(f"section `## {title}` has a part {TO_BE_FILLED_IN}")
    stamp = STAMP.search(text)
    if record is not None and stamp and stamp[2] != digest_record(record):
        gaps.append(
            f"it was rendered from another {RECORD_FILE}; render it again with write_card, replace=True"
        )
    return tuple(gaps)
