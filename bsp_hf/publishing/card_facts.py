"""What a model card says, taken from the record of a training run or of a conversion."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "Not measured"
NOT_RECORDED = "Not recorded"
# Stands where only the owner knows what to say; nothing with it in its card is published.
TO_BE_FILLED_IN = "[To be filled in]"

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
_LIMITS_OF_CONVERTED = (
    "Those of the checkpoint that was converted. The conversion changes no weight; its record lists what was "
    "taken, what was left and which settings were assumed."
)
_BIAS_AND_PRIVACY = (
    "It has the biases of its training videos: whose bodies, places and activities they show, and how they "
    "were filmed. Nothing was balanced or filtered by this package. Videos show people, and features of a "
    "video can carry traces of who and what was in it: ask for consent where the law or decency wants it, "
    "and do not use the encoder to watch people."
)
_CITATION = """@inproceedings{xu2021boundary,
  title     = {Boundary-sensitive Pre-training for Temporal Localization in Videos},
  author    = {Xu, Mengmeng and P{\\'e}rez-R{\\'u}a, Juan-Manuel and Escorcia, Victor and
               Mart{\\'i}nez, Brais and Zhu, Xiatian and Zhang, Li and Ghanem, Bernard and Xiang, Tao},
  booktitle = {ICCV},
  year      = {2021}
}"""
_CITE_CONVERTED = f"{TO_BE_FILLED_IN}: the paper behind the checkpoint that was converted"
_TAGS = ("bsp_hf", "video", "temporal-localization", "boundary-detection")
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
    "tags",
)


@dataclass(frozen=True)
class CardRow:
    """One line of a card's tables.

    Args:
        name (`str`): What is told.
        value (`str`): What it is.
    """

    name: str
    value: str


@dataclass(frozen=True)
class CardMetric:
    """One measured number, and what makes it traceable.

    Args:
        name (`str`): For instance `"accuracy"`.
        value (`float`): The number, as a share and not in per cent where it is one.
        data (`str`): What it was measured on, and on how much of it.
        seed (`int`, *optional*): Seed of the run.
        command (`str`): The command that printed it.
        commit (`str`): The code's commit, or `"Not recorded"`.
        metric_type (`str`): Name of the metric as the Hub knows it, for instance `"accuracy"`.
        task (`str`): What was asked, for instance `"Boundary classification"`.
    """

    name: str
    value: float
    data: str
    seed: int | None
    command: str
    commit: str
    metric_type: str
    task: str


@dataclass(frozen=True)
class EncoderCard:
    """Everything that a card tells; see [`build_card`].

    Args:
        model_id (`str`): Hub id or name of the folder, as one would load it.
        summary (`str`): What it is, in a sentence or two.
        feature_dim (`int`): Width of a feature.
        encoder (`tuple[CardRow, ...]`): Architecture and preprocessing.
        training_data (`str`): Which videos, how many, under which licence.
        datasets (`tuple[str, ...]`): Ids of those that are on the Hub.
        training (`tuple[CardRow, ...]`): How it was trained, on what, for how long.
        commands (`tuple[str, ...]`): Commands that trained it.
        metrics (`tuple[CardMetric, ...]`): What was measured; empty if nothing was.
        results_note (`str`): How the numbers are to be read.
        intended_use (`str`): What it is for.
        limits (`str`): What it is not for and cannot do.
        bias_and_privacy (`str`): Of the videos and of what follows from them.
        license (`str`): Identifier of the licence of the weights, as the Hub spells it; `""` if unknown.
        license_text (`str`): What there is to say about licences.
        citation (`str`): A BibTeX entry.
        pipeline_tag (`str`): Task by which the Hub files it.
        tags (`tuple[str, ...]`): Further tags.
        base_model (`str`, *optional*): Hub id of the image model it started from.
    """

    model_id: str
    summary: str
    feature_dim: int
    encoder: tuple[CardRow, ...]
    training_data: str
    datasets: tuple[str, ...]
    training: tuple[CardRow, ...]
    commands: tuple[str, ...]
    metrics: tuple[CardMetric, ...]
    results_note: str
    intended_use: str
    limits: str
    bias_and_privacy: str
    license: str
    license_text: str
    citation: str
    pipeline_tag: str
    tags: tuple[str, ...]
    base_model: str | None = None

    @property
    def name(self) -> str:
        """The model's own name, without its owner's."""
        return self.model_id.rpartition("/")[2]

    @property
    def metric_commands(self) -> tuple[str, ...]:
        """The commands behind the metrics, each once, without those that trained the encoder."""
        commands = dict.fromkeys(metric.command for metric in self.metrics)
        return tuple(command for command in commands if command and command not in self.commands)


def build_card(record: Mapping[str, Any], model_id: str) -> EncoderCard:
    """Collect what a card says out of a record.

    Args:
        record (`Mapping`): What `training_record.json` holds. `encoder` describes the model; `card` holds
            what people wrote, by the names in `CARD_FIELDS`; `is_trained` may be `False` for a mere plan; the
            rest is what pre-training and conversion record.
        model_id (`str`): Hub id or name of the folder.

    Returns:
        `EncoderCard`: The card. What nobody told is `"Not recorded"` or `"Not measured"`, and what only the
        owner can tell has the marker `TO_BE_FILLED_IN`.

    Raises:
        ValueError: If `card` has a field of another name.
    """
    written = dict(record.get("card") or {})
    if unknown := sorted(written.keys() - set(CARD_FIELDS)):
        raise ValueError(f"card: {', '.join(unknown)} is none of its fields ({', '.join(CARD_FIELDS)}).")
    encoder = record.get("encoder") or {}
    arguments = record.get("arguments") or {}
    is_converted = "conversion" in record
    license_id = written.get("license") or ""
    init_from = arguments.get("init_from")
    command = record.get("command")
    is_hub_id = isinstance(init_from, str) and init_from.count("/") == 1 and init_from[0] not in "./~"
    return EncoderCard(
        model_id=model_id,
        summary=written.get("summary") or _summarize(record, encoder),
        feature_dim=int(encoder.get("feature_dim") or 0),
        encoder=_describe_encoder(encoder),
        training_data=written.get("training_data") or _describe_data(record),
        datasets=tuple(written.get("datasets") or ()),
        training=_describe_training(record),
        commands=(command,) if isinstance(command, str) else tuple(command or ()),
        metrics=collect_metrics(record),
        results_note=written.get("results_note") or "",
        intended_use=written.get("intended_use") or _INTENDED_USE,
        limits=written.get("limits") or (_LIMITS_OF_CONVERTED if is_converted else _LIMITS),
        bias_and_privacy=written.get("bias_and_privacy") or _BIAS_AND_PRIVACY,
        license=license_id,
        license_text=written.get("license_text")
        or (
            f"The weights: {license_id}." if license_id else f"{TO_BE_FILLED_IN}: the licence of the weights."
        ),
        citation=written.get("citation") or (_CITE_CONVERTED if is_converted else _CITATION),
        # The Hub has no task for features of videos. Whoever calls `pipeline` without a task gets this one,
        # so a model without a classifier must not claim it.
        pipeline_tag="video-classification" if encoder.get("num_labels") else "feature-extraction",
        tags=(*_TAGS, *(written.get("tags") or ())),
        base_model=init_from if is_hub_id else None,
    )


def collect_metrics(record: Mapping[str, Any]) -> tuple[CardMetric, ...]:
    """Take the metrics of a record: those it lists, else those of its last evaluation.

    Args:
        record (`Mapping`): As for [`build_card`].

    Returns:
        `tuple[CardMetric, ...]`: Finite numbers only.
    """
    common: dict[str, Any] = {  # Any: the fields differ in type
        "seed": (record.get("arguments") or {}).get("seed"),
        "command": record.get("command") or "",
        "commit": record.get("commit") or NOT_RECORDED,
        "task": "Boundary classification",
    }
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
    time, hardware = record.get("time") or {}, record.get("hardware") or {}
    seeds = record.get("seeds") or [(record.get("arguments") or {}).get("seed")]
    energy = record.get("energy_kwh")
    unknown = NOT_RECORDED if record.get("is_trained", True) else "Not trained"
    rows = {
        "task": record.get("task"),
        "optimizer steps": record.get("steps") or (max(steps) if steps else None),
        "clips seen": record.get("clips_seen"),
        "seeds": _join([str(seed) for seed in seeds if seed is not None]),
        "commit": record.get("commit"),
        "versions": _join([f"{name} {version}" for name, version in (record.get("versions") or {}).items()]),
        "hardware": _join([f"{name}: {value}" for name, value in hardware.items()]),
    }
    return (
        *(CardRow(name, str(value or unknown)) for name, value in rows.items()),
        CardRow("wall-clock time", time.get("wall") or _write_duration(time.get("wall_s"))),
        CardRow("processor time", _write_duration(time.get("cpu_s"))),
        CardRow("energy", f"{energy:.2f} kWh" if energy is not None else NOT_MEASURED),
    )


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts)


def _write_duration(seconds: float | None) -> str:
    if seconds is None:
        return NOT_MEASURED
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


__all__ = [
    "CARD_FIELDS",
    "NOT_MEASURED",
    "NOT_RECORDED",
    "TO_BE_FILLED_IN",
    "CardMetric",
    "CardRow",
    "EncoderCard",
    "build_card",
    "collect_metrics",
]
