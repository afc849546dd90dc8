"""Training and evaluation of linear actionness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.localization.result_files import write_actionness
from bsp_hf.localization.training.hyperparameters import Hyperparameters
from bsp_hf.localization.training.task import Item, LocalizerTask
from bsp_hf.metrics import StepAnnotation, evaluate_actionness, label_segments

from .configuration_actionness import ActionnessConfig
from .modeling_actionness import ActionnessModel, ActionnessOutput, features_of_segments


@dataclass(frozen=True, eq=False)
class ActionnessSample:
    """The short segments of one video: features `(num_segments, feature_dim)`, and 1 where a step is."""

    features: np.ndarray
    labels: np.ndarray | None = None


class ActionnessTask(LocalizerTask):
    """Linear actionness: does some step happen, every 0.2 seconds."""

    # Choice: the paper gives no optimiser for the linear classifier.
    presets: Mapping[str, Hyperparameters] = {"crosstask": Hyperparameters(1e-3, 8, 30)}
    metric = "pooled_ap"
    config: ActionnessConfig

    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config`."""
        self.config = ActionnessConfig(**fields)

    def make_model(self) -> PreTrainedModel:
        """Return the classifier, all zero."""
        return ActionnessModel(self.config)

    def list_items(self, annotations: AnnotationSet, is_training: bool) -> list[Item]:
        """Return one item a video."""
        return [Item(video) for video in annotations.videos]

    def _features(self, features: VideoFeatures, item: Item) -> np.ndarray:
        centers_s = features.row_centers_s(item.duration_s)
        return features_of_segments(
            features.features, centers_s, item.duration_s, float(self.config.segment_s)
        )

    def prepare_training(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> ActionnessSample:
        """Return the features and labels of all segments of a video."""
        steps_s = [[segment.start_s, segment.end_s] for segment in item.video.segments]
        labels = label_segments(
            StepAnnotation(item.duration_s, steps_s), segment_s=float(self.config.segment_s)
        )
        return ActionnessSample(self._features(features, item), labels.astype(np.float32))

    def prepare_evaluation(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> ActionnessSample:
        """Return the features of all segments of a video."""
        return ActionnessSample(self._features(features, item))

    def batch_samples(self, samples: Sequence[ActionnessSample]) -> Mapping[str, torch.Tensor]:
        """Return padded features, their mask and, where the samples have them, labels."""
        rows = [torch.from_numpy(sample.features) for sample in samples]
        batch = {
            "features": pad_sequence(rows, batch_first=True),
            "segment_mask": pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True),
        }
        labels = [torch.from_numpy(sample.labels) for sample in samples if sample.labels is not None]
        if labels:
            batch["labels"] = pad_sequence(labels, batch_first=True)
        return batch

    def decode(self, output: ActionnessOutput, indices: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the probability of every segment."""
        if output.probabilities is None:
            raise ValueError("the output lacks its probabilities.")
        rows = output.probabilities.float().cpu().numpy()
        decoded = {}
        for index, row in zip(indices, rows, strict=True):
            item = self.eval_samples.items[index]
            annotation = StepAnnotation(item.duration_s, [])
            decoded[index] = row[: len(label_segments(annotation, segment_s=float(self.config.segment_s)))]
        return decoded

    def _by_video(self, decoded: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
        items = self.eval_samples.items
        return {items[index].video.video_id: row for index, row in sorted(decoded.items())}

    def score(self, decoded: Mapping[int, np.ndarray]) -> dict[str, float]:
        """Return framewise AP, pooled and by video."""
        scores = evaluate_actionness(
            self.split.evaluation.step_annotations(),
            self._by_video(decoded),
            segment_s=float(self.config.segment_s),
        )
        share = scores.num_positive_segments / scores.num_segments
        return {
            "pooled_ap": scores.pooled_ap,
            "mean_video_ap": scores.mean_video_ap,
            "positive_share": share,
        }

    def write_results(self, decoded: Mapping[int, np.ndarray], folder: Path) -> list[Path]:
        """Write `actionness.csv`: video, start, end, score."""
        return [
            write_actionness(folder / "actionness.csv", self._by_video(decoded), float(self.config.segment_s))
        ]
