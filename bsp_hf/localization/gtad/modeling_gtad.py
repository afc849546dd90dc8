"""G-TAD: temporal action localization by sub-graphs of a video's steps."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from bsp_hf.localization.localizer.model import LocalizerModel

from .anchor_projection import anchor_map_index, project_anchors
from .configuration_gtad import STEM_GROUPS, GTADConfig
from .loss import GTADLoss, gtad_loss


def nearest_steps(x: Tensor, num_neighbors: int, queries: Tensor | None = None) -> Tensor:
    """Return the steps of `x` whose features lie nearest, in squared distance, nearest first.

    Computed in float32 at least, under autocast too: the order of near neighbours is lost in half precision.
    No gradient passes through it; among equal distances the order is that of `torch.topk`. `x` is
    `(batch, channels, num_steps)`, `queries` likewise, by default `x` itself; the result is int64
    `(batch, num_queries, num_neighbors)`, the step itself first.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        points = x if x.dtype == torch.float64 else x.float()
        origins = points if queries is None else queries.to(points.dtype)
        products = origins.transpose(1, 2) @ points
        norms = points.square().sum(1, keepdim=True)
        origin_norms = origins.square().sum(1).unsqueeze(2)
        return (2 * products - norms - origin_norms).topk(num_neighbors, dim=2).indices


def gather_steps(x: Tensor, neighbors: Tensor) -> Tensor:
    """Return the features of every step's neighbours, `(batch, channels, num_queries, num_neighbors)`."""
    index = neighbors.flatten(1)[:, None].expand(-1, x.shape[1], -1)
    return x.gather(2, index).unflatten(2, neighbors.shape[1:])


class GCNeXtBlock(nn.Module):
    """Residual block with one branch along time and one along the nearest steps in feature space.

    Parameters carry the names of the published checkpoints.
    """

    def __init__(self, num_channels: int, num_groups: int = 32, group_width: int = 4):
        super().__init__()
        width = num_groups * group_width
        self.tconvs = nn.Sequential(
            nn.Conv1d(num_channels, width, 1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, groups=num_groups),
            nn.ReLU(),
            nn.Conv1d(width, num_channels, 1),
        )
        self.sconvs = nn.Sequential(
            nn.Conv2d(2 * num_channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, groups=num_groups),
            nn.ReLU(),
            nn.Conv2d(width, num_channels, 1),
        )

    def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
        """Run the block on `x`, `(batch, num_channels, num_steps)`, with its [`nearest_steps`]."""
        # The first convolution is linear in neighbour and own features: each step is convolved once and
        # gathered afterwards, instead of once per edge.
        first = self.sconvs.get_submodule("0")
        weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
        for_neighbor, for_own = weight.flatten(1).chunk(2, dim=1)
        own = F.conv1d(x, for_own.unsqueeze(2), bias)
        edges = gather_steps(F.conv1d(x, for_neighbor.unsqueeze(2)), neighbors) + own.unsqueeze(3)
        semantic = self.sconvs[1:](edges).amax(dim=3)
        return F.relu(self.tconvs(x) + x + semantic)


@dataclass
class GTADModelOutput(ModelOutput):
    """Output of [`GTADModel`].

    Args:
        last_hidden_state (`torch.Tensor`): `(batch, num_steps, hidden_dim)`, features behind both graph
            blocks; anchors are read from them.
        base_features (`torch.Tensor`): `(batch, num_steps, hidden_dim)`, behind the first block; boundaries
            are read from them.
        neighbors (`tuple[torch.Tensor]`): Nearest steps each block used, int64
            `(batch, num_steps, num_neighbors)` each.
        hidden_states (`tuple[torch.Tensor]`, *optional*): `(batch, num_steps, hidden_dim)` each, features
            behind the first convolution and behind each of the two blocks.
    """

    last_hidden_state: Tensor | None = None
    base_features: Tensor | None = None
    neighbors: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class GTADOutput(ModelOutput):
    """Output of [`GTADForTemporalActionLocalization`].

    Args:
        loss (`torch.Tensor`, *optional*): Scalar total, present when labels were given.
        iou_map (`torch.Tensor`): `(batch, 2, max_duration, num_steps)` in [0, 1], for the anchor of every
            duration and start: its regressed tIoU, and the probability that it is an action.
        start (`torch.Tensor`): `(batch, num_steps)`, probability of a start at every step.
        end (`torch.Tensor`): `(batch, num_steps)`, of an end.
        node_loss (`torch.Tensor`, *optional*): Scalar, unweighted.
        regression_loss (`torch.Tensor`, *optional*): Scalar, unweighted.
        classification_loss (`torch.Tensor`, *optional*): Scalar, unweighted.
        hidden_states (`tuple[torch.Tensor]`, *optional*): Those of [`GTADModel`].
    """

    loss: Tensor | None = None
    iou_map: Tensor | None = None
    start: Tensor | None = None
    end: Tensor | None = None
    node_loss: Tensor | None = None
    regression_loss: Tensor | None = None
    classification_loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class GTADPreTrainedModel(LocalizerModel):
    """Base of the G-TAD models."""

    config_class = GTADConfig
    base_model_prefix = "gtad"
    _no_split_modules = ["GCNeXtBlock"]  # noqa: RUF012 - transformers asks for a list

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # The published code leaves the initialisation to torch.
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.get_parameter("bias"), -bound, bound)


