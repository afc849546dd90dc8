"""Sentences to what a saved grounding network reads, with the words or text encoder saved with it."""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from bsp_hf.localization.localizer.companions import WORD_VECTORS_FILE, find_companion_file

from .configuration import GroundingConfig
from .queries import VOCABULARY_FILE, QueryVocabulary, tokenize_query
from .text_encoder import TransformersQueryEncoder
from .word_vectors import GLOVE_SOURCE, WordVectors, load_word_vectors


class QueryReader:
    """Encodes sentences as a grounding network was trained to read them.

    The config names which of vocabulary, word vectors and text encoder is read; that one must be given.
    """

    def __init__(
        self,
        config: GroundingConfig,
        vocabulary: QueryVocabulary | None = None,
        word_vectors: WordVectors | None = None,
        text_encoder: TransformersQueryEncoder | None = None,
    ) -> None:
        self.config = config
        self.vocabulary, self.word_vectors, self.text_encoder = vocabulary, word_vectors, text_encoder
        if config.vocabulary_size is not None:
            if vocabulary is None or len(vocabulary) != config.vocabulary_size:
                held = "none" if vocabulary is None else f"one of {len(vocabulary)}"
                raise ValueError(
                    f"the network's embedding needs its vocabulary ({VOCABULARY_FILE}) of "
                    f"{config.vocabulary_size} numbers, there is {held}. Save the one it was trained with: "
                    "save_localizer_folder(..., vocabulary=...)."
                )
            return
        if text_encoder is None and (word_vectors is None or config.reads_sentence_vectors):
            raise ValueError(
                "the network reads the vectors of a text encoder; pass text_encoder=, or set text_encoder in "
                "the config."
                if config.reads_sentence_vectors or config.text_encoder
                else f"the network reads word vectors, and no {WORD_VECTORS_FILE} lies in its folder. Pass "
                f"word_vectors=, the path of glove.6B.300d.txt from {GLOVE_SOURCE}."
            )
        source = word_vectors if text_encoder is None else text_encoder
        if source is not None and source.dim != config.word_dim:
            raise ValueError(
                f"the query vectors are {source.dim} wide, the network reads word_dim={config.word_dim}; "
                "take those that it was trained with."
            )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | PathLike[str],
        config: GroundingConfig,
        *,
        revision: str | None = None,
        word_vectors: WordVectors | str | PathLike[str] | None = None,
        text_encoder: TransformersQueryEncoder | str | PathLike[str] | None = None,
    ) -> "QueryReader":
        """Load what was saved with a network.

        Word vectors or a text encoder that are given are read in place of those in the folder or in the
        config. What the config asks for and is absent raises `OSError` or `ValueError`.
        """
        if config.vocabulary_size is not None:
            return cls(config, QueryVocabulary.from_pretrained(name_or_path, revision))
        if text_encoder is None and word_vectors is None and config.text_encoder is not None:
            inside = find_companion_file(name_or_path, f"{config.text_encoder}/config.json", revision)
            text_encoder = (
                TransformersQueryEncoder.from_pretrained(config.text_encoder)
                if inside is None
                else TransformersQueryEncoder.from_pretrained(name_or_path, config.text_encoder, revision)
            )
        if text_encoder is not None:
            if not isinstance(text_encoder, TransformersQueryEncoder):
                text_encoder = TransformersQueryEncoder.from_pretrained(text_encoder)
            return cls(config, text_encoder=text_encoder)
        if word_vectors is None:
            word_vectors = find_companion_file(name_or_path, WORD_VECTORS_FILE, revision)
        if word_vectors is not None and not isinstance(word_vectors, WordVectors):
            word_vectors = load_word_vectors(word_vectors)
        return cls(config, word_vectors=word_vectors)

    def read(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Return the `query` of a [`GroundingSample`] for each sentence, which must hold a word."""
        for sentence in sentences:
            if not isinstance(sentence, str):
                raise TypeError(f"a query must be text, got {type(sentence).__name__}.")
        limit = self.config.max_query_words
        tokens = [
            tokenize_query(sentence, strip_punctuation=self.config.strips_punctuation)
            for sentence in sentences
        ]
        for sentence, words in zip(sentences, tokens, strict=True):
            if not words:
                raise ValueError(f"the query {sentence!r} holds no word.")
        if self.config.vocabulary_size is not None and self.vocabulary is not None:
            return [self.vocabulary.encode(words, limit) for words in tokens]
        if self.text_encoder is not None:
            encoded = self.text_encoder.encode(sentences)
            if self.config.reads_sentence_vectors:
                return list(encoded.sentences.cpu().numpy())
            lengths = encoded.mask.sum(dim=1).long().tolist()
            rows = encoded.words.cpu().numpy()
            return [row[:length][:limit] for row, length in zip(rows, lengths, strict=True)]
        if self.word_vectors is None:
            raise ValueError("the reader holds neither word vectors nor a text encoder.")
        return [self.word_vectors.lookup(words[:limit]) for words in tokens]
