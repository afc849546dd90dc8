"""LGI: the span of a sentence is regressed from local and global interactions of video and phrases.

Mun et al., "Local-Global Video-Text Interactions for Temporal Grounding", CVPR 2020.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import initialization as init
from transformers.utils import ModelOutput

from bsp_hf.encoder.pretrained_model import refuse_unknown_arguments
from bsp_hf.localization.grounding.lstm import run_lstm
from bsp_hf.localization.localizer.model import LocalizerModel, check_shape

from .configuration_lgi import LGIConfig
from .loss import attention_guidance_loss, distinct_attention_loss, span_loss

# What padding is set to in front of a softmax in the published code; finite, so that a row without anything
# valid gives a uniform distribution rather than NaN.
MASKED_LOGIT = -1e9


def masked_softmax(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the softmax over the last axis; the weight is 0 where `mask`, broadcast to `logits`, is 0."""
    if mask is not None:
        lowest = max(MASKED_LOGIT, torch.finfo(logits.dtype).min)
        logits = logits.masked_fill(mask == 0, lowest)
    return logits.softmax(dim=-1)


class CopiedModules(nn.ModuleList):
    """Modules of equal shape that start from equal weights and then train apart, as LGI's deep copies do."""

    def start_equal(self) -> None:
        """Copy the first module's parameters into the others; what a checkpoint filled stays."""
        for other in self[1:]:
            for target, source in zip(other.parameters(), self[0].parameters(), strict=True):
                init.copy_(target, source)


class HadamardFusion(nn.Module):
    """Fusion of segments with a phrase by an elementwise product of two projections."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(dim, dim)
        self.fc_2 = nn.Linear(dim, dim)
        self.fc_3 = nn.Linear(dim, dim)

    def forward(self, segments: torch.Tensor, phrase: torch.Tensor) -> torch.Tensor:
        """Fuse `(batch, num_rows, dim)` segments with a `(batch, dim)` phrase; the segments' shape stays."""
        product = F.relu(self.fc_1(segments)) * F.relu(self.fc_2(phrase)).unsqueeze(1)
        return F.relu(self.fc_3(product))