class GTADModel(GTADPreTrainedModel):
    """The backbone of G-TAD: two graph blocks over the steps of a video.

    Args:
        config (`GTADConfig`): The localizer's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf.localization.gtad.modeling_gtad import GTADConfig, GTADModel
    >>> model = GTADModel(GTADConfig(feature_dim=512))
    >>> model(torch.zeros(1, 100, 512)).last_hidden_state.shape
    torch.Size([1, 100, 256])
    ```
    """

    # Heads saved with the backbone are no loss when only the backbone is loaded.
    _keys_to_ignore_on_load_unexpected = [r"^regu_[se]\.", r"^localization\."]  # noqa: RUF012 - as above

    def __init__(self, config: GTADConfig):
        super().__init__(config)
        self.backbone1 = nn.Sequential(
            nn.Conv1d(config.feature_dim, config.hidden_dim, 3, padding=1, groups=STEM_GROUPS),
            nn.ReLU(),
            _graph_block(config),
        )
        self.backbone2 = nn.Sequential(_graph_block(config))
        self.post_init()

    def forward(
        self,
        features: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> GTADModelOutput | tuple[Tensor | tuple[Tensor, ...], ...]:
        """Run the backbone.

        Args:
            features (`torch.Tensor`): `(batch, num_steps, feature_dim)`, time first, as feature tracks are.
            output_hidden_states (`bool`, *optional*): Whether to return the intermediate features.
            return_dict (`bool`, *optional*): Return a [`GTADModelOutput`] (default) or a tuple.

        Returns:
            `GTADModelOutput`: Features behind each block, and the graphs.

        Raises:
            ValueError: If `features` has another shape.
        """
        config = self.config
        if features.ndim != 3 or features.shape[1:] != (config.num_steps, config.feature_dim):
            raise ValueError(
                f"features must have the shape (batch, {config.num_steps}, {config.feature_dim}), got "
                f"{tuple(features.shape)}. Resample or window the tracks to num_steps rows; feature_dim is "
                "the width of the encoder the localizer was trained on."
            )
        stem, relu, block = self.backbone1
        hidden = relu(stem(features.transpose(1, 2).to(self.dtype)))
        neighbors = [nearest_steps(hidden, config.num_neighbors)]
        base = block(hidden, neighbors[0])
        neighbors.append(nearest_steps(base, config.num_neighbors))
        graph = self.backbone2[0](base, neighbors[1])
        wants_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = tuple(state.transpose(1, 2) for state in (hidden, base, graph))
        output = GTADModelOutput(
            last_hidden_state=states[2],
            base_features=states[1],
            neighbors=tuple(neighbors),
            hidden_states=states if wants_states else None,
        )
        return_dict = config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


class GTADForTemporalActionLocalization(GTADPreTrainedModel):
    """G-TAD with its boundary and anchor heads: feature tracks in, a map of scored segments out.

    Args:
        config (`GTADConfig`): The localizer's configuration.

    Example:
    ```python
    >>> import torch
    >>> from bsp_hf.localization.gtad.modeling_gtad import GTADConfig, GTADForTemporalActionLocalization
    >>> model = GTADForTemporalActionLocalization(GTADConfig(feature_dim=512)).eval()
    >>> model(torch.zeros(1, 100, 512)).iou_map.shape
    torch.Size([1, 2, 100, 100])
    ```
    """

    def __init__(self, config: GTADConfig):
        super().__init__(config)
        self.gtad = GTADModel(config)
        self.regu_s = nn.Sequential(_graph_block(config), nn.Conv1d(config.hidden_dim, 1, 1))
        self.regu_e = nn.Sequential(_graph_block(config), nn.Conv1d(config.hidden_dim, 1, 1))
        kernel, padding = config.map_kernel_size, config.map_kernel_size // 2
        self.localization = nn.Sequential(
            nn.Conv2d(config.hidden_dim * config.geometry.num_bins, config.aligned_dim, 1),
            nn.ReLU(),
            nn.Conv2d(config.aligned_dim, config.map_dim, 1),
            nn.ReLU(),
            nn.Conv2d(config.map_dim, config.map_dim, kernel, padding=padding),
            nn.ReLU(),
            nn.Conv2d(config.map_dim, config.map_dim, kernel, padding=padding),
            nn.ReLU(),
            nn.Conv2d(config.map_dim, 2, 1),
        )
        self.post_init()

    def forward(
        self,
        features: Tensor,
        iou_map_labels: Tensor | None = None,
        start_labels: Tensor | None = None,
        end_labels: Tensor | None = None,
        loss_noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> GTADOutput | tuple[Tensor, ...]:
        """Score every anchor and every boundary; with labels, also compute the loss.

        Args:
            features (`torch.Tensor`): `(batch, num_steps, feature_dim)`, time first, as feature tracks are.
            iou_map_labels (`torch.Tensor`, *optional*): `(batch, max_duration, num_steps)`, tIoU of every
                anchor with the best instance.
            start_labels (`torch.Tensor`, *optional*): `(batch, num_steps)`.
            end_labels (`torch.Tensor`, *optional*): `(batch, num_steps)`.
            loss_noise (`torch.Tensor`, *optional*): `(2, batch, max_duration, num_steps)`, uniform in [0, 1),
                by which the regression loss samples anchors; drawn if absent.
            generator (`torch.Generator`, *optional*): Draws the noise; torch's global one by default.
            output_hidden_states (`bool`, *optional*): Whether to return the intermediate features.
            return_dict (`bool`, *optional*): Return a [`GTADOutput`] (default) or a tuple.

        Returns:
            `GTADOutput`: Scores, and with labels the loss and its terms.

        Raises:
            ValueError: If a shape is wrong, or only some of the labels are given.
        """
        labels = [label for label in (iou_map_labels, start_labels, end_labels) if label is not None]
        if len(labels) not in (0, 3):
            raise ValueError("Give all of iou_map_labels, start_labels and end_labels, or none of them.")
        hidden = self.gtad(features, output_hidden_states, return_dict=True)
        graph, base = hidden.last_hidden_state.transpose(1, 2), hidden.base_features.transpose(1, 2)
        neighbors = hidden.neighbors
        iou_map = self._score_anchors(graph, neighbors)
        start, end = (
            _probabilities(head(block(base, neighbors[1]))).squeeze(1)
            for block, head in (self.regu_s, self.regu_e)
        )
        loss = self._loss(iou_map, start, end, labels, loss_noise, generator) if labels else None
        output = GTADOutput(
            loss=loss.total if loss else None,
            iou_map=iou_map,
            start=start,
            end=end,
            node_loss=loss.node if loss else None,
            regression_loss=loss.regression if loss else None,
            classification_loss=loss.classification if loss else None,
            hidden_states=hidden.hidden_states,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _score_anchors(self, graph: Tensor, neighbors: tuple[Tensor, ...]) -> Tensor:
        """Return `(batch, 2, max_duration, num_steps)`, computed per anchor as far as the kernels allow."""
        geometry = self.config.geometry
        parameters = [tuple(conv.parameters()) for conv in self.localization if isinstance(conv, nn.Conv2d)]
        weights, biases = [weight for weight, _ in parameters], [bias for _, bias in parameters]
        context = self._context(graph, neighbors)
        rows = project_anchors(graph, context, weights[0].flatten(1), biases[0], geometry, relu=True)
        rows = F.relu(F.linear(rows, weights[1].flatten(1), biases[1]))
        per_anchor = self.config.map_kernel_size == 1
        if per_anchor:
            for weight, bias in zip(weights[2:4], biases[2:4], strict=True):
                rows = F.relu(F.linear(rows, weight.flatten(1), bias))
            rows = F.linear(rows, weights[4].flatten(1), biases[4])
        index = anchor_map_index(geometry, str(rows.device))
        maps = rows.index_select(1, index.flatten()).unflatten(1, index.shape).permute(0, 3, 1, 2)
        return _probabilities(maps if per_anchor else self.localization[4:](maps))

    def _context(self, graph: Tensor, neighbors: tuple[Tensor, ...]) -> Tensor | None:
        """Return the mean of every step's neighbours, `(batch, hidden_dim, num_steps)`."""
        if self.config.context_style == 0:
            return None
        if self.config.context_style == 1:
            joined = nearest_steps(graph, self.config.num_neighbors)
        else:
            joined = torch.cat(neighbors, dim=2)
        return gather_steps(graph, joined).mean(dim=3)

    def _loss(
        self,
        iou_map: Tensor,
        start: Tensor,
        end: Tensor,
        labels: list[Tensor],
        noise: Tensor | None,
        generator: torch.Generator | None,
    ) -> GTADLoss:
        config = self.config
        if noise is None:
            device = iou_map.device if generator is None else generator.device
            noise = torch.rand(2, *iou_map[:, 0].shape, generator=generator, device=device)
        iou_map_labels, start_labels, end_labels, noise = (array.to(iou_map) for array in (*labels, noise))
        weights = (
            config.node_loss_weight,
            config.regression_loss_weight,
            config.classification_loss_weight,
        )
        targets = (iou_map_labels, start_labels, end_labels, noise)
        return gtad_loss(iou_map, start, end, *targets, weights, config.classification_smoothing)


def _graph_block(config: GTADConfig) -> GCNeXtBlock:
    return GCNeXtBlock(config.hidden_dim, config.num_groups, config.group_width)


def _probabilities(logits: Tensor) -> Tensor:
    """Apply the sigmoid in float32 at least: close to 1, half precision is too coarse for the loss."""
    return torch.sigmoid(logits if logits.dtype == torch.float64 else logits.float())
