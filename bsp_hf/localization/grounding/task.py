"""Training and evaluation of a grounding network: queries, ranked moments, recall and the result file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from bsp_hf.features.other_tools.source import VideoFeatures
from bsp_hf.localization.annotations.types import AnnotationSet, MomentQuery
from bsp_hf.localization.evaluation import grounding_rule, grounding_scores
from bsp_hf.localization.result_files import MomentPrediction, write_moments
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.localization.training.split import LocalizerSplit
from bsp_hf.localization.training.task import FeatureCache, Item, LocalizerTask

from .configuration import GroundingConfig
from .network import GroundingNetwork
from .queries import QueryVocabulary, fill_embedding, tokenize_query
from .query_reader import QueryReader
from .samples import GroundingSample, collate_grounding_samples
from .text_encoder import TransformersQueryEncoder
from .word_vectors import WordVectors, load_word_vectors

logger = logging.getLogger(__name__)

_MAX_MOMENTS = {"qvhighlights": 10}  # those that take part in the scores; 5 by the other rules
_QUERIES_AT_ONCE = 256
NO_WORDS = (
    "queries need --word_vectors (glove.6B.300d.txt, or an npz of words and vectors) or --text_encoder "
    "(a text encoder of transformers)."
)


class GroundingTask(LocalizerTask):
    """A grounding network on queries.

    Where the network has an embedding of its own, its vocabulary is that of the training queries. As
    published the embedding starts at random; word vectors, if given, are where it starts.

    Predictions are scored by the rule of the network's own publication, those for QVHighlights by its rule.
    """

    unit = "queries"
    config: GroundingConfig

    def __init__(
        self,
        network: GroundingNetwork,
        split: LocalizerSplit,
        features: FeatureCache,
        settings: LocalizerTrainingSettings,
    ) -> None:
        self.network, self.presets = network, network.presets
        self.rule = grounding_rule(split.evaluation, network.rule)
        self.metric = "mr_map" if self.rule == "qvhighlights" else "recall@1,0.5"
        self.has_evaluation_loss = network.measure_losses is not None
        self.vocabulary: QueryVocabulary | None = None
        self.word_vectors: WordVectors | None = None
        self.text_encoder: TransformersQueryEncoder | None = None
        self._first_vectors: WordVectors | None = None
        super().__init__(split, features, settings)

    def prepare_config(self, fields: dict[str, Any]) -> None:
        """Set `config`, and read the queries."""
        make_config = getattr(self.network.config_class, self.preset)
        sentences = [_sentences(part) for part in (self.split.train, self.split.evaluation)]
        settings = self.settings
        if settings.text_encoder is None and make_config(**fields).vocabulary_size is not None:
            self.vocabulary = QueryVocabulary.from_sentences(sentences[0])
            words = {"vocab_size": len(self.vocabulary)}
            if settings.word_vectors is not None:
                self._first_vectors = load_word_vectors(settings.word_vectors, self.vocabulary.words)
                words["word_dim"] = self._first_vectors.dim
        else:
            words = {**self._load_vectors({*sentences[0], *sentences[1]}), **self.network.vector_fields}
        self.config = make_config(**{**words, **fields})
        reader = QueryReader(self.config, self.vocabulary, self.word_vectors, self.text_encoder)
        readable = sorted(text for text in {*sentences[0], *sentences[1]} if self._tokenize(text))
        self._queries: dict[str, np.ndarray] = {}
        for first in range(0, len(readable), _QUERIES_AT_ONCE):
            part = readable[first : first + _QUERIES_AT_ONCE]
            self._queries.update(zip(part, reader.read(part), strict=True))

    def _load_vectors(self, sentences: set[str]) -> dict[str, Any]:
        """Load the text encoder or the vectors of all words, and return the config fields they set."""
        if self.settings.text_encoder is not None:
            self.text_encoder = TransformersQueryEncoder.from_pretrained(self.settings.text_encoder)
            return {"word_dim": self.text_encoder.dim, "text_encoder": self.settings.text_encoder}
        if self.settings.word_vectors is None:
            raise ValueError(NO_WORDS)
        words = {word for sentence in sentences for word in self._tokenize(sentence)}
        self.word_vectors = load_word_vectors(self.settings.word_vectors, words)
        return {"word_dim": self.word_vectors.dim}

    def _tokenize(self, sentence: str) -> list[str]:
        return tokenize_query(sentence, self.network.config_class.strips_punctuation)

    @property
    def companions(self) -> dict[str, Any]:
        """Arguments of `save_localizer_folder`: what is saved with the model."""
        return {name: getattr(self, name) for name in ("vocabulary", "word_vectors", "text_encoder")}

    def make_model(self) -> PreTrainedModel:
        """Return the network with fresh weights, its embedding perhaps from word vectors."""
        model = self.network.model_class(self.config)
        if self.vocabulary is not None and self._first_vectors is not None:
            embedding: Any = model.get_input_embeddings()  # Any: typed as a module without weights
            fill_embedding(embedding, self.vocabulary, self._first_vectors)
        return model

    @property
    def coverage(self) -> str:
        """Videos and queries that a score is computed on, as text."""
        num_queries = len(_sentences(self.split.evaluation))
        return f"{self.split.coverage}, {len(self.eval_samples)} of {num_queries} queries"

    def list_items(self, annotations: AnnotationSet, is_training: bool) -> list[Item]:
        """Return one item a query that holds a word; the rule of 2D-TAN cuts its moments to the video."""
        cut = annotations.cut_to_videos()
        num_outside = annotations.num_queries - cut.num_queries
        if (self.network.rule if is_training else self.rule) == "2d-tan":
            annotations = cut
        elif num_outside:
            part = "train" if is_training else "evaluate"
            logger.warning("%d queries to %s on have no moment inside their video", num_outside, part)
        return [
            Item(video, query)
            for video in annotations.videos
            for query in video.queries
            if query.sentence in self._queries
        ]

    def prepare_training(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> GroundingSample:
        """Return a sample with labels; of several moments one is drawn."""
        windows_s = _query_of(item).windows_s
        # Choice: the published networks know one moment a query; QVHighlights has several.
        window_s = windows_s[0] if len(windows_s) == 1 else windows_s[int(rng.integers(len(windows_s)))]
        return self._make_sample(features, item, window_s, rng)

    def prepare_evaluation(
        self, features: VideoFeatures, item: Item, rng: np.random.Generator
    ) -> GroundingSample:
        """Return a sample, with the labels of its first moment where the schedule watches their loss."""
        window_s = _query_of(item).windows_s[0] if self.has_evaluation_loss else None
        return self._make_sample(features, item, window_s, None)

    def _make_sample(
        self,
        features: VideoFeatures,
        item: Item,
        window_s: tuple[float, float] | None,
        rng: np.random.Generator | None,
    ) -> GroundingSample:
        query = self._queries[_query_of(item).sentence]
        return self.network.make_sample(self.config, features.features, query, item.duration_s, window_s, rng)

    def batch_samples(self, samples: Sequence[GroundingSample]) -> Mapping[str, torch.Tensor]:
        """Return the arguments of the network."""
        return dict(collate_grounding_samples(samples))

    def decode(self, output: Any, indices: Sequence[int]) -> dict[int, Detections]:
        """Return the best moments of every query."""
        durations_s = [self.eval_samples.items[index].duration_s for index in indices]
        found = self.network.decode(self.config, output, durations_s, _MAX_MOMENTS.get(self.rule, 5))
        return dict(zip(indices, found, strict=True))

    def evaluation_losses(
        self, output: Any, batch: Mapping[str, torch.Tensor], indices: Sequence[int]
    ) -> dict[int, float]:
        """Return the loss of every query, where the published schedule watches it."""
        if self.network.measure_losses is None:
            return {}
        losses = self.network.measure_losses(self.config, output, batch["labels"])
        return dict(zip(indices, losses, strict=True))

    def score(self, decoded: Mapping[int, Detections]) -> dict[str, float]:
        """Return recall and mean tIoU, for QVHighlights its mAP too, by the rule."""
        moments = {moment.key: moment for moment in self._moments(decoded)}
        ranks = (1,) if self.network.rule == "lgi" else (1, 5)  # LGI finds one moment
        return grounding_scores(self._evaluated(), moments, self.rule, ranks).metrics

    def write_results(self, decoded: Mapping[int, Detections], folder: Path) -> list[Path]:
        """Write `predictions.jsonl` in the layout of QVHighlights' submissions."""
        return [write_moments(folder / "predictions.jsonl", self._moments(decoded))]

    def _moments(self, decoded: Mapping[int, Detections]) -> list[MomentPrediction]:
        moments = []
        for index, found in sorted(decoded.items()):
            item = self.eval_samples.items[index]
            query = _query_of(item)
            moments.append(
                MomentPrediction(
                    query.query_id, item.video.video_id, query.sentence, found.segments, found.scores
                )
            )
        return moments

    def _evaluated(self) -> AnnotationSet:
        """Return the evaluated queries alone: those dropped by the network's rules are dropped here too."""
        kept: dict[str, list[MomentQuery]] = {}
        for item in self.eval_samples.items:
            kept.setdefault(item.video.video_id, []).append(_query_of(item))
        videos = self.split.evaluation.by_id
        return AnnotationSet(
            tuple(replace(videos[video_id], queries=tuple(queries)) for video_id, queries in kept.items())
        )


def _sentences(annotations: AnnotationSet) -> list[str]:
    return [query.sentence for video in annotations.videos for query in video.queries]


def _query_of(item: Item) -> MomentQuery:
    if item.query is None:
        raise ValueError("a grounding sample needs a query.")
    return item.query
