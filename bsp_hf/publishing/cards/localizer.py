"""What the card of a localizer says, taken from the record of its training or of a conversion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class LocalizerKind:
    """What the cards of all localizers of one kind have in common.

    Args:
        name (`str`): As papers call it.
        task (`str`): Task of its pipeline.
        finds (`str`): What it finds, in the middle of a sentence.
        call (`str`): How its pipeline is called, in Python.
        citation (`str`): BibTeX entry of its own paper; `""` where the paper behind the package has it.
    """

    name: str
    task: str
    finds: str
    call: str
    citation: str = ""


_GTAD = """@inproceedings{xu2020gtad,
  title     = {{G-TAD}: Sub-Graph Localization for Temporal Action Detection},
  author    = {Xu, Mengmeng and Zhao, Chen and Rojas, David S. and Thabet, Ali and Ghanem, Bernard},
  booktitle = {CVPR},
  year      = {2020}
}
"""
_TAN = """@inproceedings{zhang2020learning,
  title     = {Learning {2D} Temporal Adjacent Networks for Moment Localization with Natural Language},
  author    = {Zhang, Songyang and Peng, Houwen and Fu, Jianlong and Luo, Jiebo},
  booktitle = {AAAI},
  year      = {2020}
}
"""
_LGI = """@inproceedings{mun2020local,
  title     = {Local-Global Video-Text Interactions for Temporal Grounding},
  author    = {Mun, Jonghwan and Cho, Minsu and Han, Bohyung},
  booktitle = {CVPR},
  year      = {2020}
}
"""
_MOMENT = "the moment of a video that a sentence describes"
_SENTENCE = '"video.mp4", "a person opens the door"'
KINDS: dict[str, LocalizerKind] = {
    "gtad": LocalizerKind(
        "G-TAD", "temporal-action-localization", "the actions in a video", '"video.mp4"', _GTAD
    ),
    "tan": LocalizerKind("2D-TAN", "video-grounding", _MOMENT, _SENTENCE, _TAN),
    "lgi": LocalizerKind("LGI", "video-grounding", _MOMENT, _SENTENCE, _LGI),
    "actionness": LocalizerKind(
        "linear actionness", "step-localization", "the steps of an instructional video", '"video.mp4"'
    ),
}
# A localizer's code is no part of its repository, unlike that of an encoder.
_USAGE = """import bsp_hf  # needed: its code is not in this repository
from transformers import pipeline