class LocalBlocks(nn.Module):
    """Residual convolution blocks along time, with batch norm and, as published, without masking."""

    def __init__(self, dim: int, kernel_size: int, num_blocks: int) -> None:
        super().__init__()

        def build_convolution() -> nn.Conv1d:
            return nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, bias=False)

        self.blocks = nn.ModuleList(
            nn.Sequential(
                build_convolution(), nn.BatchNorm1d(dim), nn.ReLU(), build_convolution(), nn.BatchNorm1d(dim)
            )
            for _ in range(num_blocks)
        )

    def forward(self, segments: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_rows, dim)` to the same shape."""
        channels = segments.transpose(1, 2)
        for block in self.blocks:
            channels = F.relu(block(channels) + channels)
        return channels.transpose(1, 2)


class AttentivePooling(nn.Module):
    """Pool vectors with one learned attention, perhaps with a linear layer behind it."""

    def __init__(self, dim: int, attention_dim: int, output_dim: int | None = None) -> None:
        super().__init__()
        self.feat2att = nn.Linear(dim, attention_dim, bias=False)
        self.to_alpha = nn.Linear(attention_dim, 1, bias=False)
        if output_dim is not None:
            self.fc = nn.Linear(dim, output_dim)

    def forward(
        self, vectors: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map `(batch, length, dim)` to `(batch, output_dim or dim)` and the weights `(batch, length)`."""
        logits = self.to_alpha(torch.tanh(self.feat2att(vectors))).squeeze(2)
        weights = masked_softmax(logits, mask)
        pooled = torch.einsum("bl,bld->bd", weights, vectors)
        return (self.fc(pooled) if hasattr(self, "fc") else pooled), weights


class WordAttention(nn.Module):
    """Weights of words, by a guide vector."""

    def __init__(self, dim: int, attention_dim: int) -> None:
        super().__init__()
        self.key2att = nn.Linear(dim, attention_dim)
        self.feat2att = nn.Linear(dim, attention_dim)
        self.to_alpha = nn.Linear(attention_dim, 1)

    def forward(self, guide: torch.Tensor, word_keys: torch.Tensor, word_mask: torch.Tensor) -> torch.Tensor:
        """Return the weights `(batch, num_words)` of words whose keys are `feat2att(words)`."""
        logits = self.to_alpha(torch.tanh(self.key2att(guide).unsqueeze(1) + word_keys)).squeeze(2)
        return masked_softmax(logits, word_mask)


class NonLocalBlock(nn.Module):
    """Attention of every segment to every other one; residual, without output projection or normalisation.

    `v_lin` acts as the query side and `c_lin` holds keys and values, whatever their names say. Each head has
    a contiguous slice of channels.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.c_lin = nn.Linear(dim, 2 * dim)
        self.v_lin = nn.Linear(dim, dim)

    def forward(self, segments: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the updated segments and the attention `(batch, num_heads, num_rows, num_rows)`."""
        keys, values = (self._split_heads(part) for part in self.c_lin(segments).chunk(2, dim=2))
        queries = self._split_heads(self.v_lin(segments))
        logits = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])
        attention = masked_softmax(logits, mask[:, None, None, :])
        return segments + (attention @ values).transpose(1, 2).flatten(2), attention

    def _split_heads(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


@dataclass
class LGIOutput(ModelOutput):
    """Output of [`LGIForVideoGrounding`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar, if labels were given: the weighted sum of the next three.
        regression_loss (`torch.Tensor`, *optional*): Scalar, smooth-L1 of start plus end.
        attention_loss (`torch.Tensor`, *optional*): Scalar, temporal attention guidance.
        distinct_loss (`torch.Tensor`, *optional*): Scalar, distinct query attention.
        spans (`torch.Tensor`): `(batch, 2)`, start and end as fractions of the video, neither ordered nor,
            with the `"relu"` activation, bounded above.
        temporal_attention (`torch.Tensor`): `(batch, num_rows)`, weights that sum to 1.
        query_attention (`torch.Tensor`): `(batch, num_phrases, num_words)`, weights that sum to 1.
        phrase_weights (`torch.Tensor`): `(batch, num_phrases)`, weights that sum to 1.
        hidden_states (`tuple`, *optional*): Word features `(batch, num_words, hidden_dim)`, sentence feature
            `(batch, hidden_dim)`, phrase features `(batch, num_phrases, hidden_dim)`, segments, local
            interaction of the first phrase, semantic segments (all `(batch, num_rows, hidden_dim)`) and the
            pooled segment `(batch, hidden_dim)`.
    """

    loss: torch.Tensor | None = None
    regression_loss: torch.Tensor | None = None
    attention_loss: torch.Tensor | None = None
    distinct_loss: torch.Tensor | None = None
    spans: torch.Tensor | None = None
    temporal_attention: torch.Tensor | None = None
    query_attention: torch.Tensor | None = None
    phrase_weights: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


class SegmentEncoder(nn.Module):
    """Embed feature rows and add learned positions."""

    def __init__(self, config: LGIConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.vid_emb_fn = nn.Sequential(
            nn.Linear(config.feature_dim, dim), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.pos_emb_fn = nn.Sequential(
            nn.Embedding(config.num_rows, dim), nn.ReLU(), nn.Dropout(config.dropout)
        )

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_rows, feature_dim)` to `(batch, num_rows, hidden_dim)`; zero in the padding."""
        rows = torch.arange(features.shape[1], device=features.device).expand(len(features), -1)
        return (self.vid_emb_fn(features) + self.pos_emb_fn(rows)) * mask.unsqueeze(2).to(features.dtype)


class QueryEncoder(nn.Module):
    """Read a query with a bidirectional LSTM over packed sequences."""

    def __init__(self, config: LGIConfig) -> None:
        super().__init__()
        if config.query_input == "word_ids":
            self.embedding = nn.Embedding(config.vocab_size, config.word_dim)
        self.rnn = nn.LSTM(
            config.word_dim,
            config.hidden_dim // 2,
            config.num_text_layers,
            batch_first=True,
            dropout=config.dropout if config.num_text_layers > 1 else 0.0,
            bidirectional=True,
        )

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return word features `(batch, num_words, hidden_dim)`, zero past the end, and sentence features.

        These are `(batch, hidden_dim)`: the forward state at the last word, the backward state at the first.
        """
        packed = pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states = run_lstm(self.rnn, packed)
        words, _ = pad_packed_sequence(states, batch_first=True, total_length=vectors.shape[1])
        forward, backward = words.chunk(2, dim=2)
        last = forward[torch.arange(len(words), device=words.device), lengths - 1]
        return words, torch.cat([last, backward[:, 0]], dim=1)


