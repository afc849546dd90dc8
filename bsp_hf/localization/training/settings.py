"""Settings of a localizer's training: each field is an option of `examples/train_localizer.py`."""

import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from bsp_hf.features.other_tools.source import SOURCE_LAYOUTS, TRACKS
from bsp_hf.localization.annotations.layouts import ANNOTATION_LAYOUTS
from bsp_hf.training.command_line import settings_to_dict
from bsp_hf.training.options import option

from .hyperparameters import Hyperparameters

LOCALIZERS = ("gtad", "tan", "lgi", "actionness")


@dataclass(kw_only=True)
class LocalizerTrainingSettings:
    """Settings of the training of a localizer; to add an option, add a field."""

    # Other values of these give the same weights. Moved files are the same data, which a run describes by its
    # samples; the precision in effect is accelerate's to say.
    free_to_change: ClassVar[frozenset[str]] = frozenset(
        {"output_dir", "cpu", "num_workers", "restart", "encoder", "save_every", "epochs", "mixed_precision"}
        | {"annotations", "eval_annotations", "durations", "eval_durations", "tasks", "validation_videos"}
        | {"features", "word_vectors", "class_scores"}
    )

    localizer: str = option(help_text="what to train", choices=LOCALIZERS)
    preset: str | None = option(
        None,
        "published setting, by default the first: activitynet, thumos14 (gtad); charades, "
        "activitynet_captions (tan, lgi), tacos (tan); crosstask (actionness)",
    )
    annotations: Path = option(help_text="file of annotations, or CrossTask's folder")
    annotation_layout: str | None = option(None, "default: found by the content", tuple(ANNOTATION_LAYOUTS))
    eval_annotations: Path | None = option(None, "file of the videos to evaluate on, if another")
    train_subset: str | None = option(None, "subset to train on, where a file has several")
    eval_subset: str | None = option(None, "subset to evaluate on")
    eval_fraction: float | None = option(None, "share of the videos held out, where there are no subsets")
    durations: Path | None = option(None, "table of id and length (Charades_v1_train.csv)")
    eval_durations: Path | None = option(None, "the same for --eval_annotations")
    tasks: Path | None = option(None, "tasks_primary.txt of CrossTask")
    validation_videos: Path | None = option(None, "videos_val.csv of CrossTask")
    strict: bool = option(False, "stop at bad rows rather than leave them out")
    features: list[Path] = option(help_text="several (or a,b) are joined: two-stream")
    feature_layout: str = option(TRACKS, "who wrote them", SOURCE_LAYOUTS)
    feature_format: str | None = option(None, "npy, npz, pt or csv, for opentad")
    prefix: str = option("", "in front of an id in names of features, such as v_")
    stride_frames: int | None = option(None, "frames from row to row, where features do not say it")
    word_vectors: Path | None = option(None, "GloVe: glove.6B.300d.txt, or an npz")
    text_encoder: str | None = option(None, "folder or Hub id of a text encoder, in place of word vectors")
    class_scores: Path | None = option(None, "JSON of video-level class scores, for gtad")
    num_workers: int = option(0, "processes that prepare samples")
    config: str = option("{}", "JSON of config fields that differ from the preset")
    encoder: list[str] | None = option(None, "folder or Hub id of the encoder(s) to save with the localizer")
    output_dir: Path = option(help_text="folder of the localizer and of its checkpoints")
    epochs: int | None = option(None, "passes over the training samples; default: as published")
    batch_size: int | None = option(None, "samples of one process in one batch; default: as published")
    gradient_accumulation_steps: int | None = option(
        None, "batches of an optimizer step; default: what accelerate says, else 1"
    )
    learning_rate: float | None = option(None, "of Adam; default: as published")
    weight_decay: float | None = option(None, "of Adam; default: as published")
    max_grad_norm: float | None = option(
        None, "gradients are scaled down to this norm; default: as published"
    )
    decay_epochs: int | None = option(None, "divide the rate by 10 every so many epochs")
    plateau_factor: float | None = option(
        None, "multiply the rate by this where the loss of the evaluation rests; 1 for never"
    )
    plateau_patience: int | None = option(None, "evaluations that may pass before")
    mixed_precision: str | None = option(None, "default: what accelerate says", ("no", "bf16", "fp16"))
    cpu: bool = option(False, "train on the CPU even where there is a GPU")
    seed: int = option(0, "of weights, samples and their order")
    eval_every: int = option(1, "epochs between evaluations")
    save_every: int = option(200, "optimizer steps between checkpoints")
    restart: bool = option(False, "ignore checkpoints in output_dir")

    def __post_init__(self) -> None:
        if self.localizer not in LOCALIZERS:
            raise ValueError(
                f"argument --localizer: {self.localizer!r} is not one of {', '.join(LOCALIZERS)}."
            )
        counts = {"num_workers": 0, "seed": 0, "plateau_patience": 0}
        counts |= dict.fromkeys(("stride_frames", "epochs", "batch_size", "decay_epochs"), 1)
        counts |= dict.fromkeys(("gradient_accumulation_steps", "eval_every", "save_every"), 1)
        for name, least in counts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"argument --{name}: {value} must be at least {least}.")
        for name in ("learning_rate", "max_grad_norm", "plateau_factor"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"argument --{name}: {value} must be positive.")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"argument --weight_decay: {self.weight_decay} must not be negative.")
        if self.eval_fraction is not None and not 0 < self.eval_fraction < 1:
            raise ValueError(f"argument --eval_fraction: {self.eval_fraction} must be between 0 and 1.")
        if self.output_dir.exists() and not self.output_dir.is_dir():
            raise ValueError(f"argument --output_dir: {self.output_dir} is a file; give a folder.")
        for name in self.encoder or ():
            if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
                raise ValueError(f"argument --encoder: {name} is neither a folder here nor a Hub id.")
        if not self.features:
            raise ValueError("argument --features: give at least one folder or file of features.")
        is_named = self.eval_annotations is not None or self.eval_subset is not None
        if is_named == (self.eval_fraction is not None):
            raise ValueError(
                "say what to evaluate on: --eval_annotations FILE, --eval_subset NAME (with --train_subset), "
                "or --eval_fraction SHARE."
            )
        if self.eval_durations is not None and self.eval_annotations is None:
            raise ValueError("argument --eval_durations: it goes with --eval_annotations; give --durations.")
        if not isinstance(self.config_fields, dict):
            raise ValueError(f"argument --config: {self.config} is no JSON object of config fields.")

    @property
    def config_fields(self) -> dict[str, Any]:
        """Fields of the localizer's config that differ from the preset."""
        try:
            return json.loads(self.config)
        except ValueError as error:
            raise ValueError(f"argument --config: {self.config} is no JSON ({error}).") from error

    @property
    def feature_paths(self) -> list[Path]:
        """Folders or files of features; `a,b` is two, as in G-TAD's option, unless one is so named."""
        return [
            Path(part)
            for path in self.features
            for part in ([path] if path.exists() else filter(None, str(path).split(",")))
        ]

    def choose_hyperparameters(self, published: Hyperparameters) -> Hyperparameters:
        """Return the published hyper-parameters with those of the settings in their place."""
        given = {item.name: getattr(self, item.name) for item in fields(Hyperparameters)}
        return replace(published, **{name: value for name, value in given.items() if value is not None})

    def lasting(self) -> dict[str, Any]:  # Any: JSON values
        """Return the settings that a resumed run must repeat to be the run it was."""
        values = settings_to_dict(self)
        return {name: value for name, value in values.items() if name not in self.free_to_change}
