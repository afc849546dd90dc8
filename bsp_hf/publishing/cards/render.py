"""Model cards: rendered from records, written beside the weights, and checked for gaps."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .encoder import build_encoder_card
from .facts import TO_BE_FILLED_IN, CardFacts, CardMetric
from .localizer import build_localizer_card

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
_TEMPLATE = Path(__file__).with_name("card_template.md")
# The last line of a rendered card tells whether somebody has changed it since, and which record it is of.
_STAMP = "<!-- rendered by bsp_hf: text {text}, record {record} -->"
_STAMP_PATTERN = re.compile(r"<!-- rendered by bsp_hf: text (\w+), record (\w+) -->\s*\Z")


def build_card(record: Mapping[str, Any], model_id: str) -> CardFacts:
    """Collect what a card says out of a record.

    Args:
        record (`Mapping`): What `training_record.json` holds; with an entry `localizer` it is that of a
            localizer, else of an encoder.
        model_id (`str`): Hub id or name of the folder.

    Returns:
        `CardFacts`: See [`build_encoder_card`] and [`build_localizer_card`].

    Raises:
        ValueError: If `card` has a field of another name.
    """
    build = build_localizer_card if "localizer" in record else build_encoder_card
    return build(record, model_id)


def render_card(record: Mapping[str, Any], model_id: str) -> str:
    """Render the model card of a record.

    Args:
        record (`Mapping`): What `training_record.json` holds; see [`build_card`].
        model_id (`str`): Hub id or name of the folder, as one would load it.

    Returns:
        `str`: Markdown with the Hub's metadata in front. The same record gives the same text.

    Raises:
        ValueError: If a field of the record's `card` is unknown.

    Example:
    ```python
    >>> from bsp_hf.publishing.cards.render import render_card
    >>> card = render_card({"card": {"license": "apache-2.0"}}, "org/my-encoder")
    >>> card.splitlines()[:2]
    ['---', 'library_name: transformers']
    ```
    """
    card = build_card(record, model_id)
    rendered = ModelCard.from_template(
        _describe_for_hub(card), template_path=str(_TEMPLATE), card=card, stamp=""
    )
    text = str(rendered).rstrip() + "\n"
    return f"{text}\n{_STAMP.format(text=_digest(text), record=_digest_record(record))}\n"


def write_card(
    folder: str | Path,
    record: Mapping[str, Any] | None = None,
    *,
    model_id: str | None = None,
    replace: bool = False,
) -> Path:
    """Write the model card of a checkpoint folder.

    Args:
        folder (`str` or `Path`): The folder.
        record (`Mapping`, *optional*): The record; `None` reads the folder's `training_record.json`.
        model_id (`str`, *optional*): Hub id; `None` takes the folder's name.
        replace (`bool`, *optional*, defaults to `False`): Replace a card that somebody has edited or written,
            which is else left alone.

    Returns:
        `Path`: The card.

    Raises:
        FileNotFoundError: If there is no record.
        ValueError: If the record cannot be read.
    """
    folder = Path(folder)
    path = folder / CARD_FILE
    if not replace and path.is_file() and not is_as_rendered(path.read_text(encoding="utf-8")):
        logger.warning("%s was edited and is kept; it may not describe these weights", path)
        return path
    text = render_card(read_record(folder) if record is None else record, model_id or folder.resolve().name)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def plan_card(
    folder: str | Path, model_id: str, fields: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Fill in a folder's card and name the model as it will be published; nothing is written.

    Args:
        folder (`str` or `Path`): The folder.
        model_id (`str`): Hub id.
        fields (`Mapping`, *optional*): What to fill in, by the names in `CARD_FIELDS`.

    Returns:
        `tuple[dict, str]`: The record with these fields, and the card: rendered from the record, or the
        folder's own if somebody has edited it.

    Raises:
        FileNotFoundError: If the folder has no record.
        ValueError: If fields are to be filled into a card that somebody has edited, or are unknown.
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


def read_record(folder: str | Path) -> dict[str, Any]:
    """Read how a model was made.

    Args:
        folder (`str` or `Path`): Its folder.

    Returns:
        `dict`: The content of `training_record.json`.

    Raises:
        FileNotFoundError: If the folder has none.
        ValueError: If it is no JSON object.
    """
    path = Path(folder) / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing; save_checkpoint_folder and save_localizer_folder write it."
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(record).__name__}.")
    return record


def is_as_rendered(text: str) -> bool:
    """Tell whether a card is as it was rendered, to the letter.

    Args:
        text (`str`): The card.

    Returns:
        `bool`: `False` for cards that were edited, or that something else wrote.
    """
    found = _STAMP_PATTERN.search(text)
    return found is not None and found[1] == _digest(text[: found.start()].rstrip() + "\n")


def find_card_gaps(text: str, record: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Find what a card must say and does not.

    Args:
        text (`str`): The card.
        record (`Mapping`, *optional*): The record it should be of.

    Returns:
        `tuple[str, ...]`: One sentence for each gap; empty if the card is complete.
    """
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
        body = _STAMP_PATTERN.sub("", sections.get(title, "")).strip()
        if title not in sections:
            gaps.append(f"there is no section `## {title}`")
        elif not body:
            gaps.append(f"section `## {title}` is empty")
        elif TO_BE_FILLED_IN in body:
            gaps.append(f"section `## {title}` has a part {TO_BE_FILLED_IN}")
    stamp = _STAMP_PATTERN.search(text)
    if record is not None and stamp and stamp[2] != _digest_record(record):
        gaps.append(
            f"it was rendered from another {RECORD_FILE}; render it again with write_card, replace=True"
        )
    return tuple(gaps)


def _describe_for_hub(card: CardFacts) -> ModelCardData:
    return ModelCardData(
        library_name=card.library_name,
        license=card.license or None,
        pipeline_tag=card.pipeline_tag,
        tags=list(card.tags),
        datasets=list(card.datasets) or None,
        base_model=card.base_models[0] if len(card.base_models) == 1 else list(card.base_models) or None,
        model_name=card.name if card.metrics else None,
        eval_results=[_describe_metric(metric, card.task_type) for metric in card.metrics] or None,
    )


def _describe_metric(metric: CardMetric, task_type: str) -> EvalResult:
    return EvalResult(
        task_type=task_type,
        task_name=metric.task,
        dataset_type=re.sub(r"[^a-z0-9]+", "-", metric.data.lower()).strip("-"),
        dataset_name=metric.data,
        metric_type=metric.metric_type,
        metric_value=round(metric.value, 6),
        metric_name=metric.name if metric.seed is None else f"{metric.name} (seed {metric.seed})",
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest_record(record: Mapping[str, Any]) -> str:
    return _digest(json.dumps(record, sort_keys=True, default=str))
