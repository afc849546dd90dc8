"""Boundary-sensitive pre-training (BSP) for temporal localization in videos.

Importing the package registers its models, preprocessing and pipelines with transformers.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from .lazy import lazy_names
from .version import __version__

_HOMES = {
    "BSPConfig": "encoder.configuration_bsp",
    "BoundaryType": "encoder.configuration_bsp",
    "BSPModel": "encoder.modeling_bsp",
    "BSPForBoundaryClassification": "encoder.modeling_bsp",
    "BSPForBoundaryRegression": "encoder.modeling_bsp",
    "BSPDistilledConfig": "encoder.configuration_fusion",
    "BSPTwoHeadConfig": "encoder.configuration_fusion",
    "BSPTwoStreamConfig": "encoder.configuration_fusion",
    "BSPDistilledModel": "encoder.modeling_fusion",
    "BSPForFeatureDistillation": "encoder.modeling_fusion",
    "BSPTwoHeadModel": "encoder.modeling_fusion",
    "BSPForTwoHeadClassification": "encoder.modeling_fusion",
    "BSPTwoStreamModel": "encoder.modeling_fusion",
    "EfficientNetLiteConfig": "encoder.configuration_efficientnet_lite",
    "EfficientNetLiteModel": "encoder.modeling_efficientnet_lite",
    "BSPFeatureExtractor": "encoder.feature_extraction_bsp",
    "VideoFeatureExtractionPipeline": "encoder.pipeline_video_features",
    "VideoDecodeError": "encoder.video_source",
    "PartialVideoWarning": "encoder.video_source",
    "VideoReader": "encoder.video",
    "SynthesisConfig": "pretraining.synthesis",
    "PretextClips": "pretraining.clips",
    "load_boundary_clips": "pretraining.boundary_clips",
    "boundary_response": "localization.boundaries.response",
    "pick_boundaries": "localization.boundaries.response",
    "GTADConfig": "localization.gtad.configuration_gtad",
    "GTADForTemporalActionLocalization": "localization.gtad.modeling_gtad",
    "TANConfig": "localization.tan.configuration_tan",
    "TANForVideoGrounding": "localization.tan.modeling_tan",
    "LGIConfig": "localization.lgi.configuration_lgi",
    "LGIForVideoGrounding": "localization.lgi.modeling_lgi",
    "ActionnessConfig": "localization.actionness.configuration_actionness",
    "ActionnessModel": "localization.actionness.modeling_actionness",
    "TemporalActionLocalizationPipeline": "localization.gtad.pipeline",
    "VideoGroundingPipeline": "localization.video_grounding",
    "StepLocalizationPipeline": "localization.actionness.pipeline",
    "VideoBoundaryDetectionPipeline": "localization.boundaries.pipeline",
    "LocalizedSegments": "localization.localizer.segments",
    "save_localizer_folder": "localization.localizer.folder",
    "FeatureTrack": "features.track",
    "ExtractionEngine": "features.engine.engine",
    "ExtractionReport": "features.extraction.report",
    "extract_features": "features.extraction.job",
    "save_checkpoint_folder": "publishing.folder",
    "publish_folder": "publishing.hub",
    "render_card": "publishing.cards.render",
    "convert_checkpoint": "publishing.conversion.encoders",
    "convert_localizer_checkpoint": "publishing.conversion.localizers",
    "export_checkpoint": "publishing.conversion.export",
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
    "EfficientNetLiteConfig",
    "EfficientNetLiteModel",
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
    from .encoder.configuration_efficientnet_lite import EfficientNetLiteConfig
    from .encoder.configuration_fusion import BSPDistilledConfig, BSPTwoHeadConfig, BSPTwoStreamConfig
    from .encoder.feature_extraction_bsp import BSPFeatureExtractor
    from .encoder.modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
    from .encoder.modeling_efficientnet_lite import EfficientNetLiteModel
    from .encoder.modeling_fusion import (
        BSPDistilledModel,
        BSPForFeatureDistillation,
        BSPForTwoHeadClassification,
        BSPTwoHeadModel,
        BSPTwoStreamModel,
    )
    from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline
    from .encoder.video import VideoReader
    from .encoder.video_source import PartialVideoWarning, VideoDecodeError
    from .features.engine.engine import ExtractionEngine
    from .features.extraction.job import extract_features
    from .features.extraction.report import ExtractionReport
    from .features.track import FeatureTrack
    from .localization.actionness.configuration_actionness import ActionnessConfig
    from .localization.actionness.modeling_actionness import ActionnessModel
    from .localization.actionness.pipeline import StepLocalizationPipeline
    from .localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
    from .localization.boundaries.response import boundary_response, pick_boundaries
    from .localization.gtad.configuration_gtad import GTADConfig
    from .localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
    from .localization.gtad.pipeline import TemporalActionLocalizationPipeline
    from .localization.lgi.configuration_lgi import LGIConfig
    from .localization.lgi.modeling_lgi import LGIForVideoGrounding
    from .localization.localizer.folder import save_localizer_folder
    from .localization.localizer.segments import LocalizedSegments
    from .localization.tan.configuration_tan import TANConfig
    from .localization.tan.modeling_tan import TANForVideoGrounding
    from .localization.video_grounding import VideoGroundingPipeline
    from .pretraining.boundary_clips import load_boundary_clips
    from .pretraining.clips import PretextClips
    from .pretraining.synthesis import SynthesisConfig
    from .publishing.cards.render import render_card
    from .publishing.conversion.encoders import convert_checkpoint
    from .publishing.conversion.export import export_checkpoint
    from .publishing.conversion.localizers import convert_localizer_checkpoint
    from .publishing.folder import save_checkpoint_folder
    from .publishing.hub import publish_folder


__getattr__, __dir__ = lazy_names(__name__, _HOMES)

# The command finds out what it is asked before it spends the seconds that this takes, and then registers.
if "bsp_hf_command" not in sys.modules:
    import_module(".registration", __name__).register()
