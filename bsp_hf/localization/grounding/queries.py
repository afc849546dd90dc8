"""Sentences to what the grounding networks read: tokens, word numbers or vectors, padding and masks."""

import json
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import cached_file

from bsp_hf.files import atomic_write_text
from bsp_hf.metrics.text_files import read_json

from .word_vectors import WordVectors

VOCABULARY_FILE = "vocabulary.json"
UNKNOWN_ID = 1
NUM_RESERVED_IDS = 4  # padding, unknown, and two for start and end that LGI reserves and never uses

_STRIP_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokenize_query(sentence: str, strip_punctuation: bool) -> list[str]:
    """Split a sentence into lower-case words.

    2D-TAN keeps punctuation, so `"door,"` is a word of its own that GloVe does not know; LGI removes every
    ASCII punctuation character, so `"person's"` becomes `"persons"`.
    """
    lowered = sentence.lower()
    return (lowered.translate(_STRIP_PUNCTUATION) if strip_punctuation else lowered).split()


@dataclass(frozen=True)
class QueryVocabulary:
    """The words a trained embedding knows; the first one has the number 4, and none is repeated.

    LGI's checkpoints are useless without them: save both together.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        repeated = [word for word, count in Counter(self.words).items() if count > 1]
        if repeated:
            raise ValueError(f"vocabulary repeats {len(repeated)} words, for instance {repeated[:5]}.")
        object.__setattr__(self, "_ids", {word: NUM_RESERVED_IDS + i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        """Rows of the embedding: words and reserved ids; the config's `vocab_size`."""
        return NUM_RESERVED_IDS + len(self.words)

    @classmethod
    def from_sentences(cls, sentences: Iterable[str], min_count: int = 1) -> "QueryVocabulary":
        """Return the words of training queries, sorted, that occur `min_count` times or more."""
        counts = Counter(word for text in sentences for word in tokenize_query(text, strip_punctuation=True))
        return cls(tuple(sorted(word for word, count in counts.items() if count >= min_count)))

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | PathLike[str], revision: str | None = None
    ) -> "QueryVocabulary":
        """Read the `vocabulary.json` of a local folder or Hub repository."""
        path = Path(str(cached_file(str(name_or_path), VOCABULARY_FILE, revision=revision)))
        content = read_json(path)
        words = content.get("words") if isinstance(content, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f'{path} is not a vocabulary; expected {{"words": [...]}}.')
        try:
            return cls(tuple(words))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `vocabulary.json` into a folder, which is made if needed."""
        content = json.dumps({"words": list(self.words)}, ensure_ascii=False)
        atomic_write_text(Path(folder) / VOCABULARY_FILE, content)

    def encode(self, tokens: Sequence[str], max_words: int | None = None) -> np.ndarray:
        """Return the numbers of the first words, int64; an unknown word is 1."""
        ids: dict[str, int] = self.__dict__["_ids"]
        return np.array([ids.get(word, UNKNOWN_ID) for word in tokens[:max_words]], dtype=np.int64)


def pad_words(
    queries: Sequence[np.ndarray], num_words: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries padded with zeros to the longest one or to `num_words`, and the mask of their words."""
    if not queries:
        raise ValueError("no query to pad.")
    lengths = [len(query) for query in queries]
    if min(lengths) == 0:
        raise ValueError(f"query {lengths.index(0)} holds no word. Drop empty sentences before encoding.")
    width = max(lengths) if num_words is None else num_words
    if width < max(lengths):
        raise ValueError(
            f"query {lengths.index(max(lengths))} has {max(lengths)} words, num_words is {width}."
        )
    words = pad_sequence([torch.from_numpy(np.asarray(query)) for query in queries], batch_first=True)
    words = torch.cat([words, words.new_zeros(len(words), width - words.shape[1], *words.shape[2:])], dim=1)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    return words, mask.float()


def fill_embedding(embedding: torch.nn.Embedding, vocabulary: QueryVocabulary, vectors: WordVectors) -> int:
    """Fill a trained embedding from word vectors, as LGI's code can (its published configs do not).

    Rows of words without a vector and the four reserved rows stay as they are; returns how many were filled.
    """
    expected = (len(vocabulary), vectors.dim)
    if tuple(embedding.weight.shape) != expected:
        raise ValueError(
            f"embedding has shape {tuple(embedding.weight.shape)}, vocabulary and vectors ask for {expected}."
        )
    known = [row for row, word in enumerate(vocabulary.words) if word in vectors]
    rows = torch.from_numpy(vectors.lookup([vocabulary.words[row] for row in known]))
    with torch.no_grad():
        embedding.weight[[NUM_RESERVED_IDS + row for row in known]] = rows.to(embedding.weight)
    return len(known)
