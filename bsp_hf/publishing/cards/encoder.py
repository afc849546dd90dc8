"""What the card of an encoder says, taken from the record of a training run or of a conversion."""

import math
from collections.abc import Mapping
from typing import Any

from .facts import (
    CITATION,
    LIMITS_OF_CONVERTED,
    NOT_RECORDED,
    TO_BE_FILLED_IN,
    CardFacts,
    CardMetric,
    CardRow,
    describe_licence,
    describe_metric_origin,
    describe_run_rows,
    is_hub_id,
    list_commands,
    read_written_fields,
)

_INTENDED_USE = (
    "Features of untrimmed videos, snippet by snippet, for temporal localization: action and step detection, "
    "grounding of sentences, and finding where a video changes. The encoder is meant to stay frozen under a "
    "localizer, alone or beside an encoder that knows actions."
)
_LIMITS = (
    "It tells boundaries that were synthesized: cross-faded or hard cuts between clips and sudden changes of "
    "speed. Much of that can be read from motion energy alone, so a high score on the pretext says little "
    "about real boundaries; measure on your own task. Gradual changes, sound, and videos unlike the training "
    "data are outside of what it has seen. It identifies nobody."
)
_BIAS_AND_PRIVACY = (
    "It has the biases of its training videos: whose bodies, places and activities they show, and how they "
    "were filmed. Nothing was balanced or filtered by this package. Videos show people, and features of a "
    "video can carry traces of who and what was in it: ask for consent where the law or decency wants it, "
    "and do not use the encoder to watch people."
)
_CITE_CONVERTED = f"{TO_BE_FILLED_IN}: the paper behind the checkpoint that was converted"
_TAGS = ("bsp_hf", "video", "temporal-localization", "boundary-detection")
_USAGE = """import bsp_hf  # without it, pass trust_remote_code=True
from transformers import pipeline

extract = pipeline("video-feature-extraction", model="{model_id}")
track = extract("video.mp4")
track["features"]  # float32 (num_snippets, {feature_dim})
track["centers_s"]  # the second at the centre of each row"""


def build_encoder_card(record: Mapping[str, Any], model_id: str) -> CardFacts:
    """Collect what the card of an encoder says out of its record.

    Args:
        record (`Mapping`): What `training_record.json` holds. `encoder` describes the model; `card` holds
            what people wrote, by the names in `CARD_FIELDS`; `is_trained` may be `False` for a mere plan; the
            rest is what pre-training and conversion record.
        model_id (`str`): Hub id or name of the folder.

    Returns:
        `CardFacts`: The card. What nobody told is `"Not recorded"` or `"Not measured"`, and what only the
        owner can tell has the marker `TO_BE_FILLED_IN`.

    Raises:
        ValueError: If `card` has a field of another name.
    """
    written = read_written_fields(record)
    encoder = record.get("encoder") or {}
    is_converted = "conversion" in record
    init_from = (record.get("arguments") or {}).get("init_from")
    return CardFacts(
        model_id=model_id,
        summary=written.get("summary") or _summarize(record, encoder),
        usage=_USAGE.format(model_id=model_id, feature_dim=int(encoder.get("feature_dim") or 0)),
        about=_describe_encoder(encoder),
        training_data=written.get("training_data") or _describe_data(record),
        datasets=tuple(written.get("datasets") or ()),
        training=_describe_training(record),
        commands=list_commands(record),
        metrics=collect_metrics(record),
        results_note=written.get("results_note") or "",
        intended_use=written.get("intended_use") or _INTENDED_USE,
        limits=written.get("limits") or (LIMITS_OF_CONVERTED if is_converted else _LIMITS),
        bias_and_privacy=written.get("bias_and_privacy") or _BIAS_AND_PRIVACY,
        license=written.get("license") or "",
        license_text=describe_licence(written),
        citation=written.get("citation") or (_CITE_CONVERTED if is_converted else CITATION),
        # The Hub has no task for features of videos. Whoever calls `pipeline` without a task gets this one,
        # so a model without a classifier must not claim it.
        pipeline_tag="video-classification" if encoder.get("num_labels") else "feature-extraction",
        tags=(*_TAGS, *(written.get("tags") or ())),
        # The repositories carry their code, so transformers alone can load them.
        library_name="transformers",
        task_type="video-classification",
        base_models=(str(init_from),) if is_hub_id(init_from) else (),
    )


