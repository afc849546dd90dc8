"""What the training of every localizer shares: features at hand, samples, and the task itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import TRACKS, FeatureSource, VideoFeatures
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet, MomentQuery
from bsp_hf.localization.localizer.config import LocalizerConfig, describe_features

from .split import LocalizerSplit


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters of a training.

    Args:
        learning_rate (`float`): Rate of Adam.
        batch_size (`int`): Samples of one step.
        epochs (`int`): Passes over the training samples.
        weight_decay (`float`, *optional*, defaults to 0.0): Weight decay of Adam (L2, not decoupled).
        max_grad_norm (`float`, *optional*): Gradients are clipped to this norm; not at all by default.
        decay_epochs (`int`, *optional*): The rate is divided by 10 every so many epochs; constant by default.
        plateau_factor (`float`, *optional*): The rate is multiplied by this where the loss of the evaluation
            has rested; 1 or `None` leaves it.
        plateau_patience (`int`, *optional*, defaults to 20): Evaluations that may pass before.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    decay_epochs: int | None = None
    plateau_factor: float | None = None
    plateau_patience: int = 20

    @property
    def watches_loss(self) -> bool:
        """Whether the rate depends on the loss of the evaluation."""
        return self.plateau_factor not in (None, 1)


@dataclass(frozen=True)
class TaskOptions:
    """What a task is made with, besides annotations and features.

    Args:
        preset (`str`, *optional*): Name of a published setting; by default the task's first one.
        config (`Mapping`, *optional*): Fields of the localizer's config that shall differ.
        word_vectors (`Path`, *optional*): File of word vectors, for grounding.
        text_encoder (`str`, *optional*): Folder or Hub id of a text encoder in their place.
        class_scores (`Path`, *optional*): Video-level class scores, for detection.
        stride_frames (`int`, *optional*): Frames from one feature row to the next, for windowed detection
            with features that do not record it; 5 by default.
        seed (`int`, *optional*, defaults to 0): Seed of what samples draw.
    """

    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    word_vectors: Path | None = None
    text_encoder: str | None = None
    class_scores: Path | None = None
    stride_frames: int | None = None
    seed: int = 0


class FeatureCache:
    """Reads features and keeps them in memory as long as there is room.

    Args:
        source (`FeatureSource`): Where they are.
        max_bytes (`int`, *optional*, defaults to 2147483648): Room for features that were read.
    """

    def __init__(self, source: FeatureSource, max_bytes: int = 2 * 1024**3) -> None:
        self.source = source
        self._room = max_bytes
        self._kept: dict[str, VideoFeatures] = {}

    def read(self, video_id: str) -> VideoFeatures:
        """Return the features of one video.

        Args:
            video_id (`str`): The video.

        Returns:
            `VideoFeatures`: Its features, not to be changed.
        """
        if video_id in self._kept:
            return self._kept[video_id]
        found = self.source.read(video_id)
        if found.features.nbytes <= self._room:
            self._room -= found.features.nbytes
            self._kept[video_id] = found
        return found

    def describe(self, video_ids: Sequence[str]) -> dict[str, Any]:
        """Return the config fields that say what the features are.

        Args:
            video_ids (`Sequence[str]`): The videos.

        Returns:
            `dict`: `feature_dim`; of this package's tracks also `encoder`, `feature_fps` and
            `feature_stride_frames`.

        Raises:
            ValueError: If tracks come from several encoders, or widths differ.
        """
        if self.source.layout == TRACKS:
            return describe_features(self.source.read_track(video_id) for video_id in video_ids)
        widths = {self.read(video_id).features.shape[1]: video_id for video_id in video_ids}
        if len(widths) > 1:
            raise ValueError(
                f"features differ in width: {widths} (an example of each); give those of one kind."
            )
        return {"feature_dim": next(iter(widths))}


@dataclass(frozen=True)
class Item:
    """What one sample is made of.

    Args:
        video (`AnnotatedVideo`): The video.
        query (`MomentQuery`, *optional*): The query, for grounding.
        first_row (`int`, *optional*, defaults to 0): First feature row of a window.
    """

    video: AnnotatedVideo
    query: MomentQuery | None = None
    first_row: int = 0

    @property
    def duration_s(self) -> float:
        """Duration of the video in seconds."""
        if self.video.duration_s is None:
            raise ValueError(f"the duration of {self.video.video_id} is unknown.")
        return self.video.duration_s


Prepare = Callable[[VideoFeatures, Item, np.random.Generator], Any]  # Any: what the task's collation takes


class LocalizerSamples(Dataset):
    """The samples of one part of a split; `(seed, epoch, index)` fixes each completely.

    Args:
        items (`Sequence[Item]`): What each is made of.
        features (`FeatureCache`): Where features come from.
        prepare (`Callable`): Makes a sample of features, item and a generator of random numbers.
        seed (`int`, *optional*, defaults to 0): Seed.
    """

    def __init__(
        self, items: Sequence[Item], features: FeatureCache, prepare: Prepare, seed: int = 0
    ) -> None:
        self.items = tuple(items)
        self._features, self._prepare, self._seed = features, prepare, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, for samples that draw."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        item = self.items[index]
        rng = np.random.default_rng([self._seed, self.epoch, index])
        return index, self._prepare(self._features.read(item.video.video_id), item, rng)


class LocalizerTask(ABC):
    """A localizer, its samples, and how its output is decoded, scored and written.

    Args:
        split (`LocalizerSplit`): The videos.
        features (`FeatureCache`): Their features.
        options (`TaskOptions`): The rest.

    Raises:
        ValueError: If the preset is unknown, or there is nothing to train or to evaluate on.
    """

    presets: Mapping[str, TrainingSettings]
    metric: ClassVar[str]
    unit: ClassVar[str] = "videos"
    has_evaluation_loss = False

    config: LocalizerConfig

    def __init__(self, split: LocalizerSplit, features: FeatureCache, options: TaskOptions) -> None:
        self.preset = options.preset or next(iter(self.presets))
        if self.preset not in self.presets:
            raise ValueError(f"preset {self.preset!r} is unknown; choose one of {', '.join(self.presets)}.")
        self.split, self.features, self.options = split, features, options
        video_ids = [video.video_id for part in (split.train, split.evaluation) for video in part.videos]
        self.feature_fields = features.describe(video_ids)
        self.prepare_config({**self.feature_fields, **options.config})
        self.train_samples = LocalizerSamples(
            self.list_items(split.train, True), features, self.prepare_training, options.seed
        )
        self.eval_samples = LocalizerSamples(
            self.list_items(split.evaluation, False), features, self.prepare_evaluation, options.seed
        )
        for name, samples in (("train", self.train_samples), ("evaluate", self.eval_samples)):
            if not len(samples):
                raise ValueError(f"the annotations hold no {self.unit} to {name} on.")

    @property
    def settings(self) -> TrainingSettings:
        """The published hyper-parameters of the preset."""
        return self.presets[self.preset]

    @property
    def companions(self) -> dict[str, Any]:
        """What is saved beside the model, as arguments of `save_localizer_folder`."""
        return {}

    @abstractmethod
    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config` to the preset's, with some fields changed."""

    @abstractmethod
    def make_model(self) -> PreTrainedModel:
        """Return the localizer with fresh weights."""

    @abstractmethod
    def list_items(self, annotations: AnnotationSet, is_training: bool) -> list[Item]:
        """Return what the samples of some videos are made of."""

    @abstractmethod
    def prepare_training(self, features: VideoFeatures, item: Item, rng: np.random.Generator) -> Any:
        """Return a sample with labels."""

    @abstractmethod
    def prepare_evaluation(self, features: VideoFeatures, item: Item, rng: np.random.Generator) -> Any:
        """Return a sample without labels."""

    @abstractmethod
    def batch_samples(self, samples: Sequence[Any]) -> Mapping[str, torch.Tensor]:
        """Return the arguments of the model's `forward`."""

    def collate(self, indexed: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        """Batch what [`LocalizerSamples`] gives.

        Args:
            indexed (`Sequence`): Indices and samples.

        Returns:
            `dict`: Arguments of the model's `forward`, and `indices`, which the loop takes out.
        """
        indices = torch.tensor([index for index, _ in indexed])
        return {**self.batch_samples([sample for _, sample in indexed]), "indices": indices}

    @abstractmethod
    def decode(self, output: Any, indices: Sequence[int]) -> dict[int, Any]:
        """Turn a batch of output into what is scored, by the index of the evaluation sample."""

    def evaluation_losses(
        self, output: Any, batch: Mapping[str, torch.Tensor], indices: Sequence[int]
    ) -> dict[int, float]:
        """Return the loss of every evaluation sample of a batch, by its index.

        Args:
            output: What the model returned.
            batch (`Mapping[str, torch.Tensor]`): What it was given.
            indices (`Sequence[int]`): The samples.

        Returns:
            `dict[int, float]`: Empty unless `has_evaluation_loss`: one published schedule alone watches it.
        """
        return {}

    @abstractmethod
    def score(self, decoded: Mapping[int, Any]) -> dict[str, float]:
        """Return the metrics of all evaluation samples."""

    @abstractmethod
    def write_results(self, decoded: Mapping[int, Any], folder: Path) -> list[Path]:
        """Write result files in the benchmark's official layout and return them."""