localize = pipeline("{task}", model="{model_id}")
for segment in localize({call}):
    print(segment["label"], segment["score"], segment["start_s"], segment["end_s"])"""
_INTENDED_USE = (
    "Finding {finds}: start and end in seconds, and a score. It reads features of the encoder that it was "
    "trained on, out of a video or stored ones, and refuses others."
)
_LIMITS = (
    "It knows what its training videos showed, in the lengths and the words that they had; what differs from "
    "them is found worse or not at all. Scores rank segments of a video and are no probabilities. Short "
    "segments are found worse than long ones, for the time axis is a coarse one."
)
_BIAS_AND_PRIVACY = (
    "It has the biases of its training videos and of whoever annotated them: which people, places, actions "
    "and words occur, and what was called an action at all. This package balanced and filtered nothing. "
    "Ask for consent where the law or decency wants it, and do not use it to watch people."
)
_CHOSEN_ON = (
    "The epoch with the best {metric} was kept, chosen on these same videos, as the published code does: the "
    "numbers flatter."
)
_TAGS = ("bsp_hf", "video", "temporal-localization")
# Told beside the metrics; not one itself.
_NO_METRIC = ("positive_share",)


def build_localizer_card(record: Mapping[str, Any], model_id: str) -> CardFacts:
    """Collect what the card of a localizer says out of its record.

    Args:
        record (`Mapping`): What `training_record.json` holds. `localizer` describes the model; `card` holds
            what people wrote, by the names in `CARD_FIELDS`; the rest is what `examples/train_localizer.py`
            and conversion record.
        model_id (`str`): Hub id or name of the folder.

    Returns:
        `CardFacts`: The card. What nobody told is `"Not recorded"` or `"Not measured"`, and what only the
        owner can tell has the marker `TO_BE_FILLED_IN`.

    Raises:
        ValueError: If `card` has a field of another name, or the record is of an unknown kind of localizer.
    """
    written = read_written_fields(record)
    localizer = record["localizer"]
    kind = KINDS.get(localizer.get("kind", "")) if isinstance(localizer, Mapping) else None
    if kind is None:
        raise ValueError(
            f"the record describes its localizer as {localizer!r}; expected what save_localizer_folder "
            f"writes, of a kind out of {', '.join(KINDS)}. Save the localizer again."
        )
    is_converted = "conversion" in record
    metrics = collect_localizer_metrics(record)
    citations = f"{kind.citation}{'' if is_converted else CITATION}".strip() or CITATION
    return CardFacts(
        model_id=model_id,
        summary=written.get("summary") or _summarize(record, kind),
        usage=_USAGE.format(task=kind.task, model_id=model_id, call=kind.call),
        about=_describe_localizer(localizer, kind),
        training_data=written.get("training_data") or _describe_data(record),
        datasets=tuple(written.get("datasets") or ()),
        training=_describe_training(record),
        commands=list_commands(record),
        metrics=metrics,
        results_note=written.get("results_note") or _describe_choice(record, metrics),
        intended_use=written.get("intended_use") or _INTENDED_USE.format(finds=kind.finds),
        limits=written.get("limits") or (LIMITS_OF_CONVERTED if is_converted else _LIMITS),
        bias_and_privacy=written.get("bias_and_privacy") or _BIAS_AND_PRIVACY,
        license=written.get("license") or "",
        license_text=describe_licence(written),
        citation=written.get("citation") or citations,
        # The Hub has no task for segments of videos; the tag says it.
        pipeline_tag="other",
        tags=tuple(dict.fromkeys((*_TAGS, kind.task, *(written.get("tags") or ())))),
        library_name="bsp_hf",
        task_type=kind.task,
        base_models=tuple(
            encoder["id"] for encoder in localizer.get("encoders") or () if is_hub_id(encoder["id"])
        ),
    )


def collect_localizer_metrics(record: Mapping[str, Any]) -> tuple[CardMetric, ...]:
    """Take the metrics of a record: those it lists, else those of the epoch that was kept.

    Args:
        record (`Mapping`): As for [`build_localizer_card`].

    Returns:
        `tuple[CardMetric, ...]`: Finite numbers only; each says what it is over, with "n of N videos".
    """
    kind = KINDS[record["localizer"]["kind"]]
    common = describe_metric_origin(record, kind.task.replace("-", " ").capitalize())
    if "metrics" in record:
        return tuple(CardMetric(**{"metric_type": row["name"], **common, **row}) for row in record["metrics"])
    arguments = record.get("arguments") or {}
    file = arguments.get("eval_annotations") or arguments.get("annotations")
    parts = [Path(file).name if file else None, arguments.get("eval_subset"), record.get("evaluated")]
    data = ", ".join(str(part) for part in parts if part)
    results = record.get("results") or {}
    return tuple(
        CardMetric(name, float(value), data, metric_type=name, **common)
        for name, value in sorted(results.items(), key=lambda item: item[0] != record.get("metric"))
        if name not in _NO_METRIC and isinstance(value, int | float) and math.isfinite(value)
    )


def _summarize(record: Mapping[str, Any], kind: LocalizerKind) -> str:
    if conversion := record.get("conversion"):
        return (
            f"{kind.name}, converted from `{conversion['source']['file']}` by bsp_hf: it finds {kind.finds}."
        )
    return f"{kind.name} on features of a frozen video encoder: it finds {kind.finds}, in seconds."


def _describe_localizer(localizer: Mapping[str, Any], kind: LocalizerKind) -> tuple[CardRow, ...]:
    num_parameters, dim = localizer.get("num_parameters"), localizer.get("feature_dim")
    fps, stride = localizer.get("feature_fps"), localizer.get("feature_stride_frames")
    grid = f", a row every {stride} frames" if stride else ""
    grid += f" at {fps:g} frames a second" if fps else ""
    encoders = [f"`{encoder['id']}` ({encoder['revision']})" for encoder in localizer.get("encoders") or ()]
    where = "in this repository" if localizer.get("holds_encoder") else "not in this repository"
    rows = {
        "localizer": kind.name,
        "class": localizer.get("model_class"),
        "parameters": f"{num_parameters:,}" if num_parameters else None,
        "features": f"{dim} numbers{grid}" if dim else None,
        "encoder": f"{' and '.join(encoders)}, {where}" if encoders else None,
    }
    if localizer.get("queries"):
        rows["sentences are read by"] = localizer["queries"]
    return tuple(CardRow(name, str(value or NOT_RECORDED)) for name, value in rows.items())


def _describe_data(record: Mapping[str, Any]) -> str:
    if conversion := record.get("conversion"):
        source = conversion["source"]
        return (
            f"{TO_BE_FILLED_IN}: what the converted checkpoint was trained on. It was `{source['file']}`, "
            f"SHA-256 `{source['sha256']}`."
        )
    gap = f"{TO_BE_FILLED_IN}: which videos and annotations, and under which licence."
    counts = record.get("num_samples")
    if not counts:
        return gap
    return f"{counts['training']} samples; {counts['evaluation']} more to evaluate on. {gap}"


def _describe_training(record: Mapping[str, Any]) -> tuple[CardRow, ...]:
    settings = {name: value for name, value in (record.get("hyper_parameters") or {}).items() if value}
    if "plateau_factor" not in settings:
        settings.pop("plateau_patience", None)
    missing = {part: len(videos) for part, videos in (record.get("missing_videos") or {}).items() if videos}
    return describe_run_rows(
        record,
        {
            "setting": record.get("preset"),
            "hyper-parameters": ", ".join(f"{name} {value}" for name, value in settings.items()),
            "optimizer steps": record.get("step"),
            "videos without features": ", ".join(f"{part} {n}" for part, n in missing.items())
            or ("none" if "missing_videos" in record else None),
            "bad rows left out": len(record["bad_rows"]) or "none" if "bad_rows" in record else None,
        },
    )


def _describe_choice(record: Mapping[str, Any], metrics: tuple[CardMetric, ...]) -> str:
    metric = record.get("metric")
    if not metrics or not metric or "metrics" in record:
        return ""
    note = _CHOSEN_ON.format(metric=metric)
    if share := (record.get("results") or {}).get("positive_share"):
        note += f" Of all segments {share:.3f} are positive, which is what a constant score reaches."
    return note