def collect_metrics(record: Mapping[str, Any]) -> tuple[CardMetric, ...]:
    """Take the metrics of a record: those it lists, else those of its last evaluation.

    Args:
        record (`Mapping`): As for [`build_encoder_card`].

    Returns:
        `tuple[CardMetric, ...]`: Finite numbers only.
    """
    common = describe_metric_origin(record, "Boundary classification")
    if "metrics" in record:
        return tuple(CardMetric(**{"metric_type": row["name"], **common, **row}) for row in record["metrics"])
    evaluations = [entry for entry in record.get("history") or () if "eval_loss" in entry]
    if not evaluations:
        return ()
    last = evaluations[-1]
    num_sources = (record.get("num_sources") or {}).get("held_out")
    data = f"{last.get('eval_num_clips', 'the')} clips out of {num_sources or 'the'} held-out videos"
    common["task"] = f"Pretext {record.get('task') or 'boundary'}"
    numbers = {"accuracy": last.get("eval_accuracy"), "loss": last.get("eval_loss")}
    metrics = [CardMetric(name, value, data, metric_type=name, **common) for name, value in numbers.items()
               if isinstance(value, float) and math.isfinite(value)]  # fmt: skip
    for label, recall in (last.get("eval_class_recall") or {}).items():
        if math.isfinite(recall):
            metrics.append(CardMetric(f"recall of {label}", recall, data, metric_type="recall", **common))
    return tuple(metrics)


def _summarize(record: Mapping[str, Any], encoder: Mapping[str, Any]) -> str:
    kind = encoder.get("architecture") or "video encoder"
    kind = f"{kind}, temporal shift"
    if conversion := record.get("conversion"):
        return f"A video encoder ({kind}), converted from `{conversion['source']['file']}` by bsp_hf."
    return (
        f"A video encoder ({kind}), pre-trained on boundaries that were synthesized out of trimmed clips, so "
        "that its features tell where something changes."
    )


def _describe_encoder(encoder: Mapping[str, Any]) -> tuple[CardRow, ...]:
    num_parameters = encoder.get("num_parameters")
    rows = {
        "architecture": encoder.get("architecture"),
        "class": encoder.get("model_class"),
        "parameters": f"{num_parameters / 1e6:.2f} million" if num_parameters else None,
        "feature": f"{encoder['feature_dim']} numbers a snippet" if encoder.get("feature_dim") else None,
        "snippet": f"{encoder['num_frames']} frames" if encoder.get("num_frames") else None,
        "frames": encoder.get("preprocessing"),
    }
    return tuple(CardRow(name, str(value or NOT_RECORDED)) for name, value in rows.items())


def _describe_data(record: Mapping[str, Any]) -> str:
    if conversion := record.get("conversion"):
        source = conversion["source"]
        return (
            f"{TO_BE_FILLED_IN}: what the converted checkpoint was trained on. It was `{source['file']}`, "
            f"SHA-256 `{source['sha256']}`."
        )
    if "num_sources" not in record:
        return f"{TO_BE_FILLED_IN}: which videos, how many, under which licence."
    counts = record["num_sources"]
    text = f"{counts['training']} videos; {counts['held_out']} more were held out."
    if not (record.get("arguments") or {}).get("video_dir"):
        return f"{text} All of them were rendered by bsp_hf: moving shapes, and no people."
    return f"{text} {TO_BE_FILLED_IN}: which videos they are, and under which licence."


def _describe_training(record: Mapping[str, Any]) -> tuple[CardRow, ...]:
    steps = [entry["step"] for entry in record.get("history") or () if "step" in entry]
    return describe_run_rows(
        record,
        {
            "task": record.get("task"),
            "optimizer steps": record.get("steps") or (max(steps) if steps else None),
            "clips seen": record.get("clips_seen"),
        },
    )
