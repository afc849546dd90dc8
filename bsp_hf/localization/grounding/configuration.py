"""Base of the configs of the grounding networks: how a sentence reaches the network."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from bsp_hf.localization.localizer.config import LocalizerConfig


@strict
class GroundingConfig(LocalizerConfig):
    """Base of the configs of networks that find what a sentence describes.

    Args:
        word_dim (`int`, *optional*, defaults to 300): Width of a word vector, or of the sentence vector.
        text_encoder (`str`, *optional*): Text encoder of transformers that reads the queries: a Hub id, or
            the name of a subfolder of the localizer's folder. None for a vocabulary or word vectors.
        encoder, encoder_copy, feature_fps, feature_stride_frames (*optional*): Which features it was trained
            on, see [`LocalizerConfig`].
    """

    strips_punctuation: ClassVar[bool] = False  # of queries, before they are split into words

    word_dim: int = 300
    text_encoder: str | None = None

    @property
    def vocabulary_size(self) -> int | None:
        """Rows of the trained embedding, the reserved ones included; None where vectors are read."""
        return None

    @property
    def reads_sentence_vectors(self) -> bool:
        """True if a query is one vector rather than a sequence of words."""
        return False

    @property
    def max_query_words(self) -> int | None:
        """Largest number of words of a query; None for all."""
        return None

    def describe_queries(self) -> str:
        """Return what reads the sentences, for the model card."""
        if self.text_encoder is not None:
            return "a text encoder of transformers"
        if self.vocabulary_size is not None:
            return f"an embedding of {self.vocabulary_size} words, trained with it"
        return f"word vectors of {self.word_dim} numbers"
