"""Video models of transformers as backbones, as they are: clips in, tokens out, pooled to frame features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from .backbone_family import BackboneFamily, EncodedClips, ShiftSettings

# Any in this file: models and configs of transformers, whose attributes differ from family to family.


@dataclass(frozen=True)
class ClipGrid:
    """How a video model cuts a clip into tokens; sizes are height and width in pixels."""

    num_frames: int | None  # that it takes; None for any multiple of `tubelet_frames`
    tubelet_frames: int  # that share a token
    size: tuple[int, int]
    patch_size: tuple[int, int]

    @property
    def patches_per_frame(self) -> int:
        """Tokens that cover a frame."""
        return (self.size[0] // self.patch_size[0]) * (self.size[1] // self.patch_size[1])


def _pair(size: Any) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


class VideoFamily(BackboneFamily):
    """A video model that is run as it is; it mixes frames by itself, so nothing is shifted.

    Choice: the feature of a frame is the mean of the tokens that cover it. Where several frames share a token
    (tubelets), they share the feature. The mean over the frames is then the mean over all tokens. A class
    token, where there is one, is left out: it belongs to no frame.
    """

    mixes_frames = True
    num_class_tokens: ClassVar[int] = 0
    frames_field: ClassVar[str] = "num_frames"
    options: ClassVar[dict[str, Any]] = {}

    def grid(self, config: Any) -> ClipGrid:
        """Return how the model of this config cuts clips."""
        return ClipGrid(
            num_frames=int(config.num_frames),
            tubelet_frames=int(config.tubelet_size),
            size=_pair(config.image_size),
            patch_size=_pair(config.patch_size),
        )

    def num_frames(self, config: Any) -> int:
        """Return the number of frames that the model was made for."""
        return int(getattr(config, self.frames_field))

    def check_config(self, config: Any, num_frames: int) -> None:  # optional
        """Raise a `ValueError` if the model does not take clips of that many frames."""
        grid = self.grid(config)
        if grid.num_frames is not None and num_frames != grid.num_frames:
            raise ValueError(
                f"num_frames={num_frames}, but this {config.model_type} takes clips of {grid.num_frames} "
                f"frames. Leave num_frames out, or set {self.frames_field} in backbone_config as well."
            )
        if num_frames % grid.tubelet_frames:
            raise ValueError(
                f"num_frames={num_frames} is not a multiple of the {grid.tubelet_frames} frames that share "
                f"a token of this {config.model_type}."
            )

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the convolution that cuts pixels into tokens."""
        return backbone.embeddings.patch_embeddings.projection

    def encode(
        self,
        backbone: Any,
        pixel_values: Tensor,
        shift: ShiftSettings,
        keeps_hidden_states: bool,
        checkpoint: Callable | None,
    ) -> EncodedClips:
        """Encode clips; hidden states are the model's own, `(batch, num_tokens, hidden_size)`.

        Checkpointing is the business of the model's layers, which transformers switches with ours.
        """
        grid = self.grid(backbone.config)
        num_frames, size = pixel_values.shape[1], tuple(pixel_values.shape[3:])
        takes_length = grid.num_frames in (None, num_frames) and num_frames % grid.tubelet_frames == 0
        if not takes_length or size != grid.size:
            length = grid.num_frames or f"a multiple of {grid.tubelet_frames}"
            raise ValueError(
                f"pixel_values hold clips of {num_frames} frames of {size[1]}x{size[0]} pixels, but this "
                f"{backbone.config.model_type} takes {length} frames of {grid.size[1]}x{grid.size[0]}. "
                "Set num_frames and crop_size of the feature extractor to these."
            )
        output = backbone(
            **{str(backbone.main_input_name): pixel_values},
            output_hidden_states=keeps_hidden_states,
            return_dict=True,
            **self.options,
        )
        tokens = output.last_hidden_state[:, self.num_class_tokens :]
        features = self.pool(tokens, grid).repeat_interleave(grid.tubelet_frames, dim=1)
        return EncodedClips(features, output.hidden_states if keeps_hidden_states else None)

    def pool(self, tokens: Tensor, grid: ClipGrid) -> Tensor:
        """Average tokens `(batch, num_tokens, hidden_size)` over space, frame after frame in their order."""
        return tokens.unflatten(1, (-1, grid.patches_per_frame)).mean(2)


class VideoMAEFamily(VideoFamily):
    """VideoMAE; `use_mean_pooling=False` in its config adds a layer norm behind the last layer."""


class TimesformerFamily(VideoFamily):
    """TimeSformer, whose tokens lie place after place, each with all its frames."""

    num_class_tokens = 1

    def grid(self, config: Any) -> ClipGrid:
        """Return how the model of this config cuts clips: every frame by itself."""
        return ClipGrid(int(config.num_frames), 1, _pair(config.image_size), _pair(config.patch_size))

    def check_config(self, config: Any, num_frames: int) -> None:  # optional
        """Raise a `ValueError` if the model does not take such clips, or looks at single frames only."""
        super().check_config(config, num_frames)
        if config.attention_type == "space_only":
            raise ValueError(
                "this timesformer has attention_type='space_only' and mixes no frames; take "
                "'divided_space_time' or 'joint_space_time'."
            )

    def pool(self, tokens: Tensor, grid: ClipGrid) -> Tensor:
        """Average tokens over space."""
        return tokens.unflatten(1, (grid.patches_per_frame, -1)).mean(1)


class VivitFamily(VideoFamily):
    """ViViT with joint space-time attention."""

    num_class_tokens = 1
    idle_parts = ("pooler",)

    def grid(self, config: Any) -> ClipGrid:
        """Return how the model of this config cuts clips."""
        tubelet_frames, *patch_size = config.tubelet_size
        return ClipGrid(
            int(config.num_frames), int(tubelet_frames), _pair(config.image_size), _pair(patch_size)
        )


class VJEPA2Family(VideoFamily):
    """V-JEPA 2 without its predictor; takes clips of any length."""

    idle_parts = ("predictor",)
    frames_field = "frames_per_clip"
    options: ClassVar[dict[str, Any]] = {"skip_predictor": True}

    def grid(self, config: Any) -> ClipGrid:
        """Return how the model of this config cuts clips."""
        return ClipGrid(None, int(config.tubelet_size), _pair(config.crop_size), _pair(config.patch_size))

    def num_channels(self, config: Any) -> int:
        """Return the number of colours of a frame."""
        return int(config.in_chans)

    def input_embeddings(self, backbone: Any) -> nn.Module:
        """Return the convolution that cuts pixels into tokens."""
        return backbone.encoder.embeddings.patch_embeddings.proj
