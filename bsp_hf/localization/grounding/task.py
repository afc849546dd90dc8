"""What the trainings of 2D-TAN and LGI share: queries, ranked moments, recall and the result file."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.localization.annotations.types import AnnotationSet
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.result_files import MomentPrediction, pair_moments, write_moments
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.training.task import Item, LocalizerTask
from bsp_hf.metrics import evaluate_grounding

from .queries import QueryVocabulary, tokenize_query
from .query_reader import QueryReader
from .samples import GroundingSample, collate_grounding_samples
from .text_encoder import TransformersQueryEncoder
from .word_vectors import WordVectors, load_word_vectors

NO_WORDS = (
    "queries need --word_vectors (glove.6B.300d.txt, or an npz of words and vectors) or --text_encoder "
    "(a text encoder of transformers)."
)


class GroundingTask(LocalizerTask):
    """A grounding network on queries."""

    metric = "recall@1,0.5"
    unit = "queries"
    rule: ClassVar[str] = ""

    config: TANConfig | LGIConfig
    vocabulary: QueryVocabulary | None = None
    word_vectors: WordVectors | None = None
    text_encoder: TransformersQueryEncoder | None = None

    def sentences(self, annotations: AnnotationSet) -> list[str]:
        """Return all sentences of some videos."""
        return [query.sentence for video in annotations.videos for query in video.queries]

    def load_words(self, strip_punctuation: bool) -> dict[str, Any]:
        """Load the text encoder or the vectors of all words that occur, and return the fields they set."""
        if self.options.text_encoder is not None:
            self.text_encoder = TransformersQueryEncoder.from_pretrained(self.options.text_encoder)
            return {"word_dim": self.text_encoder.dim, "text_encoder": self.options.text_encoder}
        if self.options.word_vectors is None:
            raise ValueError(NO_WORDS)
        words = {
            word
            for part in (self.split.train, self.split.evaluation)
            for sentence in self.sentences(part)
            for word in tokenize_query(sentence, strip_punctuation)
        }
        self.word_vectors = load_word_vectors(self.options.word_vectors, words)
        return {"word_dim": self.word_vectors.dim}

    def read_queries(self) -> None:
        """Encode every sentence once."""
        reader = QueryReader(self.config, self.vocabulary, self.word_vectors, self.text_encoder)
        sentences = sorted({*self.sentences(self.split.train), *self.sentences(self.split.evaluation)})
        readable = [text for text in sentences if tokenize_query(text, isinstance(self.config, LGIConfig))]
        self._queries: dict[str, np.ndarray] = {}
        for first in range(0, len(readable), 256):
            part = readable[first : first + 256]
            self._queries.update(zip(part, reader.read(part), strict=True))

    @property
    def companions(self) -> dict[str, Any]:
        """What is saved beside the model, as arguments of `save_localizer_folder`."""
        return {
            "vocabulary": self.vocabulary,
            "word_vectors": self.word_vectors,
            "text_encoder": self.text_encoder,
        }

    def list_items(self, annotations: AnnotationSet, is_training: bool) -> list[Item]:
        """Return one item a query that holds a word and whose moment lies in the video."""
        return [
            Item(video, query)
            for video in annotations.videos
            for query in video.queries
            if query.sentence in self._queries and self.usable_window(query.windows_s[0], video.duration_s)
        ]

    def usable_window(self, window_s: tuple[float, float], duration_s: float | None) -> bool:
        """Say whether a moment can be trained and evaluated on."""
        return True

    @abstractmethod
    def prepare(
        self,
        features: VideoFeatures,
        query: np.ndarray,
        duration_s: float,
        window_s: tuple[float, float] | None,
        rng: np.random.Generator | None,
    ) -> GroundingSample:
        """Return a sample, with labels if there is a window."""

    def prepare_training(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> GroundingSample:
        """Return a sample with labels; of several moments one is drawn."""
        if item.query is None:
            raise ValueError("a grounding sample needs a query.")
        windows_s = item.query.windows_s
        # Choice: the published networks know one moment a query; QVHighlights has several.
        window_s = windows_s[0] if len(windows_s) == 1 else windows_s[int(rng.integers(len(windows_s)))]
        return self.prepare(features, self._queries[item.query.sentence], item.duration_s, window_s, rng)

    def prepare_evaluation(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> GroundingSample:
        """Return a sample without labels."""
        if item.query is None:
            raise ValueError("a grounding sample needs a query.")
        return self.prepare(features, self._queries[item.query.sentence], item.duration_s, None, None)

    def batch_samples(self, samples: Sequence[GroundingSample]) -> Mapping[str, torch.Tensor]:
        """Return the arguments of the network."""
        return dict(collate_grounding_samples(samples))

    def _moments(self, decoded: Mapping[int, Detections]) -> list[MomentPrediction]:
        moments = []
        for index, found in sorted(decoded.items()):
            item = self.eval_samples.items[index]
            if item.query is not None:
                moments.append(
                    MomentPrediction(
                        item.query.query_id,
                        item.video.video_id,
                        item.query.sentence,
                        found.segments,
                        found.scores,
                    )
                )
        return moments

    def score(self, decoded: Mapping[int, Detections]) -> dict[str, float]:
        """Return recall at ranks 1 and 5 by the system's own rule, and mean tIoU."""
        moments = {moment.key: moment for moment in self._moments(decoded)}
        pairs = pair_moments(self._evaluated(), moments)
        scores = evaluate_grounding(pairs.predicted_s, pairs.annotated_s, rule=self.rule)
        results = {
            f"recall@{rank},{threshold}": scores.recall_at(rank, threshold)
            for rank in ((1, 5) if self.rule == "2d-tan" else (1,))
            for threshold in (0.3, 0.5, 0.7)
        }
        return {**results, "mean_iou": scores.mean_iou}

    def _evaluated(self) -> AnnotationSet:
        """Return the evaluated queries alone: those dropped by the system's rules are dropped here too."""
        from dataclasses import replace

        kept: dict[str, list[Any]] = {}
        for item in self.eval_samples.items:
            kept.setdefault(item.video.video_id, []).append(item.query)
        videos = self.split.evaluation.by_id
        return AnnotationSet(
            tuple(replace(videos[video_id], queries=tuple(queries)) for video_id, queries in kept.items())
        )

    def write_results(self, decoded: Mapping[int, Detections], folder: Path) -> list[Path]:
        """Write `predictions.jsonl` in the layout of QVHighlights' submissions."""
        return [write_moments(folder / "predictions.jsonl", self._moments(decoded))]
