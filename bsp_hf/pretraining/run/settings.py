"""Settings of a pre-training run: each field is an option of the scripts and of `bsp-hf pretrain`."""

import math
import sys
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from bsp_hf.pretraining.choices import (
    BACKBONES,
    FEATURE_ERRORS,
    OPTIMIZERS,
    SCHEDULES,
    TASKS,
    describe_unknown_task,
)
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.synthesis_config import SEGMENT_PLACES, SynthesisConfig
from bsp_hf.training.command_line import settings_to_dict
from bsp_hf.training.options import option

PRESETS: dict[str, dict[str, Any]] = {  # Any: the value of an option
    # TSM's published Kinetics training (SPEC of TSM, Sec. 2.6) on the paper's pretext.
    "paper": {},
    # The packaged encoder trained further on 64-pixel clips: minutes on two cores of an old laptop.
    "demo": {
        "init_from": "bsp-tsm-lite0",
        "shift_blocks": list(range(8, 16)),
        "frozen_blocks": 5,
        "short_side": 72,
        "crop_size": 64,
        "dropout": 0.2,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "backbone_lr_scale": 0.2,
        "weight_decay": 0.02,
        "schedule": "cosine",
        "warmup_share": 0.1,
        "max_grad_norm": 5.0,
        "epochs": 1000,
        "max_steps": 160,
        "eval_every": 160,
        "save_every": 80,
    },
    # A narrow ResNet-18 from scratch on small clips, for a processor. Class boundaries are learned within the
    # first thousand clips, so most of the training shows changes of speed and their absence.
    "small": {
        "backbone": "resnet18",
        "width_multiplier": 0.5,
        "short_side": 72,
        "crop_size": 64,
        "case_repeats": [1, 1, 3, 3],
        "dropout": 0.0,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup_share": 0.1,
        "max_grad_norm": 5.0,
        "epochs": 1000,
        "max_steps": 900,
        "eval_every": 300,
        "save_every": 200,
    },
}


def _with_segments(synthesis: SynthesisConfig) -> SynthesisConfig:
    """Return settings whose action clips are sampled as TSM is published; old records are consecutive."""
    return replace(synthesis, action_sampling="segments")