class PhraseAttention(nn.Module):
    """Phrases of a query, drawn one after the other, each guided by the one before (SQAN)."""

    def __init__(self, config: LGIConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.global_emb_fn = CopiedModules(nn.Linear(dim, dim) for _ in range(config.num_phrases))
        self.guide_emb_fn = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.att_fn = WordAttention(dim, config.attention_dim)

    def forward(
        self, words: torch.Tensor, sentence: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return phrases `(batch, num_phrases, hidden_dim)` and their weights over the words."""
        word_keys = self.att_fn.feat2att(words)
        phrase, phrases, attentions = torch.zeros_like(sentence), [], []
        for global_emb in self.global_emb_fn:
            guide = self.guide_emb_fn(torch.cat([global_emb(sentence), phrase], dim=1))
            weights = self.att_fn(guide, word_keys, mask)
            phrase = torch.einsum("bl,bld->bd", weights, words)
            phrases.append(phrase)
            attentions.append(weights)
        return torch.stack(phrases, dim=1), torch.stack(attentions, dim=1)


class VideoTextInteraction(nn.Module):
    """Local fusion of every phrase with the segments, then their sum and attention among the segments."""

    def __init__(self, config: LGIConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        phrases, blocks = range(config.num_phrases), range(config.num_nonlocal_blocks)
        self.fusion_fn = CopiedModules(HadamardFusion(dim) for _ in phrases)
        self.local_fn = CopiedModules(
            LocalBlocks(dim, config.local_kernel_size, config.num_local_blocks) for _ in phrases
        )
        self.satt_fn = AttentivePooling(dim, config.attention_dim)
        self.global_fn = CopiedModules(NonLocalBlock(dim, config.num_heads) for _ in blocks)

    def forward(
        self, segments: torch.Tensor, phrases: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return semantic segments, the weights of the phrases and the first phrase's local interaction."""
        weights = self.satt_fn(phrases)[1]
        joined, first_local = torch.zeros_like(segments), segments
        for index, (fuse, interact) in enumerate(zip(self.fusion_fn, self.local_fn, strict=True)):
            local = interact(fuse(segments, phrases[:, index]))
            joined = joined + weights[:, index, None, None] * local
            first_local = local if index == 0 else first_local
        for block in self.global_fn:
            joined, _ = block(joined, mask)
        return joined, weights, first_local


class SpanRegression(nn.Module):
    """Pool the segments with a temporal attention and regress start and end."""

    def __init__(self, config: LGIConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.tatt = AttentivePooling(dim, config.attention_dim, dim)
        activation = nn.ReLU() if config.span_activation == "relu" else nn.Sigmoid()
        self.MLP_reg = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 2), activation)

    def forward(
        self, segments: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return spans `(batch, 2)`, the temporal attention and the pooled segment."""
        pooled, attention = self.tatt(segments, mask)
        return self.MLP_reg(pooled), attention, pooled


class LGIForVideoGrounding(LocalizerModel):
    """LGI with its three losses: features of a video and a sentence in, one span out.

    Args:
        config (`LGIConfig`): The localizer's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf.localization.lgi.modeling_lgi import LGIConfig, LGIForVideoGrounding
    >>> config = LGIConfig(feature_dim=24, hidden_dim=32, attention_dim=8, vocab_size=60, word_dim=20)
    >>> model = LGIForVideoGrounding(config).eval()
    >>> output = model(features=torch.randn(1, 90, 24), word_ids=torch.tensor([[5, 9, 33, 0]]))
    >>> output.spans.shape
    torch.Size([1, 2])

    ```
    """

    config_class = LGIConfig
    input_modalities = ["video", "text"]  # noqa: RUF012 (a plain list in transformers too)

    def __init__(self, config: LGIConfig) -> None:
        super().__init__(config)
        self.video_enc = SegmentEncoder(config)
        self.query_enc = QueryEncoder(config)
        self.sqan = PhraseAttention(config)
        self.vti_fn = VideoTextInteraction(config)
        self.ta_reg_fn = SpanRegression(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of the words; a network that reads vectors has none."""
        has_own = self.config.vocabulary_size is not None
        return self.query_enc.embedding if has_own else super().get_input_embeddings()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.LSTM, nn.Embedding)):
            module.reset_parameters()  # torch's own start, as in the published code
        else:
            super()._init_weights(module)

    def initialize_weights(self) -> None:
        """Initialise what no checkpoint filled; modules that are repeated per phrase or block start equal."""
        # Not in _init_weights: transformers does not call that for a container without own parameters.
        super().initialize_weights()
        for module in self.modules():
            if isinstance(module, CopiedModules):
                module.start_equal()

    def forward(
        self,
        features: torch.Tensor,
        feature_mask: torch.Tensor | None = None,
        word_ids: torch.Tensor | None = None,
        word_vectors: torch.Tensor | None = None,
        word_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        attention_labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,  # Any: what trainers pass to every model
    ) -> LGIOutput | tuple:
        """Regress the span of each query.

        Args:
            features (`torch.Tensor`): `(batch, rows, feature_dim)` with at most `config.num_rows` rows; fewer
                are padded with zeros.
            feature_mask (`torch.Tensor`, *optional*): `(batch, rows)`, 1 for a real row; all ones if absent.
            word_ids (`torch.Tensor`, *optional*): int64 `(batch, num_words)`, 0 in the padding; needed if
                `config.query_input` is `"word_ids"`.
            word_vectors (`torch.Tensor`, *optional*): `(batch, num_words, word_dim)`; needed if
                `config.query_input` is `"word_vectors"`.
            word_mask (`torch.Tensor`, *optional*): `(batch, num_words)`, 1 for a word, 0 for padding behind
                it; `word_ids > 0` or all ones if absent.
            labels (`torch.Tensor`, *optional*): `(batch, 2)`, start and end as fractions of the video.
            attention_labels (`torch.Tensor`, *optional*): `(batch, rows)`, 1 for rows inside the span; needed
                with `labels` unless `config.attention_loss_weight` is 0.
            output_hidden_states (`bool`, *optional*): Whether to return the intermediate features.
            return_dict (`bool`, *optional*): Whether to return a [`LGIOutput`] rather than a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `LGIOutput`: Spans, attentions and, with `labels`, the losses.

        Raises:
            ValueError: If an input is missing, has the wrong shape or a query holds no word.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        features, feature_mask = self._pad_rows(features, feature_mask)
        vectors, word_mask = self._embed_words(word_ids, word_vectors, word_mask, len(features))
        lengths = (word_mask != 0).sum(dim=1)
        if (lengths == 0).any():
            empty = torch.nonzero(lengths == 0).flatten().tolist()
            raise ValueError(f"queries {empty} of the batch hold no word. Drop them before they are batched.")
        segments = self.video_enc(features, feature_mask)
        words, sentence = self.query_enc(vectors, lengths)
        phrases, query_attention = self.sqan(words, sentence, word_mask)
        semantic, phrase_weights, local = self.vti_fn(segments, phrases, feature_mask)
        spans, attention, pooled = self.ta_reg_fn(semantic, feature_mask)
        losses: dict[str, torch.Tensor] = {}
        if labels is not None:
            losses = self._losses(spans, attention, query_attention, labels, attention_labels)
        wants_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = LGIOutput(
            **losses,
            spans=spans,
            temporal_attention=attention,
            query_attention=query_attention,
            phrase_weights=phrase_weights,
            hidden_states=(words, sentence, phrases, segments, local, semantic, pooled)
            if wants_states
            else None,
        )
        return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _pad_rows(
        self, features: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        num_rows = self.config.num_rows
        advice = f"There are at most num_rows={num_rows}; prepare each video with make_lgi_sample()."
        check_shape("features", features, "batch", "rows", self.config.feature_dim, advice=advice)
        if features.shape[1] > num_rows:
            raise ValueError(f"features has {features.shape[1]} rows. {advice}")
        mask = features.new_ones(features.shape[:2]) if mask is None else mask
        check_shape("feature_mask", mask, *features.shape[:2])
        missing = num_rows - features.shape[1]
        return F.pad(features.to(self.dtype), (0, 0, 0, missing)), F.pad(mask, (0, missing))

    def _embed_words(
        self,
        word_ids: torch.Tensor | None,
        word_vectors: torch.Tensor | None,
        word_mask: torch.Tensor | None,
        batch: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        by_id = self.config.query_input == "word_ids"
        if by_id:
            words = check_shape("word_ids", word_ids, batch, "num_words")
        else:
            words = check_shape("word_vectors", word_vectors, batch, "num_words", self.config.word_dim)
        if word_mask is None:
            word_mask = (words > 0) if by_id else words.new_ones(words.shape[:2])
        check_shape("word_mask", word_mask, *words.shape[:2])
        return (self.query_enc.embedding(words) if by_id else words), word_mask

    def _losses(
        self,
        spans: torch.Tensor,
        attention: torch.Tensor,
        query_attention: torch.Tensor,
        labels: torch.Tensor,
        attention_labels: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        config = self.config
        losses = {
            "regression_loss": span_loss(spans, labels),
            "distinct_loss": distinct_attention_loss(query_attention, config.attention_overlap),
        }
        total = losses["regression_loss"] + config.distinct_loss_weight * losses["distinct_loss"]
        if config.attention_loss_weight:
            advice = f"Make them with attention_target(), for at most num_rows={config.num_rows}."
            target = check_shape("attention_labels", attention_labels, len(spans), "rows", advice=advice)
            missing = config.num_rows - target.shape[1]
            if missing < 0:
                raise ValueError(f"attention_labels has the shape {tuple(target.shape)}. {advice}")
            target = F.pad(target, (0, missing))
            losses["attention_loss"] = attention_guidance_loss(attention, target)
            total = total + config.attention_loss_weight * losses["attention_loss"]
        return {"loss": total, **losses}
