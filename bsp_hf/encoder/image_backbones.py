"""Image networks as backbones: frame by frame, with the temporal shift in front of residual branches."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from .backbone_family import BackboneFamily, EncodedClips, ShiftSettings
from .modeling_efficientnet_lite import EfficientNetLiteModel
from .modeling_tsm import checkpoint_block, learns, run_residual_block, shifted_blocks

# Any in this file: networks, blocks and configs of transformers, whose attributes mypy takes for tensors.


class ImageFamily(BackboneFamily):
    """A residual network of stages of blocks, each of which adds a branch to a shortcut.

    The frame feature is what the network's own classifier would see: its feature maps averaged over space,
    with the last normalisation or projection of the network where it has one.
    """

    mixes_frames = False

    def stem(self, backbone: Any) -> nn.Module:
        """Return what makes feature maps of frames, in front of the first stage."""
        return backbone.embedder

    def stages(self, backbone: Any) -> list[list[nn.Module]]:
        """Return the residual blocks of every stage, in order."""
        return [list(stage.layers) for stage in backbone.encoder.stages]

    def entrance(self, backbone: Any, number: int) -> list[nn.Module]:
        """Return the layers of a stage before its first block; none, unless the family says otherwise."""
        return []

    def has_shortcut(self, block: Any) -> bool:
        """Return whether the block has a shortcut; one without could only be shifted as a whole."""
        return True

    @abstractmethod
    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Run a block whose branch and shortcut may see different inputs."""

    def pool(self, backbone: Any, maps: Tensor) -> Tensor:
        """Pool feature maps to frame features `(batch * num_frames, hidden_size)`."""
        return maps.mean((2, 3))

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the first convolution."""
        return backbone.embedder.embedder.convolution

    def check_shift(self, backbone: Any, shift: ShiftSettings) -> None:
        """Raise a `ValueError` if the shift names blocks that the backbone does not have."""
        num_blocks = sum(map(len, self.stages(backbone)))
        if shift.blocks is not None and max(shift.blocks) >= num_blocks:
            raise ValueError(
                f"shift_blocks={list(shift.blocks)} names block {max(shift.blocks)}, but this "
                f"{backbone.config.model_type} has the blocks 0 to {num_blocks - 1}."
            )

    def first_parts(self, backbone: Any, num_blocks: int) -> list[nn.Module]:
        """Return the stem, the first blocks, and the entrances of their stages."""
        parts, found = [self.stem(backbone)], 0
        for number, blocks in enumerate(self.stages(backbone)):
            if found < num_blocks:
                parts += [*self.entrance(backbone, number), *blocks[: num_blocks - found]]
            found += len(blocks)
        if found < num_blocks:
            raise ValueError(
                f"this {backbone.config.model_type} has {found} blocks, fewer than {num_blocks}."
            )
        return parts

    def encode(
        self,
        backbone: Any,
        pixel_values: Tensor,
        shift: ShiftSettings,
        keeps_hidden_states: bool,
        checkpoint: Callable | None,
    ) -> EncodedClips:
        """Encode the frames; hidden states are the feature maps of the stem and of every stage."""
        num_frames = pixel_values.shape[1]
        kept: list[Tensor] | None = [] if keeps_hidden_states else None
        stages = self.stages(backbone)
        maps = _keep(self.stem(backbone)(pixel_values.flatten(0, 1)), num_frames, kept)
        for number, shifts in enumerate(shifted_blocks([len(blocks) for blocks in stages], shift.blocks)):
            for layer in self.entrance(backbone, number):
                maps = layer(maps)
            for block, is_shifted in zip(stages[number], shifts, strict=True):
                run = partial(
                    run_residual_block,
                    num_frames=num_frames,
                    shift_div=shift.div,
                    shift_place=shift.place if is_shifted and self.has_shortcut(block) else "none",
                    join=partial(self.join, block),
                )
                if checkpoint is None or not learns(block, maps):
                    maps = run(maps)
                else:
                    maps = checkpoint_block(checkpoint, block, run, maps)
            maps = _keep(maps, num_frames, kept)
        frame_features = self.pool(backbone, maps).unflatten(0, (-1, num_frames))
        return EncodedClips(frame_features, None if kept is None else tuple(kept))


def _keep(maps: Tensor, num_frames: int, kept: list[Tensor] | None) -> Tensor:
    """Add the maps to those that are returned, and go on from there, so that gradients reach them."""
    if kept is None:
        return maps
    kept.append(maps.unflatten(0, (-1, num_frames)))
    return kept[-1].flatten(0, 1)


class ResNetFamily(ImageFamily):
    """ResNet and RegNet, whose blocks have a `layer`, a `shortcut` and an `activation` behind their sum."""

    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Run the branch, add the shortcut, rectify."""
        return block.activation(block.layer(branch_input) + block.shortcut(shortcut_input))