@dataclass(kw_only=True)
class PretrainingSettings:
    """What a pre-training run can be asked for; to add an option, add a field."""

    # Other values of these give the same weights, but that another number of steps bends the schedule. A
    # moved folder is the same data, and the precision in effect is accelerate's to say.
    free_to_change: ClassVar[frozenset[str]] = frozenset(
        {"output_dir", "video_dir", "metadata", "frame_cache", "cpu", "num_workers", "mixed_precision"}
        | {"max_replaced_share"}
        | {"preset", "epochs", "max_steps", "eval_every", "save_every", "report_to", "restart"}
    )

    # The option `--synthesis NAME` sets the defaults of the fields of the synthesis.
    part_presets: ClassVar[dict[str, dict[str, Any]]] = {  # Any: a dataclass
        "synthesis": {name: _with_segments(config) for name, config in SYNTHESIS_PRESETS.items()}
    }

    preset: str = option("paper", "sets the defaults of the rest", tuple(PRESETS))
    video_dir: Path | None = option(None, "CLASS/clip.mp4 files; rendered clips when left out")
    metadata: Path | None = option(None, "CSV: file, class, and optionally split and group")
    eval_fraction: float = option(0.1, "share of groups held out, without a split")
    num_workers: int = option(0, "processes that decode")
    max_replaced_share: float = option(
        0.05, "share of clips whose videos do not decode, each replaced by another, above which a run stops"
    )
    frame_cache: Path | None = option(None, "folder for decoded frames; trades disk for decoding")
    short_side: int = option(256, "pixels of the shorter side, for the encoder's users")
    augmentation: str = option(
        "multi-scale",
        "of training clips: TSM's multi-scale corner crops and flip, or none",
        ("multi-scale", "none"),
    )
    crop_size: int = option(224, "pixels of the square that the encoder sees")
    task: str = option(
        "boundary", f"{', '.join(TASKS)}, or a class of your own as module:Class or folder/file.py:Class"
    )
    case_repeats: list[int] | None = option(None, "clips a source gives to each case in an epoch")
    synthesis: SynthesisConfig = field(default_factory=lambda: _with_segments(SynthesisConfig()))
    eval_segment_place: str = option(
        "center", "that of held-out clips; twice and dense average 2 and 10 clips of a video", SEGMENT_PLACES
    )
    backbone: str = option(
        "resnet50",
        f"{', '.join(BACKBONES)}, or a JSON file, folder or Hub id whose config is that of "
        "another image or video model; its weights are fresh",
    )
    width_multiplier: float = option(1.0, "scales every layer's channels of a named backbone")
    init_from: str | None = option(
        None, "folder or Hub id of an image or video model to start from, weights and all"
    )
    shift_div: int = option(8, "one channel in so many is shifted forwards in time, and one backwards")
    shift_blocks: list[int] | None = option(
        None, "residual blocks that may shift, counted from 0 through all stages; default: all"
    )
    frozen_blocks: int = option(0, "the stem and so many first blocks keep the weights they start with")
    backbone_lr_scale: float = option(1.0, "learning rate of the backbone over that of the head")
    start_features_weight: float = option(
        0.0, "of a second loss, which keeps the frame features of --init_from, unshifted"
    )
    start_features_error: str = option("cosine", "1 - cosine, or mean squared error", FEATURE_ERRORS)
    dropout: float = option(0.5, "in front of the classifier")
    gradient_checkpointing: bool = option(False, "compute activations twice, to save memory")
    sync_batch_norm: bool = option(False, "normalize over the batches of all GPUs together")
    ema_decay: float = option(
        0.0, "evaluate and save a moving average of the weights that keeps so much of itself a step; 0: none"
    )
    output_dir: Path = option(help_text="folder of the encoder and of its checkpoints")
    epochs: int = option(50, "times that every clip is shown")
    max_steps: int | None = option(
        None,
        "stop after so many optimizer steps, whatever the epochs; 0 saves the model as it "
        "starts, the baseline without pre-training",
    )
    batch_size: int = option(16, "clips of one process in one batch")
    gradient_accumulation_steps: int | None = option(
        None, "batches of an optimizer step; default: what accelerate says, else 1"
    )
    optimizer: str = option("sgd", "TSM's groups of parameters, or AdamW", OPTIMIZERS)
    learning_rate: float | None = option(None, "default: 0.02 * total batch / 128 (sgd), 1e-3 (adamw)")
    weight_decay: float = option(1e-4, "of weights; biases and normalization have none")
    momentum: float = option(0.9, "of sgd")
    schedule: str = option("step", "of the learning rate", SCHEDULES)
    warmup_share: float = option(0.0, "share of the steps over which the learning rate rises")
    max_grad_norm: float = option(20.0, "gradients are scaled down to this norm")
    mixed_precision: str | None = option(None, "default: what accelerate says", ("no", "bf16", "fp16"))
    cpu: bool = option(False, "train on the CPU even where there is a GPU")
    seed: int = option(0, "of weights, clips and their order")
    eval_every: int | None = option(None, "optimizer steps between evaluations; default: every epoch")
    save_every: int = option(500, "optimizer steps between checkpoints")
    restart: bool = option(False, "ignore checkpoints in output_dir")
    report_to: list[str] = option([], "trackers", ("tensorboard", "trackio"))

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_places()
        self._check_task()

    def _check_numbers(self) -> None:
        counts = {"num_workers": 0, "max_steps": 0, "seed": 0, "shift_div": 2, "frozen_blocks": 0}
        counts |= dict.fromkeys(("short_side", "crop_size", "epochs", "batch_size"), 1)
        counts |= dict.fromkeys(("gradient_accumulation_steps", "eval_every", "save_every"), 1)
        for name, least in counts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"argument --{name}: {value} must be at least {least}.")
        for name in ("learning_rate", "max_grad_norm", "width_multiplier", "backbone_lr_scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"argument --{name}: {value} must be positive.")
        for name in ("weight_decay", "momentum", "start_features_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"argument --{name}: {getattr(self, name)} must not be negative.")
        for name in ("eval_fraction", "dropout", "warmup_share", "max_replaced_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"argument --{name}: {getattr(self, name)} must be between 0 and 1.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"argument --ema_decay: {self.ema_decay} must be at least 0 and less than 1.")
        repeats = self.case_repeats
        if repeats is not None and (not repeats or min(repeats) < 0 or sum(repeats) == 0):
            raise ValueError(f"argument --case_repeats: {self.case_repeats} must hold a positive number.")
        if self.start_features_weight and not self.init_from:
            raise ValueError(
                "argument --start_features_weight: features of random weights are not worth keeping; pass "
                "--init_from."
            )

    def _check_places(self) -> None:
        for name in ("backbone", "init_from"):
            place = getattr(self, name) or ""
            # A Hub id has one slash at most.
            is_path = place.startswith((".", "/", "~")) or place.endswith(".json") or place.count("/") > 1
            if is_path and not Path(place).exists():
                raise ValueError(f"argument --{name}: {place} does not exist; pass a folder or a Hub id.")
        for folder in (Path(self.output_dir), *Path(self.output_dir).parents):
            if folder.is_file():
                raise ValueError(f"argument --output_dir: {folder} is a file; pass a folder.")
        for name in self.report_to:
            # TensorBoard's writer is part of either of two packages.
            if not (find_spec(name) or (name == "tensorboard" and find_spec("tensorboardX"))):
                raise ValueError(f"argument --report_to: {name} is not installed: pip install {name}.")

    def _check_task(self) -> None:
        if self.task in TASKS:
            return
        # Only who has imported the pretexts, which imports torch, can have added one.
        if ":" not in self.task and "bsp_hf.pretraining.pretexts" not in sys.modules:
            raise ValueError(f"argument --task: {describe_unknown_task(self.task)}")
        from bsp_hf.pretraining.pretexts import find_pretext

        try:
            find_pretext(self.task)
        except (ValueError, OSError, ImportError) as error:
            raise ValueError(f"argument --task: {error}") from error

    def lasting(self) -> dict[str, Any]:  # Any: JSON values
        """Return the options that a resumed run must repeat to be the run it was; paths are absolute."""
        values = settings_to_dict(self)
        values |= values.pop("synthesis")
        for name in ("backbone", "init_from", "task"):
            path, colon, rest = (values[name] or "").partition(":")
            if path and path not in (*BACKBONES, *TASKS) and Path(path).exists():
                values[name] = f"{Path(path).resolve()}{colon}{rest}"
        return {name: value for name, value in values.items() if name not in self.free_to_change}


@dataclass(kw_only=True)
class FusedPretrainingSettings(PretrainingSettings):
    """Settings of `examples/pretrain_fused.py`: the fusion stands instead of the task."""

    free_to_change: ClassVar[frozenset[str]] = PretrainingSettings.free_to_change | {
        *("action_teacher", "boundary_teacher", "teacher_features")
    }

    fusion: str = option(help_text="way of fusion", choices=("two-stream", "two-head", "distillation"))
    action_teacher: str | None = option(None, "trained encoder of actions; with two-stream, a stream")
    boundary_teacher: str | None = option(None, "trained encoder of boundaries; likewise")
    teacher_features: Path | None = option(None, "folder that keeps the teachers' features")
    action_weight: float = option(1.0, "of the action loss or features")
    boundary_weight: float = option(1.0, "of the boundary loss or features")
    cross_entropy_weight: float = option(1.0, "distillation only")
    squared_error_reduction: str = option("sum", "distillation only", ("sum", "mean"))
    task: str = field(default="boundary-with-action", init=False)

    def _check_task(self) -> None:
        has_store = self.teacher_features is not None and self.teacher_features.is_dir()
        needs_both = self.fusion == "two-stream" or (self.fusion == "distillation" and not has_store)
        if needs_both and not (self.action_teacher and self.boundary_teacher):
            raise ValueError(f"--fusion {self.fusion} needs --action_teacher and --boundary_teacher.")
