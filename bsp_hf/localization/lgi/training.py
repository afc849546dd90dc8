"""Training and evaluation of LGI."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.localization.grounding.decoding import decode_lgi
from bsp_hf.localization.grounding.queries import QueryVocabulary, fill_embedding
from bsp_hf.localization.grounding.samples import GroundingSample, make_lgi_sample
from bsp_hf.localization.grounding.task import GroundingTask
from bsp_hf.localization.grounding.word_vectors import load_word_vectors
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.task import TrainingSettings

from .configuration_lgi import LGIConfig
from .modeling_lgi import LGIForVideoGrounding, LGIOutput


class LGITask(GroundingTask):
    """LGI on queries; the vocabulary is that of the training queries, and moments are not clipped.

    As published the embedding starts at random. Word vectors, if given, are where it starts; with
    `query_input="word_vectors"` in the config, or a text encoder, they are read as they are.
    """

    presets: ClassVar[dict[str, TrainingSettings]] = {
        "charades": TrainingSettings(4e-4, 100, 500),
        "activitynet_captions": TrainingSettings(4e-4, 100, 300),
    }
    rule = "lgi"
    config: LGIConfig

    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config`, and read the queries."""
        reads_vectors = fields.get("query_input") == "word_vectors" or self.options.text_encoder is not None
        if reads_vectors:
            words = {**self.load_words(strip_punctuation=True), "query_input": "word_vectors"}
        else:
            self.vocabulary = QueryVocabulary.from_sentences(self.sentences(self.split.train))
            words = {"vocab_size": len(self.vocabulary)}
            self._start = None
            if self.options.word_vectors is not None:
                self._start = load_word_vectors(self.options.word_vectors, self.vocabulary.words)
                words["word_dim"] = self._start.dim
        self.config = getattr(LGIConfig, self.preset)(**{**words, **fields})
        self.read_queries()

    def make_model(self) -> PreTrainedModel:
        """Return the network with fresh weights, the embedding perhaps from word vectors."""
        model = LGIForVideoGrounding(self.config)
        if self.vocabulary is not None and self._start is not None:
            fill_embedding(model.query_enc.embedding, self.vocabulary, self._start)
        return model

    def prepare(
        self,
        features: VideoFeatures,
        query: np.ndarray,
        duration_s: float,
        window_s: tuple[float, float] | None,
        rng: np.random.Generator | None,
    ) -> GroundingSample:
        """Return sampled rows, the query and, with a window, both targets."""
        return make_lgi_sample(features.features, query, duration_s, window_s, self.config.num_rows, rng)

    def decode(self, output: LGIOutput, indices: Sequence[int]) -> dict[int, Detections]:
        """Return one segment a query."""
        if output.spans is None:
            raise ValueError("the output lacks its spans.")
        durations_s = [self.eval_samples.items[index].duration_s for index in indices]
        found = decode_lgi(output.spans.float().cpu().numpy(), durations_s)
        return dict(zip(indices, found, strict=True))
