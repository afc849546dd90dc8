"""Training and evaluation of G-TAD: whole videos (ActivityNet) or windows of them (THUMOS14)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.features.resampling import rescale_rows
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet
from bsp_hf.localization.evaluation import detection_scores, read_instances
from bsp_hf.localization.result_files import write_detections, write_thumos_text
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.hyperparameters import Hyperparameters
from bsp_hf.localization.training.split import warn_of_other_durations
from bsp_hf.localization.training.task import Item, LocalizerTask
from bsp_hf.metrics import SegmentTable

from .configuration_gtad import GTADConfig
from .decoding import decode_activitynet, decode_thumos
from .modeling_gtad import GTADForTemporalActionLocalization, GTADOutput
from .targets import (
    GTADTargets,
    activitynet_targets,
    thumos_targets,
    thumos_window_features,
    thumos_window_labels,
    thumos_window_starts,
)
from .video_classes import read_class_score_file

# Features of other tools record no grid; these are those that G-TAD was published with for THUMOS14.
_STRIDE_FRAMES, _FPS = 5, 30.0
ACTION = "action"  # the one class of segments that no video-level classifier has named
# The challenge counts its 20 classes among the 101 of UCF101.
THUMOS_CLASS_NUMBERS = (7, 9, 12, 21, 22, 23, 24, 26, 31, 33, 36, 40, 45, 51, 68, 79, 85, 92, 93, 97)


class GTADTask(LocalizerTask):
    """G-TAD on segments with a class.

    The network finds segments without a class. With video-level class scores the two best classes of a video
    are attached to its segments, and mAP is that of the benchmark; without, all segments count as one class.
    """

    presets: Mapping[str, Hyperparameters] = {
        "activitynet": Hyperparameters(4e-3, 16, 10, weight_decay=1e-4, decay_epochs=5),
        "thumos14": Hyperparameters(4e-5, 8, 10, weight_decay=1e-4, max_grad_norm=1.0, decay_epochs=5),
    }
    metric = "average_map"
    unit = "videos"

    @property
    def is_windowed(self) -> bool:
        """Whether videos are cut into windows."""
        return self.preset == "thumos14"

    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config`, and read the class scores."""
        make = GTADConfig.thumos14 if self.is_windowed else GTADConfig.activitynet
        self.class_scores = None
        if self.settings.class_scores is not None:
            self.class_scores = read_class_score_file(self.settings.class_scores)
            lacking = set(self.split.evaluation.by_id) - set(self.class_scores.scores)
            if lacking:
                raise ValueError(
                    f"{self.settings.class_scores} lacks {len(lacking)} videos to evaluate on, first "
                    f"{min(lacking)!r}."
                )
            annotated = self.split.evaluation.labels
            if not set(self.class_scores.names) & set(annotated):
                raise ValueError(
                    f"{self.settings.class_scores} names classes such as "
                    f"{list(self.class_scores.names[:3])}, the annotations others, such as "
                    f"{list(annotated[:3])}; give both the same names."
                )
            names = dict(enumerate(self.class_scores.names))
            fields = {"id2label": names, "label2id": {name: n for n, name in names.items()}, **fields}
        self.config: GTADConfig = make(**fields)

    def make_model(self) -> PreTrainedModel:
        """Return the localizer with fresh weights."""
        return GTADForTemporalActionLocalization(self.config)

    def list_items(self, annotations: AnnotationSet, is_training: bool) -> list[Item]:
        """Return one item a video, or one a window; training leaves out those that hold no segment."""
        if not self.is_windowed:
            return [Item(video) for video in annotations.videos if video.segments or not is_training]
        warn_of_other_durations(annotations, self._assumed_duration_s)
        items = []
        for video in annotations.videos:
            features = self.features.read(video.video_id)
            stride_frames, _ = self._grid(features, Item(video))
            for first in thumos_window_starts(len(features.features), self.config.num_steps, stride_frames):
                item = Item(video, first_row=first)
                if not is_training or self._window_labels(features, item) is not None:
                    items.append(item)
        return items

    def _grid(self, features: VideoFeatures, item: Item) -> tuple[int, float]:
        """Return the frames from row to row, and frames per second."""
        record = features.record
        if record is not None:
            return record.stride_frames, record.fps
        return self.settings.stride_frames or _STRIDE_FRAMES, item.video.fps or _FPS

    def _assumed_duration_s(self, video: AnnotatedVideo) -> float | None:
        """Return the seconds that rows cover whose grid nobody recorded."""
        features = self.features.read(video.video_id)
        stride_frames, fps = self._grid(features, Item(video))
        return None if features.record is not None else len(features.features) * stride_frames / fps

    def _first_frame(self, features: VideoFeatures, item: Item) -> int:
        """Return the frame of a window's first step; of our own snippets the one in their middle."""
        stride_frames, fps = self._grid(features, item)
        if features.record is None or features.centers_s is None:
            return item.first_row * stride_frames
        return round(float(features.centers_s[item.first_row]) * fps)

    def _window_labels(self, features: VideoFeatures, item: Item) -> np.ndarray | None:
        stride_frames, fps = self._grid(features, item)
        frames = np.array([[s.start_s, s.end_s] for s in item.video.segments]).reshape(-1, 2) * fps
        return thumos_window_labels(
            frames, self._first_frame(features, item), self.config.num_steps, stride_frames
        )

    def _inputs(self, features: VideoFeatures, item: Item) -> np.ndarray:
        if self.is_windowed:
            return thumos_window_features(features.features, item.first_row, self.config.num_steps)
        return rescale_rows(features.features, self.config.num_steps)

    def prepare_training(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> tuple[np.ndarray, GTADTargets]:
        """Return features and targets."""
        config = self.config
        if self.is_windowed:
            labels = self._window_labels(features, item)
            stride_frames, _ = self._grid(features, item)
            targets = thumos_targets(
                np.zeros((0, 2)) if labels is None else labels,
                self._first_frame(features, item),
                config.num_steps,
                config.max_duration,
                stride_frames,
            )
        else:
            segments_s = [[segment.start_s, segment.end_s] for segment in item.video.segments]
            covered_s = _covered_duration_s(features, item.duration_s)
            targets = activitynet_targets(segments_s, covered_s, config.num_steps, config.max_duration)
        return self._inputs(features, item), targets

    def prepare_evaluation(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> tuple[np.ndarray, None]:
        """Return features."""
        return self._inputs(features, item), None

    def batch_samples(
        self, samples: Sequence[tuple[np.ndarray, GTADTargets | None]]
    ) -> Mapping[str, torch.Tensor]:
        """Return features, and targets where the samples have them."""
        batch = {"features": torch.from_numpy(np.stack([features for features, _ in samples]))}
        targets = [target for _, target in samples if target is not None]
        if targets:
            for name in ("iou_map", "start", "end"):
                rows = np.stack([getattr(target, name) for target in targets])
                batch[f"{name}_labels"] = torch.from_numpy(rows)
        return batch

    def decode(self, output: GTADOutput, indices: Sequence[int]) -> dict[int, Any]:
        """Return the segments of whole videos, or the maps of windows, which are decoded together."""
        if output.iou_map is None or output.start is None or output.end is None:
            raise ValueError("the output lacks its maps.")
        if self.is_windowed:
            return dict(zip(indices, output.iou_map.float().cpu().numpy(), strict=True))
        items = [self.eval_samples.items[index] for index in indices]
        classes = self.class_scores
        found = decode_activitynet(
            output.iou_map,
            output.start,
            output.end,
            [item.duration_s for item in items],
            self.config,
            None if classes is None else [classes.scores[item.video.video_id] for item in items],
        )
        return dict(zip(indices, found, strict=True))

    def _detections(self, decoded: Mapping[int, Any]) -> dict[str, Detections]:
        """Return the segments by video id."""
        samples = self.eval_samples
        if not self.is_windowed:
            return {samples.items[index].video.video_id: found for index, found in sorted(decoded.items())}
        windows: dict[str, list[int]] = {}
        for index in sorted(decoded):
            windows.setdefault(samples.items[index].video.video_id, []).append(index)
        detections = {}
        for video_id, members in windows.items():
            items = [samples.items[index] for index in members]
            features = self.features.read(video_id)
            stride_frames, fps = self._grid(features, items[0])
            detections[video_id] = decode_thumos(
                np.stack([decoded[index] for index in members]),
                [self._first_frame(features, item) for item in items],
                fps,
                round(items[0].duration_s * fps),
                self.config,
                None if self.class_scores is None else self.class_scores.scores[video_id],
                stride_frames,
            )
        return detections

    @cached_property
    def _instances(self) -> SegmentTable:
        path = self.settings.eval_annotations or self.settings.annotations
        return read_instances(path, self.split.evaluation)

    @property
    def coverage(self) -> str:
        """Videos and segments that a score is computed on, and what is assumed of them, as text."""
        parts = [self.split.coverage, f"{len(self._instances)} segments"]
        videos = self.split.evaluation.videos if self.is_windowed else ()
        unknown = [video for video in videos if self.features.read(video.video_id).record is None]
        num_without = sum(video.fps is None for video in unknown)
        if num_without:
            parts.append(f"assuming {_FPS:g} frames per second of {num_without} videos")
        if unknown and self.settings.stride_frames is None:
            parts.append(f"{'' if num_without else 'assuming '}{_STRIDE_FRAMES} frames from row to row")
        return ", ".join(parts)

    def score(self, decoded: Mapping[int, Any]) -> dict[str, float]:
        """Return mAP by the benchmark's thresholds, and average recall of the proposals."""
        names = None if self.class_scores is None else self.class_scores.names
        return detection_scores(self._instances, self._detections(decoded), names, is_thumos=self.is_windowed)

    def write_results(self, decoded: Mapping[int, Any], folder: Path) -> list[Path]:
        """Write `results.json` in the ActivityNet layout; with THUMOS14's classes also the toolkit's text."""
        detections = self._detections(decoded)
        names = None if self.class_scores is None else self.class_scores.names
        version = "THUMOS14" if self.is_windowed else "VERSION 1.3"
        files = [write_detections(folder / "results.json", detections, names, version, ACTION)]
        if self.is_windowed and names is not None and len(names) == len(THUMOS_CLASS_NUMBERS):
            files.append(write_thumos_text(folder / "results.txt", detections, THUMOS_CLASS_NUMBERS))
        return files


def _covered_duration_s(features: VideoFeatures, duration_s: float) -> float:
    """Return up to which second the rows go; targets are relative to it, predictions to the duration."""
    record = features.record
    if record is None or features.centers_s is None:
        return duration_s
    end_s = float(features.centers_s[-1]) + record.snippet_frames / 2 / record.fps
    return min(duration_s, end_s)
