"""A text encoder of transformers in the place of word vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bsp_hf.localization.localizer.companions import TEXT_ENCODER_FOLDER


@dataclass(frozen=True)
class EncodedQueries:
    """Queries read by a text encoder.

    `words` is float32 `(batch, num_tokens, dim)`, zero in the padding, `mask` `(batch, num_tokens)`, and
    `sentences` the mean over the tokens, `(batch, dim)`.
    """

    words: torch.Tensor
    mask: torch.Tensor
    sentences: torch.Tensor


class TransformersQueryEncoder:
    """A frozen encoder of transformers instead of GloVe (beyond the published systems), with its tokenizer.

    Choice: the sentence vector is the mean over all tokens, the special ones included, which is how most
    sentence encoders are trained; it is not normalised.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | PathLike[str], subfolder: str = "", revision: str | None = None
    ) -> "TransformersQueryEncoder":
        """Load encoder and tokenizer of a folder or Hub id (`"sentence-transformers/all-MiniLM-L6-v2"`)."""
        name = str(name_or_path)
        where = {"subfolder": subfolder, "revision": revision or "main"}
        return cls(AutoModel.from_pretrained(name, **where), AutoTokenizer.from_pretrained(name, **where))

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write encoder and tokenizer into the subfolder `text_encoder` of a localizer's folder."""
        self.model.save_pretrained(Path(folder) / TEXT_ENCODER_FOLDER)
        self.tokenizer.save_pretrained(Path(folder) / TEXT_ENCODER_FOLDER)

    @property
    def dim(self) -> int:
        """Width of a vector: the grounding config's `word_dim`."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> EncodedQueries:
        """Return token vectors, mask and sentence vectors of sentences, on the model's device."""
        blank = [index for index, text in enumerate(sentences) if not text.strip()]
        if blank or not sentences:
            raise ValueError(f"queries {blank} are blank." if blank else "no query to encode.")
        batch = self.tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
        states = self.model(**batch.to(self.model.device)).last_hidden_state.float()
        # Tokens to the right of a query must be padding, whichever side the tokenizer pads.
        mask = batch["attention_mask"].to(states.device)
        order = torch.argsort(1 - mask, dim=1, stable=True)
        mask = mask.gather(1, order).to(states.dtype)
        words = states.gather(1, order.unsqueeze(2).expand_as(states)) * mask.unsqueeze(2)
        return EncodedQueries(words, mask, words.sum(dim=1) / mask.sum(dim=1, keepdim=True))
