"""Configuration of the LGI localizer, with the published settings as presets."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict

from bsp_hf.localization.grounding.configuration import GroundingConfig

QUERY_INPUTS = ("word_ids", "word_vectors")
SPAN_ACTIVATIONS = ("relu", "sigmoid")


@strict
class LGIConfig(GroundingConfig):
    r"""Configuration of a [`LGIForVideoGrounding`]; the defaults are LGI on Charades-STA.

    Args:
        feature_dim (`int`, *optional*, defaults to 1024): Width of a feature row.
        num_rows (`int`, *optional*, defaults to 128): Feature rows of a video, shorter ones are padded; also
            the number of learned positions.
        hidden_dim (`int`, *optional*, defaults to 512): Width of segments, words and phrases; even, since the
            LSTM has half of it in each direction.
        query_input (`str`, *optional*, defaults to `"word_ids"`): `"word_ids"` trains an embedding,
            `"word_vectors"` reads vectors made elsewhere.
        vocab_size (`int`, *optional*, defaults to 1140): Rows of the embedding: 4 reserved ones and one per
            training word (1136 on Charades-STA).
        word_dim (`int`, *optional*, defaults to 300): Width of a word vector.
        max_words (`int`, *optional*, defaults to 10): Words kept of a query; used when queries are encoded,
            the network reads any number.
        num_text_layers (`int`, *optional*, defaults to 2): Layers of the bidirectional LSTM.
        num_phrases (`int`, *optional*, defaults to 3): Semantic phrases drawn from a query, one after the
            other.
        attention_dim (`int`, *optional*, defaults to 256): Hidden width of every additive attention.
        local_kernel_size (`int`, *optional*, defaults to 15): Kernel of the convolutions in a local block,
            odd.
        num_local_blocks (`int`, *optional*, defaults to 1): Residual blocks per phrase.
        num_nonlocal_blocks (`int`, *optional*, defaults to 2): Non-local blocks behind the aggregation of the
            phrases.
        num_heads (`int`, *optional*, defaults to 4): Heads of a non-local block.
        dropout (`float`, *optional*, defaults to 0.5): Dropout on video and position embeddings and between
            the layers of the LSTM.
        span_activation (`str`, *optional*, defaults to `"relu"`): Last non-linearity of the regressed span,
            `"relu"` or `"sigmoid"`.
        attention_loss_weight (`float`, *optional*, defaults to 1.0): Weight of the temporal attention
            guidance loss.
        distinct_loss_weight (`float`, *optional*, defaults to 1.0): Weight of the distinct query attention
            loss.
        attention_overlap (`float`, *optional*, defaults to 0.3): Squared norm that the distinct query
            attention loss asks of a phrase's word weights.
        text_encoder (`str`, *optional*): Text encoder of transformers that reads the queries: a Hub id, or
            the name of a subfolder of the localizer's folder. None for a vocabulary (`"word_ids"`) or word
            vectors.
        encoder, encoder_copy, feature_fps, feature_stride_frames (*optional*): Which features it was trained
            on, see [`LocalizerConfig`].

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a field has the wrong type or is out of range.

    Example:
    ```python
    >>> from bsp_hf.localization.lgi.modeling_lgi import LGIConfig
    >>> LGIConfig.activitynet_captions(feature_dim=2048).num_phrases
    5

    ```
    """

    model_type = "lgi"
    strips_punctuation: ClassVar[bool] = True

    feature_dim: int = 1024
    num_rows: int = 128
    hidden_dim: int = 512
    query_input: str = "word_ids"
    vocab_size: int = 1140
    max_words: int = 10
    num_text_layers: int = 2
    num_phrases: int = 3
    attention_dim: int = 256
    local_kernel_size: int = 15
    num_local_blocks: int = 1
    num_nonlocal_blocks: int = 2
    num_heads: int = 4
    dropout: float | int = 0.5
    span_activation: str = "relu"
    attention_loss_weight: float | int = 1.0
    distinct_loss_weight: float | int = 1.0
    attention_overlap: float | int = 0.3

    def validate_fields(self) -> None:
        """Check every field against its range and the fields against one another."""
        self.check_at_least(1, "feature_dim", "num_rows", "hidden_dim", "vocab_size", "word_dim", "max_words")
        self.check_at_least(1, "num_text_layers", "num_phrases", "attention_dim", "local_kernel_size")
        self.check_at_least(1, "num_heads")
        self.check_at_least(0, "num_local_blocks", "num_nonlocal_blocks")
        self.check_at_least(0, "attention_loss_weight", "distinct_loss_weight")
        self.check_choice("query_input", QUERY_INPUTS)
        self.check_choice("span_activation", SPAN_ACTIVATIONS)
        if self.hidden_dim % 2 or self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim={self.hidden_dim} must be even and a multiple of num_heads={self.num_heads}."
            )
        if not self.local_kernel_size % 2:
            raise ValueError(f"local_kernel_size={self.local_kernel_size} must be odd.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1).")

    @property
    def vocabulary_size(self) -> int | None:
        """Rows of the trained embedding, the reserved ones included; None where vectors are read."""
        return self.vocab_size if self.query_input == "word_ids" else None

    @property
    def max_query_words(self) -> int | None:
        """Largest number of words of a query."""
        return self.max_words

    @classmethod
    def charades(cls, **kwargs: Any) -> "LGIConfig":
        """Return the published Charades-STA setting (72.18 / 59.17 / 35.32, mIoU 50.93 with fine-tuned I3D).

        Usually `feature_dim` and `vocab_size` differ.
        """
        return cls(**kwargs)

    @classmethod
    def activitynet_captions(cls, **kwargs: Any) -> "LGIConfig":
        """Return the published ActivityNet Captions setting, on 500-d C3D features."""
        preset = {
            "feature_dim": 500,
            "num_phrases": 5,
            "num_nonlocal_blocks": 1,
            "num_heads": 1,
            "max_words": 25,
            "span_activation": "sigmoid",
            "attention_overlap": 0.2,
        }
        return cls(**{**preset, **kwargs})