class ConvNextFamily(ImageFamily):
    """ConvNeXt and ConvNeXt V2.

    Frames are shifted in front of the depthwise convolution of a block, and the feature goes through the
    network's last layer norm, as in front of its own classifier.
    """

    def stem(self, backbone: Any) -> nn.Module:
        """Return the patch embedding with its layer norm."""
        return backbone.embeddings

    def entrance(self, backbone: Any, number: int) -> list[nn.Module]:
        """Return what halves the maps, in every stage but the first."""
        return list(backbone.encoder.stages[number].downsampling_layer)

    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Run a block; channels are last between the depthwise convolution and the sum."""
        hidden_states = block.layernorm(block.dwconv(branch_input).permute(0, 2, 3, 1))
        hidden_states = block.act(block.pwconv1(hidden_states))
        if hasattr(block, "grn"):  # V2
            hidden_states = block.grn(hidden_states)
        hidden_states = block.pwconv2(hidden_states)
        scale = getattr(block, "layer_scale_parameter", None)
        if scale is not None:
            hidden_states = scale * hidden_states
        return shortcut_input + block.drop_path(hidden_states.permute(0, 3, 1, 2))

    def pool(self, backbone: Any, maps: Tensor) -> Tensor:
        """Average over space, then normalise."""
        return backbone.layernorm(maps.mean((2, 3)))

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the convolution that makes patches."""
        return backbone.embeddings.patch_embeddings


class MobileNetV2Family(ImageFamily):
    """MobileNetV2.

    Frames are shifted in front of the expansion of every inverted residual that has a shortcut, ten of
    sixteen, as in the published TSM. A stage begins with each block that has none. The feature is the average
    of the last 1x1 convolution.
    """

    def trim(self, backbone: Any) -> Any:
        """Set the momentum of batch norms to torch's default, and return the backbone."""
        # Choice: transformers passes TensorFlow's momentum of 0.997 to torch, where it means the reverse: the
        # statistics used in evaluation would be those of the last batch.
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1
        return super().trim(backbone)

    def stem(self, backbone: Any) -> nn.Module:
        """Return the stem with its first bottleneck."""
        return backbone.conv_stem

    def stages(self, backbone: Any) -> list[list[nn.Module]]:
        """Return the inverted residuals; one without a shortcut opens a stage."""
        stages: list[list[nn.Module]] = []
        for block in backbone.layer:
            if not stages or not self.has_shortcut(block):
                stages.append([])
            stages[-1].append(block)
        return stages

    def has_shortcut(self, block: Any) -> bool:
        """Return whether the block keeps size and channels."""
        return block.use_residual

    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Expand, convolve each channel, reduce."""
        hidden_states = block.reduce_1x1(block.conv_3x3(block.expand_1x1(branch_input)))
        return shortcut_input + hidden_states if block.use_residual else hidden_states

    def pool(self, backbone: Any, maps: Tensor) -> Tensor:
        """Run the last 1x1 convolution, then average over space."""
        return backbone.conv_1x1(maps).mean((2, 3))

    def hidden_size(self, config: Any) -> int:
        """Return the width of the last 1x1 convolution."""
        # Imported here, because only this family pays for it; the rule for widths is theirs.
        from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import apply_depth_multiplier

        if config.finegrained_output and config.depth_multiplier < 1:
            return 1280
        return int(apply_depth_multiplier(config, 1280))

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the first convolution."""
        return backbone.conv_stem.first_conv.convolution


class EfficientNetLiteFamily(ImageFamily):
    """EfficientNet-Lite.

    As in MobileNetV2, frames are shifted in front of the expansion of every inverted residual that has a
    shortcut, and the feature is the average of the last 1x1 convolution.
    """

    def build(self, config: Any) -> nn.Module:
        """Build the network by its class, which transformers does not know without the package."""
        return self.trim(EfficientNetLiteModel(config))

    def stem(self, backbone: Any) -> nn.Module:
        """Return the first convolution with its batch norm."""
        return backbone.stem

    def stages(self, backbone: Any) -> list[list[nn.Module]]:
        """Return the inverted residuals of every stage, in order."""
        return [list(stage.layers) for stage in backbone.stages]

    def has_shortcut(self, block: Any) -> bool:
        """Return whether the block keeps size and channels."""
        return block.has_shortcut

    def join(self, block: Any, branch_input: Tensor, shortcut_input: Tensor) -> Tensor:
        """Expand, convolve each channel, reduce, add."""
        return block(branch_input, shortcut_input)

    def pool(self, backbone: Any, maps: Tensor) -> Tensor:
        """Run the last 1x1 convolution, then average over space."""
        return backbone.head(maps).mean((2, 3))

    def hidden_size(self, config: Any) -> int:
        """Return the width of the last 1x1 convolution."""
        return int(config.feature_size)

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the first convolution."""
        return backbone.stem.convolution
