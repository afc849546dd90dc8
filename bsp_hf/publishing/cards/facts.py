"""What a model card says, whatever kind of model it is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "Not measured"
NOT_RECORDED = "Not recorded"
# Stands where only the owner knows what to say; nothing with it in its card is published.
TO_BE_FILLED_IN = "[To be filled in]"

LIMITS_OF_CONVERTED = (
    "Those of the checkpoint that was converted. The conversion changes no weight; its record lists what was "
    "taken, what was left and which settings were assumed."
)
CITATION = """@inproceedings{xu2021boundary,
  title     = {Boundary-sensitive Pre-training for Temporal Localization in Videos},
  author    = {Xu, Mengmeng and P{\\'e}rez-R{\\'u}a, Juan-Manuel and Escorcia, Victor and
               Mart{\\'i}nez, Brais and Zhu, Xiatian and Zhang, Li and Ghanem, Bernard and Xiang, Tao},
  booktitle = {ICCV},
  year      = {2021}
}"""
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
class CardFacts:
    """Everything that a card tells; see [`~bsp_hf.publishing.cards.render.build_card`].

    Args:
        model_id (`str`): Hub id or name of the folder, as one would load it.
        summary (`str`): What it is, in a sentence or two.
        usage (`str`): Python code that loads and uses it.
        about (`tuple[CardRow, ...]`): What kind of model it is.
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
        library_name (`str`): Library that loads it.
        task_type (`str`): Task that its metrics are of, as the Hub spells it.
        base_models (`tuple[str, ...]`): Hub ids of the models that it was made from.
    """

    model_id: str
    summary: str
    usage: str
    about: tuple[CardRow, ...]
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
    library_name: str
    task_type: str
    base_models: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The model's own name, without its owner's."""
        return self.model_id.rpartition("/")[2]

    @property
    def metric_commands(self) -> tuple[str, ...]:
        """The commands behind the metrics, each once, without those that trained the model."""
        commands = dict.fromkeys(metric.command for metric in self.metrics)
        return tuple(command for command in commands if command and command not in self.commands)


def read_written_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people wrote for a card.

    Args:
        record (`Mapping`): What `training_record.json` holds; its entry `card` is looked at.

    Returns:
        `dict`: By the names in `CARD_FIELDS`.

    Raises:
        ValueError: If there is a field of another name.
    """
    written = dict(record.get("card") or {})
    if unknown := sorted(written.keys() - set(CARD_FIELDS)):
        raise ValueError(f"card: {', '.join(unknown)} is none of its fields ({', '.join(CARD_FIELDS)}).")
    return written


def describe_licence(written: Mapping[str, Any]) -> str:
    """Return what a card says of licences; a gap where nobody told.

    Args:
        written (`Mapping`): What [`read_written_fields`] gives.

    Returns:
        `str`: A sentence.
    """
    license_id = written.get("license")
    known = f"The weights: {license_id}." if license_id else f"{TO_BE_FILLED_IN}: the licence of the weights."
    return str(written.get("license_text") or known)


def list_commands(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the commands that trained a model.

    Args:
        record (`Mapping`): What `training_record.json` holds.

    Returns:
        `tuple[str, ...]`: Each of them.
    """
    command = record.get("command")
    return (command,) if isinstance(command, str) else tuple(command or ())


def describe_metric_origin(record: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the fields that all the metrics of a run share.

    Args:
        record (`Mapping`): What `training_record.json` holds.
        task (`str`): What was asked.

    Returns:
        `dict`: Fields of [`CardMetric`].
    """
    return {
        "seed": (record.get("arguments") or {}).get("seed"),
        "command": record.get("command") or "",
        "commit": record.get("commit") or NOT_RECORDED,
        "task": task,
    }


def is_hub_id(name: Any) -> bool:  # Any: whatever a record holds
    """Tell whether a name may be the id of a model on the Hub, and is no path."""
    return isinstance(name, str) and name.count("/") == 1 and name[0] not in "./~"


def describe_run_rows(record: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[CardRow, ...]:
    """Return the rows of a card's table of training.

    Args:
        record (`Mapping`): What `training_record.json` holds.
        facts (`Mapping[str, Any]`): What is particular to the kind of model, by the names of the rows; `None`
            for what is not known.

    Returns:
        `tuple[CardRow, ...]`: Those, then seeds, commit, versions, hardware, time and energy.
    """
    time, hardware = record.get("time") or {}, record.get("hardware") or {}
    seeds = record.get("seeds") or [(record.get("arguments") or {}).get("seed")]
    energy = record.get("energy_kwh")
    unknown = NOT_RECORDED if record.get("is_trained", True) else "Not trained"
    rows = {
        **facts,
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
