"""2D-TAN: every clip span of a video is scored against a sentence on a two-dimensional map.

Zhang et al., "Learning 2D Temporal Adjacent Networks for Moment Localization with Natural Language",
AAAI 2020.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from bsp_hf.encoder.pretrained_model import refuse_unknown_arguments
from bsp_hf.localization.grounding.lstm import run_lstm
from bsp_hf.localization.localizer.model import LocalizerModel, check_shape

from .configuration_tan import TANConfig
from .loss import tan_loss
from .proposal_map import ConstantBuffers, MaskedMapConvolution, ProposalLayout, proposal_layout


@dataclass
class TANOutput(ModelOutput):
    """Output of [`TANForVideoGrounding`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar, if `labels` were given.
        logits (`torch.Tensor`): `(batch, num_clips, num_clips)`, row = first clip, column = last clip
            (inclusive), before the sigmoid; 0 in cells that hold no span.
        probabilities (`torch.Tensor`): Same shape, in [0, 1]; 0 in cells that hold no span.
        clip_features (`torch.Tensor`, *optional*): `(batch, num_clips, hidden_dim)`.
        query_features (`torch.Tensor`, *optional*): `(batch, hidden_dim)`.
        proposal_maps (`torch.Tensor`, *optional*): `(batch, hidden_dim, num_clips, num_clips)`.
        fused_maps (`torch.Tensor`, *optional*): Same shape, after the fusion with the query.
        context_maps (`torch.Tensor`, *optional*): Same shape, after the map convolutions; 0 in cells that
            hold no span.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None
    clip_features: torch.Tensor | None = None
    query_features: torch.Tensor | None = None
    proposal_maps: torch.Tensor | None = None
    fused_maps: torch.Tensor | None = None
    context_maps: torch.Tensor | None = None


class ClipEncoder(nn.Module):
    """Project feature rows and average them into clips."""

    def __init__(self, config: TANConfig) -> None:
        super().__init__()
        self.num_clips = config.num_clips
        self.vis_conv = nn.Linear(config.feature_dim, config.hidden_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_rows, feature_dim)` to `(batch, num_clips, hidden_dim)`."""
        rows = F.relu(self.vis_conv(features))
        return rows.unflatten(1, (self.num_clips, -1)).mean(dim=2)


class PooledProposals(ConstantBuffers):
    """Features of spans: the maximum over their clips.

    The published code chains one max-pool per span length. The maximum of any window is also the larger of
    two windows of a power-of-two length that cover it: log2 levels and two look-ups give the same numbers.
    """

    left: torch.Tensor
    right: torch.Tensor

    def __init__(self, layout: ProposalLayout) -> None:
        super().__init__()
        first, last = layout.first, layout.last
        level = np.floor(np.log2(last - first + 1)).astype(np.int64)
        self.window_sizes = (2 ** np.arange(level.max() + 1)).tolist()
        offsets = np.concatenate([[0], np.cumsum(layout.num_clips + 1 - np.array(self.window_sizes))])
        left, right = offsets[level] + first, offsets[level] + last + 1 - 2**level
        self.register_constants(left=left, right=right)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_clips, hidden_dim)` to `(batch, num_proposals, hidden_dim)`."""
        levels = [clips]
        for size in self.window_sizes[:-1]:
            levels.append(torch.maximum(levels[-1][:, :-size], levels[-1][:, size:]))
        windows = torch.cat(levels, dim=1)
        return torch.maximum(windows.index_select(1, self.left), windows.index_select(1, self.right))


class ConvolvedProposals(nn.Module):
    """Features of spans: a chain of convolutions over their clips, one step per span length."""

    def __init__(self, config: TANConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.layers = nn.ModuleList()
        for scale, num_steps in enumerate(config.scale_layers):
            entry = nn.Conv1d(dim, dim, 1) if scale == 0 else nn.Conv1d(dim, dim, 3, stride=2)
            self.layers.append(
                nn.ModuleList([entry, *(nn.Conv1d(dim, dim, 2) for _ in range(num_steps - 1))])
            )

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map `(batch, num_clips, hidden_dim)` to `(batch, num_proposals, hidden_dim)`."""
        state, spans = clips.transpose(1, 2), []
        for scale in self.layers:
            for conv in scale.children():
                state = conv(state)
                spans.append(state)
        return torch.cat(spans, dim=2).transpose(1, 2)


class QueryFusion(nn.Module):
    """Read the query and multiply it into every span."""

    def __init__(self, config: TANConfig) -> None:
        super().__init__()
        self.query_encoder = config.query_encoder
        query_dim = config.word_dim
        if self.query_encoder == "lstm":
            query_dim = config.text_hidden_dim
            self.textual_encoder = nn.LSTM(
                config.word_dim, query_dim, config.num_text_layers, batch_first=True
            )
        self.tex_linear = nn.Linear(query_dim, config.hidden_dim)
        self.vis_conv = nn.Linear(config.hidden_dim, config.hidden_dim)

    def encode_query(self, query: torch.Tensor, word_mask: torch.Tensor | None) -> torch.Tensor:
        """Return `(batch, hidden_dim)`: the projected state at the last word, or sentence vector."""
        if self.query_encoder == "lstm":
            if word_mask is None:
                word_mask = query.new_ones(query.shape[:2])
            states = run_lstm(self.textual_encoder, query)
            states = states * word_mask.unsqueeze(2).to(states.dtype)
            # Counted, not summed: bfloat16 has no whole numbers between 256 and 258.
            last_word = ((word_mask != 0).sum(dim=1) - 1).clamp(min=0)
            query = states[torch.arange(len(states), device=states.device), last_word]
        return self.tex_linear(query.to(self.tex_linear.weight.dtype))

    def forward(self, query_features: torch.Tensor, proposals: torch.Tensor) -> torch.Tensor:
        """Multiply `(batch, hidden_dim)` into `(batch, num_proposals, hidden_dim)`, rows of unit length."""
        spans = self.vis_conv(proposals)
        # In float32 at least: products and their lengths leave the range of half precision.
        wide = torch.promote_types(spans.dtype, torch.float32)
        return F.normalize(query_features.unsqueeze(1).to(wide) * spans.to(wide), dim=2).to(spans.dtype)


class TANForVideoGrounding(LocalizerModel, ConstantBuffers):
    """2D-TAN with a loss: features of a video and a sentence in, a score for every clip span out.

    Args:
        config (`TANConfig`): The localizer's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf.localization.tan.modeling_tan import TANConfig, TANForVideoGrounding
    >>> config = TANConfig(feature_dim=24, hidden_dim=32, word_dim=20, text_hidden_dim=24)
    >>> model = TANForVideoGrounding(config).eval()
    >>> output = model(features=torch.randn(1, 256, 24), word_vectors=torch.randn(1, 7, 20))
    >>> output.logits.shape
    torch.Size([1, 16, 16])

    ```
    """

    cells: torch.Tensor
    mask: torch.Tensor
    config_class = TANConfig
    input_modalities = ["video", "text"]  # noqa: RUF012 (a plain list in transformers too)

    def __init__(self, config: TANConfig) -> None:
        super().__init__(config)
        layout = proposal_layout(config.num_clips, config.scale_layers)
        self.layout = layout
        self.frame_layer = ClipEncoder(config)
        self.prop_layer = (
            PooledProposals(layout) if config.proposals == "pool" else ConvolvedProposals(config)
        )
        self.fusion_layer = QueryFusion(config)
        self.map_layer = MaskedMapConvolution(
            layout.mask, config.hidden_dim, config.map_kernel_sizes, config.map_paddings
        )
        self.pred_layer = nn.Linear(config.hidden_dim, 1)
        self.register_constants(cells=layout.cells, mask=layout.mask)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LSTM)):
            module.reset_parameters()  # torch's own start, as in the published code
        if isinstance(module, ConstantBuffers):
            module.refill_constants()

    def forward(
        self,
        features: torch.Tensor,
        word_vectors: torch.Tensor | None = None,
        word_mask: torch.Tensor | None = None,
        sentence_vectors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,  # Any: what trainers pass to every model
    ) -> TANOutput | tuple:
        """Score every clip span.

        Args:
            features (`torch.Tensor`): `(batch, num_rows, feature_dim)`, see
                [`~bsp_hf.localization.tan.samples.average_rows`].
            word_vectors (`torch.Tensor`, *optional*): `(batch, num_words, word_dim)`, zero in the padding;
                needed if `config.query_encoder` is `"lstm"`.
            word_mask (`torch.Tensor`, *optional*): `(batch, num_words)`, 1 for a word, 0 for padding behind
                it; all ones if absent.
            sentence_vectors (`torch.Tensor`, *optional*): `(batch, word_dim)`; needed if
                `config.query_encoder` is `"sentence"`.
            labels (`torch.Tensor`, *optional*): `(batch, num_clips, num_clips)`, tIoU of every cell with the
                annotation, see [`~bsp_hf.localization.tan.samples.span_ious`].
            output_hidden_states (`bool`, *optional*): Whether to return the intermediate features.
            return_dict (`bool`, *optional*): Whether to return a [`TANOutput`] rather than a tuple.
            kwargs: What trainers pass to every model is passed over; anything else is a `TypeError`.

        Returns:
            `TANOutput`: Scores, probabilities and, with `labels`, the loss.

        Raises:
            ValueError: If an input is missing or has the wrong shape.
        """
        refuse_unknown_arguments(self, kwargs)
        config = self.config
        query = self._check_inputs(features, word_vectors, word_mask, sentence_vectors, labels)
        clips = self.frame_layer(features.to(self.dtype))
        proposals = self.prop_layer(clips)
        query_features = self.fusion_layer.encode_query(query, word_mask)
        fused = self.fusion_layer(query_features, proposals)
        fused_maps = self._to_map(fused)
        context_maps = self.map_layer(fused_maps)
        # The head reads only the cells that hold a span; the others are 0 by definition.
        contexts = context_maps.flatten(2).index_select(2, self.cells).transpose(1, 2)
        span_logits = self.pred_layer(contexts)
        logits = self._to_map(span_logits).squeeze(1)
        probabilities = self._to_map(span_logits.sigmoid()).squeeze(1)
        loss = None
        if labels is not None:
            loss = tan_loss(logits, self.mask, labels, config.min_iou, config.max_iou, config.target_bias)
        states: dict[str, torch.Tensor] = {}
        if config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            states = {"clip_features": clips, "query_features": query_features}
            states |= {"proposal_maps": self._to_map(proposals), "fused_maps": fused_maps}
            states |= {"context_maps": context_maps}
        output = TANOutput(loss=loss, logits=logits, probabilities=probabilities, **states)
        return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _to_map(self, spans: torch.Tensor) -> torch.Tensor:
        batch, _, channels = spans.shape
        num_clips = self.config.num_clips
        flat = spans.new_zeros(batch, num_clips * num_clips, channels).index_copy(1, self.cells, spans)
        return flat.transpose(1, 2).reshape(batch, channels, num_clips, num_clips)

    def _check_inputs(
        self,
        features: torch.Tensor,
        word_vectors: torch.Tensor | None,
        word_mask: torch.Tensor | None,
        sentence_vectors: torch.Tensor | None,
        labels: torch.Tensor | None,
    ) -> torch.Tensor:
        config, batch = self.config, len(features)
        advice = "Average each video with average_rows(), or set feature_dim."
        check_shape("features", features, "batch", config.num_rows, config.feature_dim, advice=advice)
        if config.query_encoder == "lstm":
            query = check_shape("word_vectors", word_vectors, batch, "num_words", config.word_dim)
        else:
            query = check_shape("sentence_vectors", sentence_vectors, batch, config.word_dim)
        if word_mask is not None:
            check_shape("word_mask", word_mask, *query.shape[:2])
        if labels is not None:
            check_shape("labels", labels, batch, config.num_clips, config.num_clips)
        return query
