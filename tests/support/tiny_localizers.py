"""A tiny encoder, tiny localizers that read its features, and videos whose brightness is known."""

from pathlib import Path

import av
import numpy as np
import torch
from transformers import PreTrainedModel, ResNetConfig

from bsp_hf import (
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPForTwoHeadClassification,
    BSPModel,
    FeatureTrack,
)
from bsp_hf.features import EncoderRecord
from bsp_hf.localization.actionness.configuration_actionness import ActionnessConfig
from bsp_hf.localization.actionness.modeling_actionness import ActionnessModel
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.grounding.word_vectors import WordVectors
from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

DIM = 16
FPS = 25
WORDS = ("a", "door", "opens", "person", "the")
SENTENCE = "the person opens a door"
TASKS = {
    "gtad": "temporal-action-localization",
    "tan": "video-grounding",
    "lgi": "video-grounding",
    "actionness": "step-localization",
}


def tiny_encoder(model_class: type[PreTrainedModel] = BSPModel, seed: int = 0, **fields) -> PreTrainedModel:
    """Sixteen features a snippet of four frames, with weights that matter."""
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, DIM],
        depths=[1, 1],
        layer_type="basic",
        downsample_in_first_stage=True,
    )
    torch.manual_seed(seed)
    model = model_class(model_class.config_class(backbone_config=backbone, num_frames=4, **fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def tiny_two_head_encoder(action_names: list[str]) -> BSPForTwoHeadClassification:
    """The same trunk with a boundary head and an action head that tells its classes apart."""
    model = tiny_encoder(BSPForTwoHeadClassification, action_names=action_names)
    with torch.no_grad():
        model.action_classifier.weight.mul_(20)
    return model


def tiny_extractor() -> BSPFeatureExtractor:
    """Snippets of four frames of 32 x 32 pixels, two frames apart."""
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return BSPFeatureExtractor(num_frames=4, stride_frames=2, **size)


def tiny_localizer(kind: str, seed: int = 0, **fields) -> PreTrainedModel:
    """An untrained localizer that reads the tiny encoder's features."""
    torch.manual_seed(seed)
    if kind == "gtad":
        sizes = {"num_steps": 12, "max_duration": 8, "hidden_dim": 8, "aligned_dim": 16, "map_dim": 8}
        bins = {"num_groups": 2, "num_inner_bins": 4, "num_context_bins": 2}
        return GTADForTemporalActionLocalization(
            GTADConfig(**{"feature_dim": DIM, **sizes, **bins, **fields})
        ).eval()
    if kind == "tan":
        sizes = {"num_rows": 16, "num_clips": 8, "hidden_dim": 8, "scale_layers": (8,), "text_hidden_dim": 8}
        maps = {"word_dim": 6, "map_kernel_sizes": (3,), "map_paddings": (1,), "num_text_layers": 1}
        return TANForVideoGrounding(TANConfig(**{"feature_dim": DIM, **sizes, **maps, **fields})).eval()
    if kind == "lgi":
        sizes = {
            "num_rows": 16,
            "hidden_dim": 8,
            "vocab_size": 4 + len(WORDS),
            "word_dim": 6,
            "num_phrases": 2,
        }
        layers = {"attention_dim": 4, "local_kernel_size": 3, "num_heads": 2, "span_activation": "sigmoid"}
        return LGIForVideoGrounding(LGIConfig(**{"feature_dim": DIM, **sizes, **layers, **fields})).eval()
    model = ActionnessModel(ActionnessConfig(**{"feature_dim": DIM, **fields}))
    with torch.no_grad():
        model.classifier.weight.normal_()
    return model.eval()


def companions_of(kind: str) -> dict:
    """What reads the queries of a localizer, as `save_localizer_folder` takes it."""
    if kind == "lgi":
        return {"vocabulary": QueryVocabulary(WORDS)}
    if kind == "tan":
        vectors = np.random.default_rng(0).normal(size=(len(WORDS), 6))
        return {"word_vectors": WordVectors(WORDS, vectors.astype(np.float32))}
    return {}


def tiny_track(
    num_rows: int = 20, encoder: EncoderRecord | str = "other", dim: int = DIM, **grid
) -> FeatureTrack:
    """Random features of a video, two frames apart."""
    rows = np.random.default_rng(num_rows).normal(size=(num_rows, dim))
    grid = {"fps": float(FPS), "snippet_frames": 4, "stride_frames": 2, **grid}
    return FeatureTrack.from_rows(rows, video_id="made", encoder=encoder, **grid)


def render_levels(path: Path, levels: list[int], seconds_each: float = 1.0) -> Path:
    """Write a video whose brightness steps through levels, with a little texture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        ramp = np.arange(48, dtype=np.uint8)[None, :, None] % 16
        for level in np.repeat(levels, round(seconds_each * FPS)):
            picture = np.broadcast_to(ramp + np.uint8(level), (40, 48, 3)).copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def boundary_classifier(seed: int = 0) -> BSPForBoundaryClassification:
    """An untrained boundary classifier whose answers are spread out."""
    model = tiny_encoder(BSPForBoundaryClassification, seed)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    return model
