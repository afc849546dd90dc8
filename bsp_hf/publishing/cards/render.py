"""Renders the model card of a record: the text is in `card.md`, `encoder.md` and `localizer.md`."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bsp_hf.localization.localizer.config import LOCALIZER_TASKS

from .metrics import CardMetric, collect_metrics

# Stands where only the owner knows what to write; a card that contains it is not published.
TO_BE_FILLED_IN = "[To be filled in]"
CARD_FIELDS = (
    "summary",
    "training_data",
    "datasets",
    "intended_use",
    "limits",
    "bias_and_privacy",
    "license",
    "license_text",
    "citation",
    "results_note",
    "python_name",  # what code puts for the name of the model
    "tags",
)
# The last line of a rendered card shows whether somebody has edited it since, and which record it is of.
STAMP = re.compile(r"<!-- rendered by bsp_hf: text (\w+), record (\w+) -->\s*\Z")


def render_card(record: Mapping[str, Any], model_id: str) -> str:
    """Render the model card of a record.

    Args:
        record (`Mapping`): What `training_record.json` holds; with an entry `localizer` it is that of a
            localizer, else of an encoder. Its entry `card` holds what people wrote, by the names in
            `CARD_FIELDS`; `is_trained` may be `False` for a mere plan. What is missing is `"Not recorded"` or
            `"Not measured"` in the card, and what only the owner can know is marked `[To be filled in]`.
        model_id (`str`): Hub id or name of the folder, as one would load it.

    Returns:
        `str`: Markdown with the Hub's metadata in front. The same record gives the same text.

    Raises:
        ValueError: If a field of the record's `card` is unknown, or the record is of an unknown kind of
            localizer.

    Example:
    ```python
    >>> from bsp_hf.publishing.cards.render import render_card
    >>> card = render_card({"card": {"license": "apache-2.0"}}, "org/my-encoder")
    >>> card.splitlines()[:2]
    ['---', 'library_name: transformers']
    ```
    """
    card = dict(record.get("card") or {})
    if unknown := sorted(card.keys() - set(CARD_FIELDS)):
        raise ValueError(f"card: {', '.join(unknown)} is not one of its fields ({', '.join(CARD_FIELDS)}).")
    task = _find_task(record["localizer"]) if "localizer" in record else None
    metrics = collect_metrics(record, task)
    command = record.get("command")
    commands = [command] if isinstance(command, str) else list(command or ())
    metric_commands = dict.fromkeys(metric.command for metric in metrics)
    name = model_id.rpartition("/")[2]
    text = _TEMPLATES.get_template("encoder.md" if task is None else "localizer.md").render(
        record=record,
        card=card,
        task=task,
        model_id=model_id,
        name=name,
        metadata=_describe_for_hub(record, card, task, name, metrics).to_yaml(),
        metrics=metrics,
        commands=commands,
        metric_commands=[command for command in metric_commands if command and command not in commands],
        gap=TO_BE_FILLED_IN,
        unknown="Not recorded" if record.get("is_trained", True) else "Not trained",
    )
    text = str(ModelCard(text)).rstrip() + "\n"
    return f"{text}\n<!-- rendered by bsp_hf: text {digest(text)}, record {digest_record(record)} -->\n"


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that depend on the whole text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_record(record: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that depend on the whole record."""
    return digest(json.dumps(record, sort_keys=True, default=str))


def _find_task(localizer: Any) -> str:  # Any: whatever a record holds
    kind = localizer.get("kind") if isinstance(localizer, Mapping) else None
    if kind not in LOCALIZER_TASKS:
        raise ValueError(
            f"the record describes its localizer as {localizer!r}; expected what save_localizer_folder "
            f"writes, of a kind out of {', '.join(LOCALIZER_TASKS)}. Save the localizer again."
        )
    return LOCALIZER_TASKS[kind]


def _describe_for_hub(
    record: Mapping[str, Any],
    card: Mapping[str, Any],
    task: str | None,
    name: str,
    metrics: Collection[CardMetric],
) -> ModelCardData:
    tags = [
        "bsp_hf",
        "video",
        "temporal-localization",
        task or "boundary-detection",
        *(card.get("tags") or ()),
    ]
    if task is None:
        has_classifier = (record.get("encoder") or {}).get("num_labels")
        # The Hub has no task for features of videos. Whoever calls `pipeline` without a task gets this one,
        # so a model without a classifier must not claim it.
        pipeline_tag = "video-classification" if has_classifier else "feature-extraction"
        bases = [(record.get("arguments") or {}).get("init_from")]
    else:
        pipeline_tag = "other"  # the Hub has no task for segments of videos; the tag names it
        bases = [encoder["id"] for encoder in record["localizer"].get("encoders") or ()]
    base_models = [str(base) for base in bases if _is_hub_id(base)]
    return ModelCardData(
        # The repositories of encoders carry their code, so transformers alone can load them.
        library_name="transformers" if task is None else "bsp_hf",
        license=card.get("license") or None,
        pipeline_tag=pipeline_tag,
        tags=list(dict.fromkeys(tags)),
        datasets=list(card.get("datasets") or ()) or None,
        base_model=base_models[0] if len(base_models) == 1 else base_models or None,
        model_name=name if metrics else None,
        eval_results=[_describe_metric(metric, task or "video-classification") for metric in metrics] or None,
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


def _is_hub_id(name: Any) -> bool:  # Any: whatever a record holds
    """Return whether a name may be the id of a model on the Hub, and is not a path."""
    return isinstance(name, str) and name.count("/") == 1 and name[0] not in "./~"


def _write_pairs(values: Mapping[str, Any] | None, between: str = " ", without: Collection[str] = ()) -> str:
    pairs = (values or {}).items()
    return ", ".join(f"{name}{between}{value}" for name, value in pairs if value and name not in without)


def _write_duration(seconds: float | None) -> str:
    if seconds is None or isinstance(seconds, jinja2.Undefined):
        return ""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.ChainableUndefined,  # a record may lack any entry
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"pairs": _write_pairs, "duration": _write_duration}
