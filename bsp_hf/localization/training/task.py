"""Base of the trainings of localizers: features in memory, samples, and the task itself."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import TRACKS, FeatureSource, VideoFeatures
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet, MomentQuery
from bsp_hf.localization.localizer.config import LocalizerConfig

from .hyperparameters import Hyperparameters
from .settings import LocalizerTrainingSettings
from .split import LocalizerSplit


class FeatureCache:
    """Reads features and keeps them in memory as long as there is room."""

    def __init__(self, source: FeatureSource, max_bytes: int = 2 * 1024**3) -> None:
        self.source = source
        self._room = max_bytes
        self._kept: dict[str, VideoFeatures] = {}

    def read(self, video_id: str) -> VideoFeatures:
        """Return the features of one video, not to be changed."""
        if video_id in self._kept:
            return self._kept[video_id]
        found = self.source.read(video_id)
        if found.features.nbytes <= self._room:
            self._room -= found.features.nbytes
            self._kept[video_id] = found
        return found

    def describe(self, video_ids: Sequence[str]) -> dict[str, Any]:
        """Return the config fields that name the features, which must be of one encoder and setting.

        `feature_dim`; of this package's tracks also `encoder`, `feature_fps` (None where the videos differ in
        it) and `feature_stride_frames`.
        """
        first, rates = self.read(video_ids[0]), set()
        for video_id in video_ids:
            found = self.read(video_id)
            differences = ["width"] * (found.features.shape[1] != first.features.shape[1])
            if found.record is not None and first.record is not None:
                differences += found.record.encoder.differences(first.record.encoder)
                differences += ["stride_frames"] * (found.record.stride_frames != first.record.stride_frames)
                rates.add(found.record.fps)
            if differences:
                raise ValueError(
                    f"the features of {first.video_id} and {video_id} differ in {', '.join(differences)}; a "
                    "localizer is trained on features of one encoder, extracted with one setting."
                )
        fields = {"feature_dim": first.features.shape[1]}
        if self.source.layout != TRACKS or first.record is None:
            return fields
        return fields | {
            "encoder": first.record.encoder.to_dict(),
            "feature_fps": rates.pop() if len(rates) == 1 else None,
            "feature_stride_frames": first.record.stride_frames,
        }


@dataclass(frozen=True)
class Item:
    """Parts of one sample: a video, its query for grounding, or the first row of a window."""

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

    `prepare` makes a sample of features, item and a generator of random numbers.
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
        settings (`LocalizerTrainingSettings`): What the training was asked for.

    Raises:
        ValueError: If there is nothing to train or to evaluate on.
    """

    presets: Mapping[str, Hyperparameters]
    metric: str
    unit: ClassVar[str] = "videos"
    has_evaluation_loss = False

    config: LocalizerConfig

    def __init__(
        self, split: LocalizerSplit, features: FeatureCache, settings: LocalizerTrainingSettings
    ) -> None:
        self.split, self.features, self.settings = split, features, settings
        self.preset = settings.preset or next(iter(self.presets))
        self.hyperparameters = settings.choose_hyperparameters(self.presets[self.preset])
        video_ids = [video.video_id for part in (split.train, split.evaluation) for video in part.videos]
        described = features.describe(video_ids)
        try:
            self.prepare_config({**described, **settings.config_fields})
        except StrictDataclassError as error:  # a field of the config; the reason is in its cause
            raise ValueError(f"argument --config: {error.__cause__ or error}") from error
        known = {item.name for item in fields(self.config)} | {"num_labels"}
        width, read = described["feature_dim"], getattr(self.config, "feature_dim", None)
        if read != width:
            raise ValueError(f"argument --config: feature_dim={read}, and the features are {width} wide.")
        unknown = sorted(settings.config_fields.keys() - known)
        if unknown:
            kind = type(self.config).__name__
            raise ValueError(f"argument --config: {kind} has no field {', '.join(unknown)}.")
        self.train_samples = LocalizerSamples(
            self.list_items(split.train, True), features, self.prepare_training, settings.seed
        )
        self.eval_samples = LocalizerSamples(
            self.list_items(split.evaluation, False), features, self.prepare_evaluation, settings.seed
        )
        parts = {
            "train": (split.train, self.train_samples),
            "evaluate": (split.evaluation, self.eval_samples),
        }
        for name, (annotations, samples) in parts.items():
            if not len(samples):
                raise ValueError(f"the annotations hold no {self.unit} to {name} on.")
            if self.unit == "videos" and not any(video.segments for video in annotations.videos):
                raise ValueError(
                    f"the {len(annotations)} videos to {name} on have no segment, so {self.metric} is not "
                    "defined; check the annotations and the subsets."
                )

    @property
    def coverage(self) -> str:
        """Videos and segments that a score is computed on, as text."""
        num_segments = sum(len(video.segments) for video in self.split.evaluation.videos)
        return f"{self.split.coverage}, {num_segments} segments"

    def name_samples(self, indices: Iterable[int]) -> list[str]:
        """Return the videos of training samples, and their queries if there are any."""
        items = [self.train_samples.items[int(index)] for index in indices]
        return [
            item.video.video_id if item.query is None else f"{item.video.video_id} ({item.query.sentence!r})"
            for item in items
        ]

    def describe_run(self) -> dict[str, Any]:
        """Return what a resumed run must repeat to be the run it was, wherever its files lie; JSON values."""
        lasting = self.settings.lasting()
        if not self.hyperparameters.watches_loss:
            del lasting["eval_every"]
        items = self.train_samples.items
        digest = hashlib.sha256(repr((items, self.eval_samples.items)).encode())
        digest.update(self.features.read(items[0].video.video_id).features.tobytes())
        return lasting | {"num_samples": len(items), "data": digest.hexdigest()[:16]}

    @property
    def companions(self) -> dict[str, Any]:
        """Arguments of `save_localizer_folder`: what is saved with the model."""
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
        """Return the arguments of the model's `forward`, and `indices`, which the loop removes."""
        indices = torch.tensor([index for index, _ in indexed])
        return {**self.batch_samples([sample for _, sample in indexed]), "indices": indices}

    @abstractmethod
    def decode(self, output: Any, indices: Sequence[int]) -> dict[int, Any]:
        """Turn a batch of output into what is scored, by the index of the evaluation sample."""

    def evaluation_losses(
        self, output: Any, batch: Mapping[str, torch.Tensor], indices: Sequence[int]
    ) -> dict[int, float]:
        """Return the loss of every evaluation sample of a batch, by its index.

        Nothing unless `has_evaluation_loss`: one published schedule alone watches it.
        """
        return {}

    @abstractmethod
    def score(self, decoded: Mapping[int, Any]) -> dict[str, float]:
        """Return the metrics of all evaluation samples."""

    @abstractmethod
    def write_results(self, decoded: Mapping[int, Any], folder: Path) -> list[Path]:
        """Write result files in the benchmark's official layout and return them."""
