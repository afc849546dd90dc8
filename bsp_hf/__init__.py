"""Boundary-sensitive pre-training (BSP) for temporal localization in videos.

Importing the package registers its models, preprocessing and pipelines with transformers.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "BSPConfig": "encoder.configuration_bsp",
    "BoundaryType": "encoder.configuration_bsp",
    "BSPModel": "encoder.modeling_bsp",
    "BSPForBoundaryClassification": "encoder.modeling_bsp",
    "BSPForBoundaryRegression": "encoder.modeling_bsp",
    "BSPDistilledConfig": "encoder.configuration_fusion",
    "BSPTwoHeadConfig": "encoder.configuration_fusion",
    "BSPTwoStreamConfig": "encoder.configuration_fusion",
    "BSPDistilledModel": "encoder.modeling_distilled",
    "BSPForFeatureDistillation": "encoder.modeling_distilled",
    "BSPTwoHeadModel": "encoder.modeling_two_head",
    "BSPForTwoHeadClassification": "encoder.modeling_two_head",
    "BSPTwoStreamModel": "encoder.modeling_two_stream",
    "BSPFeatureExtractor": "encoder.feature_extraction_bsp",
    "VideoFeatureExtractionPipeline": "encoder.pipeline_video_features",
    "VideoDecodeError": "encoder.video",
    "PartialVideoWarning": "encoder.video",
    "VideoReader": "encoder.video",
    "SynthesisConfig": "pretraining.synthesis",
    "PretextClips": "pretraining.clips",
    "load_boundary_clips": "pretraining.boundary_clips",
    "boundary_response": "localization.boundary_response",
    "pick_boundaries": "localization.boundary_response",
    "GTADConfig": "localization.gtad_config",
    "GTADForTemporalActionLocalization": "localization.gtad",
    "TANConfig": "localization.tan_config",
    "TANForVideoGrounding": "localization.tan",
    "LGIConfig": "localization.lgi_config",
    "LGIForVideoGrounding": "localization.lgi",
    "ActionnessConfig": "localization.actionness",
    "ActionnessModel": "localization.actionness",
    "TemporalActionLocalizationPipeline": "localization.pipeline_temporal_actions",
    "VideoGroundingPipeline": "localization.pipeline_video_grounding",
    "StepLocalizationPipeline": "localization.pipeline_step_localization",
    "VideoBoundaryDetectionPipeline": "localization.pipeline_video_boundaries",
    "LocalizedSegments": "localization.localized_segments",
    "save_localizer_folder": "localization.localizer_folder",
    "FeatureTrack": "features.track",
    "ExtractionEngine": "features.engine",
    "ExtractionReport": "features.extraction_report",
    "extract_features": "features.extraction",
    "save_checkpoint_folder": "publishing.folder",
    "publish_folder": "publishing.hub",
    "render_card": "publishing.cards",
    "convert_checkpoint": "publishing.conversion",
    "convert_localizer_checkpoint": "publishing.localizer_conversion",
    "export_checkpoint": "publishing.conversion",
}

# Written out, because type checkers read it.
__all__ = [
    "ActionnessConfig",
    "ActionnessModel",
    "BSPConfig",
    "BSPDistilledConfig",
    "BSPDistilledModel",
    "BSPFeatureExtractor",
    "BSPForBoundaryClassification",
    "BSPForBoundaryRegression",
    "BSPForFeatureDistillation",
    "BSPForTwoHeadClassification",
    "BSPModel",
    "BSPTwoHeadConfig",
    "BSPTwoHeadModel",
    "BSPTwoStreamConfig",
    "BSPTwoStreamModel",
    "BoundaryType",
    "ExtractionEngine",
    "ExtractionReport",
    "FeatureTrack",
    "GTADConfig",
    "GTADForTemporalActionLocalization",
    "LGIConfig",
    "LGIForVideoGrounding",
    "LocalizedSegments",
    "PartialVideoWarning",
    "PretextClips",
    "StepLocalizationPipeline",
    "SynthesisConfig",
    "TANConfig",
    "TANForVideoGrounding",
    "TemporalActionLocalizationPipeline",
    "VideoBoundaryDetectionPipeline",
    "VideoDecodeError",
    "VideoFeatureExtractionPipeline",
    "VideoGroundingPipeline",
    "VideoReader",
    "__version__",
    "boundary_response",
    "convert_checkpoint",
    "convert_localizer_checkpoint",
    "export_checkpoint",
    "extract_features",
    "load_boundary_clips",
    "pick_boundaries",
    "publish_folder",
    "render_card",
    "save_checkpoint_folder",
    "save_localizer_folder",
]

if TYPE_CHECKING:
    from .encoder.configuration_bsp import BoundaryType, BSPConfig
    from .encoder.configuration_fusion import BSPDistilledConfig, BSPTwoHeadConfig, BSPTwoStreamConfig
    from .encoder.feature_extraction_bsp import BSPFeatureExtractor
    from .encoder.modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
    from .encoder.modeling_distilled import BSPDistilledModel, BSPForFeatureDistillation
    from .encoder.modeling_two_head import BSPForTwoHeadClassification, BSPTwoHeadModel
    from .encoder.modeling_two_stream import BSPTwoStreamModel
    from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline
    from .encoder.video import PartialVideoWarning, VideoDecodeError, VideoReader
    from .features.engine import ExtractionEngine
    from .features.extraction import extract_features
    from .features.extraction_report import ExtractionReport
    from .features.track import FeatureTrack
    from .localization.actionness import ActionnessConfig, ActionnessModel
    from .localization.boundary_response import boundary_response, pick_boundaries
    from .localization.gtad import GTADForTemporalActionLocalization
    from .localization.gtad_config import GTADConfig
    from .localization.lgi import LGIForVideoGrounding
    from .localization.lgi_config import LGIConfig
    from .localization.localized_segments import LocalizedSegments
    from .localization.localizer_folder import save_localizer_folder
    from .localization.pipeline_step_localization import StepLocalizationPipeline
    from .localization.pipeline_temporal_actions import TemporalActionLocalizationPipeline
    from .localization.pipeline_video_boundaries import VideoBoundaryDetectionPipeline
    from .localization.pipeline_video_grounding import VideoGroundingPipeline
    from .localization.tan import TANForVideoGrounding
    from .localization.tan_config import TANConfig
    from .pretraining.boundary_clips import load_boundary_clips
    from .pretraining.clips import PretextClips
    from .pretraining.synthesis import SynthesisConfig
    from .publishing.cards import render_card
    from .publishing.conversion import convert_checkpoint, export_checkpoint
    from .publishing.folder import save_checkpoint_folder
    from .publishing.hub import publish_folder
    from .publishing.localizer_conversion import convert_localizer_checkpoint


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _is_command_line() -> bool:
    """Whether the running program is the installed command `bsp-hf`, and not one that imports the package."""
    if sys.argv[:1] == ["-m"]:  # what it is while `python -m` looks for the module
        return "bsp_hf.cli" in sys.orig_argv
    return bool(sys.argv) and Path(sys.argv[0]).stem in ("bsp-hf", "bsp-hf-script")


# The command imports nothing slow before it knows what is asked; then it registers by itself.
if not _is_command_line():
    import_module(".registration", __name__).register()
