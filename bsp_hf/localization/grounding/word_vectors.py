"""Pre-trained word vectors (GloVe) from the user's own file."""

import codecs
import gzip
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from bsp_hf.features.storage.formats import load_npz
from bsp_hf.files import FeatureFileError, atomic_file, blame_file, check_expansion
from bsp_hf.localization.localizer.companions import WORD_VECTORS_FILE

_LONGEST_LINE = 1 << 20
GLOVE_SOURCE = "https://nlp.stanford.edu/projects/glove/"


class WordVectors:
    """A table of float32 word vectors `(num_words, dim)`; of a repeated word the first row counts.

    A word that it does not hold is a zero vector, as in 2D-TAN.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        table = np.asarray(vectors)
        if table.ndim != 2 or len(table) != len(words) or not table.size:
            raise ValueError(f"{len(words)} words need vectors (num_words, dim), got shape {table.shape}.")
        self.words = tuple(str(word) for word in words)
        self.vectors = np.ascontiguousarray(table, dtype=np.float32)
        self._rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            self._rows.setdefault(word, row)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._rows

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.vectors.shape[1]

    def lookup(self, tokens: Sequence[str]) -> np.ndarray:
        """Return float32 `(len(tokens), dim)`, zero for unknown words; GloVe 6B is lower-case."""
        found = np.zeros((len(tokens), self.dim), dtype=np.float32)
        for position, word in enumerate(tokens):
            row = self._rows.get(word)
            if row is not None:
                found[position] = self.vectors[row]
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write an `.npz` of `words` and `vectors`, which loads some hundred times faster than text."""
        if Path(path).suffix != ".npz":
            raise ValueError(f"{path} must end in .npz.")
        with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, words=np.array(self.words), vectors=self.vectors)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `word_vectors.npz` into a folder."""
        self.save(Path(folder) / WORD_VECTORS_FILE)


def load_word_vectors(path: str | PathLike[str], only: Iterable[str] | None = None) -> WordVectors:
    """Read word vectors from the user's file; this package ships none and downloads none.

    GloVe's text layout (`word value value ...` a line, also gzipped or zipped, also with word2vec's `count
    dim` line in front) or an `.npz` of `words` `(num_words,)` and `vectors` `(num_words, dim)`. `only` keeps
    these words alone: GloVe 6B 300-d is 480 MB in memory, and a data set has few thousands of its words.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(
            f"no word vectors at {source}. 2D-TAN was published with GloVe 6B 300-d: get glove.6B.zip from "
            f"{GLOVE_SOURCE}, unpack it and pass the path of glove.6B.300d.txt."
        )
    wanted = None if only is None else set(only)
    if source.suffix == ".npz":
        words, vectors = _read_npz(source, wanted)
    else:
        words, vectors = _read_text(source, wanted)
    if not words:
        words_wanted = "no word" if wanted is None else f"none of the {len(wanted)} words asked for"
        raise ValueError(f"{source} holds {words_wanted}.")
    return WordVectors(words, vectors)


def _read_npz(path: Path, wanted: set[str] | None) -> tuple[list[str], np.ndarray]:
    arrays = load_npz(path, "word vectors")
    if not {"words", "vectors"} <= arrays.keys():
        raise ValueError(f"{path} holds {list(arrays)}; expected the arrays words and vectors.")
    words, vectors = [str(word) for word in arrays["words"]], arrays["vectors"]
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(f"{path} holds {len(words)} words and vectors of shape {vectors.shape}.")
    rows = [row for row, word in enumerate(words) if wanted is None or word in wanted]
    with blame_file(path, "vectors"), np.errstate(over="ignore"):
        found = vectors[rows].astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise ValueError(f"{path}: the vector of {words[rows[wrong[0]]]} is not finite.")
    return [words[row] for row in rows], found


def _read_text(path: Path, wanted: set[str] | None) -> tuple[list[str], np.ndarray]:
    # Most lines of a large file are skipped, so look at the first field before cutting the line up.
    first_fields = None if wanted is None else {word.partition(" ")[0] for word in wanted}
    words: list[str] = []
    rows: list[np.ndarray] = []
    dim = 0
    for number, line in _read_lines(path):
        fields = line.rstrip().replace("\t", " ")
        if not fields or (number == 1 and _is_word2vec_header(fields)):
            continue
        dim = dim or fields.count(" ")
        if first_fields is not None and fields.partition(" ")[0] not in first_fields:
            continue
        # Words of GloVe 840B may hold spaces, so the values are counted from the right.
        word, *values = fields.rsplit(" ", dim)
        if wanted is not None and word not in wanted:
            continue
        try:
            row = np.array(values, dtype=np.float32)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}. Expected `word value value ...`.") from error
        if not dim or len(row) != dim:
            raise ValueError(f"{path}, line {number}: {len(row)} values where the first line has {dim}.")
        if not np.isfinite(row).all():
            raise ValueError(f"{path}, line {number}: the vector of {word} is not finite.")
        words.append(word)
        rows.append(row)
    return words, np.stack(rows) if rows else np.zeros((0, dim), dtype=np.float32)


def _is_word2vec_header(fields: str) -> bool:
    parts = fields.split(" ")
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text file, plain, gzipped or alone in a zip archive."""
    with blame_file(path, "word vectors"), ExitStack() as stack:
        if path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            texts = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            if len(texts) != 1:
                raise FeatureFileError(
                    path, "word vectors", f"holds {', '.join(texts)}; unpack one and pass it."
                )
            check_expansion(path, "word vectors", archive.getinfo(texts[0]).file_size)
            file: IO[bytes] = stack.enter_context(archive.open(texts[0]))
        else:
            open_file: Any = gzip.open if path.suffix == ".gz" else Path.open  # Any: of different types
            file = stack.enter_context(open_file(path, "rb"))
        num_bytes = 0
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
            num_bytes += len(line)
            if len(line) == _LONGEST_LINE:
                raise FeatureFileError(path, f"line {number}", "is longer than any line of vectors.")
            if number % 4096 == 0 and path.suffix == ".gz":
                check_expansion(path, "word vectors", num_bytes)
            try:
                yield number, line.removeprefix(codecs.BOM_UTF8).decode()
            except UnicodeDecodeError as error:
                problem = "is not UTF-8; convert the file, for instance by iconv -f latin1 -t utf-8."
                raise FeatureFileError(path, f"line {number}", problem) from error
