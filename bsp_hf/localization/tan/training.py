"""Training and evaluation of 2D-TAN."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.localization.grounding.decoding import decode_tan
from bsp_hf.localization.grounding.samples import GroundingSample, make_tan_sample
from bsp_hf.localization.grounding.task import GroundingTask
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.task import Item, TrainingSettings

from .configuration_tan import TANConfig
from .loss import tan_loss
from .modeling_tan import TANForVideoGrounding, TANOutput
from .proposal_map import proposal_layout

PUBLISHED = TrainingSettings(1e-4, 32, 100, max_grad_norm=10.0)
# The published schedule acts only where there is a validation split beside the test split; Charades-STA has
# none. Choice: what is evaluated on is taken for the validation split.
WITH_PLATEAU = replace(PUBLISHED, plateau_factor=0.8, plateau_patience=20)


class TANTask(GroundingTask):
    """2D-TAN on queries; moments are clipped to the video, as published."""

    presets: ClassVar[dict[str, TrainingSettings]] = {
        "charades": PUBLISHED,
        "activitynet_captions": WITH_PLATEAU,
        "tacos": WITH_PLATEAU,
    }
    rule = "2d-tan"
    has_evaluation_loss = True
    config: TANConfig

    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config`, and read the queries."""
        words = self.load_words(strip_punctuation=False)
        self.config = getattr(TANConfig, self.preset)(**{**words, **fields})
        self.read_queries()

    def make_model(self) -> PreTrainedModel:
        """Return the network with fresh weights."""
        return TANForVideoGrounding(self.config)

    def usable_window(self, window_s: tuple[float, float], duration_s: float | None) -> bool:
        """Say whether a moment is left after clipping; 2D-TAN drops those that are not."""
        return duration_s is None or window_s[0] < min(window_s[1], duration_s)

    def prepare(
        self,
        features: VideoFeatures,
        query: np.ndarray,
        duration_s: float,
        window_s: tuple[float, float] | None,
        rng: np.random.Generator | None,
    ) -> GroundingSample:
        """Return averaged rows, the query and, with a window, the tIoU of every span."""
        clipped_s = None if window_s is None else (window_s[0], min(window_s[1], duration_s))
        return make_tan_sample(
            features.features,
            query,
            duration_s,
            clipped_s,
            num_rows=self.config.num_rows,
            num_clips=self.config.num_clips,
        )

    def prepare_evaluation(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> GroundingSample:
        """Return a sample with the labels of its first moment, for the loss that the schedule watches."""
        if item.query is None:
            raise ValueError("a grounding sample needs a query.")
        query = self._queries[item.query.sentence]
        return self.prepare(features, query, item.duration_s, item.query.windows_s[0], None)

    def evaluation_losses(
        self, output: TANOutput, batch: Mapping[str, torch.Tensor], indices: Sequence[int]
    ) -> dict[int, float]:
        """Return the loss of every query."""
        if output.logits is None:
            raise ValueError("the output lacks its logits.")
        config = self.config
        mask = torch.from_numpy(proposal_layout(config.num_clips, config.scale_layers).mask)
        logits, labels = output.logits.float().cpu(), batch["labels"].cpu()
        bounds = (config.min_iou, config.max_iou, config.target_bias)
        return {
            index: tan_loss(logits[row], mask, labels[row], *map(float, bounds)).item()
            for row, index in enumerate(indices)
        }

    def decode(self, output: TANOutput, indices: Sequence[int]) -> dict[int, Detections]:
        """Return the five best spans behind suppression."""
        if output.probabilities is None:
            raise ValueError("the output lacks its probabilities.")
        durations_s = [self.eval_samples.items[index].duration_s for index in indices]
        probabilities = output.probabilities.float().cpu().numpy()
        found = decode_tan(probabilities, durations_s, self.config.nms_threshold)
        return dict(zip(indices, found, strict=True))
