# The names of the package and the modules that define them: `__init__.py` and type checkers read both here.

from .encoder.configuration_bsp import BoundaryType as BoundaryType
from .encoder.configuration_bsp import BSPConfig as BSPConfig
from .encoder.configuration_efficientnet_lite import EfficientNetLiteConfig as EfficientNetLiteConfig
from .encoder.configuration_fusion import BSPDistilledConfig as BSPDistilledConfig
from .encoder.configuration_fusion import BSPTwoHeadConfig as BSPTwoHeadConfig
from .encoder.configuration_fusion import BSPTwoStreamConfig as BSPTwoStreamConfig
from .encoder.feature_extraction_bsp import BSPFeatureExtractor as BSPFeatureExtractor
from .encoder.modeling_bsp import BSPForBoundaryClassification as BSPForBoundaryClassification
from .encoder.modeling_bsp import BSPForBoundaryRegression as BSPForBoundaryRegression
from .encoder.modeling_bsp import BSPModel as BSPModel
from .encoder.modeling_efficientnet_lite import EfficientNetLiteModel as EfficientNetLiteModel
from .encoder.modeling_fusion import BSPDistilledModel as BSPDistilledModel
from .encoder.modeling_fusion import BSPForFeatureDistillation as BSPForFeatureDistillation
from .encoder.modeling_fusion import BSPForTwoHeadClassification as BSPForTwoHeadClassification
from .encoder.modeling_fusion import BSPTwoHeadModel as BSPTwoHeadModel
from .encoder.modeling_fusion import BSPTwoStreamModel as BSPTwoStreamModel
from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline as VideoFeatureExtractionPipeline
from .encoder.video import VideoReader as VideoReader
from .encoder.video_source import PartialVideoWarning as PartialVideoWarning
from .encoder.video_source import VideoDecodeError as VideoDecodeError
from .features.engine.engine import ExtractionEngine as ExtractionEngine
from .features.extraction.job import extract_features as extract_features
from .features.extraction.report import ExtractionReport as ExtractionReport
from .features.track import FeatureTrack as FeatureTrack
from .localization.actionness.configuration_actionness import ActionnessConfig as ActionnessConfig
from .localization.actionness.modeling_actionness import ActionnessModel as ActionnessModel
from .localization.actionness.pipeline import StepLocalizationPipeline as StepLocalizationPipeline
from .localization.boundaries.pipeline import VideoBoundaryDetectionPipeline as VideoBoundaryDetectionPipeline
from .localization.boundaries.response import boundary_response as boundary_response
from .localization.boundaries.response import pick_boundaries as pick_boundaries
from .localization.gtad.configuration_gtad import GTADConfig as GTADConfig
from .localization.gtad.modeling_gtad import (
    GTADForTemporalActionLocalization as GTADForTemporalActionLocalization,
)
from .localization.gtad.pipeline import (
    TemporalActionLocalizationPipeline as TemporalActionLocalizationPipeline,
)
from .localization.lgi.configuration_lgi import LGIConfig as LGIConfig
from .localization.lgi.modeling_lgi import LGIForVideoGrounding as LGIForVideoGrounding
from .localization.localizer.folder import save_localizer_folder as save_localizer_folder
from .localization.localizer.segments import LocalizedSegments as LocalizedSegments
from .localization.segments.clips import write_clips as write_clips
from .localization.segments.segmenting import segment_video as segment_video
from .localization.segments.types import SegmentedVideo as SegmentedVideo
from .localization.segments.types import VideoSegment as VideoSegment
from .localization.segments.writing import write_segments as write_segments
from .localization.tan.configuration_tan import TANConfig as TANConfig
from .localization.tan.modeling_tan import TANForVideoGrounding as TANForVideoGrounding
from .localization.video_grounding import VideoGroundingPipeline as VideoGroundingPipeline
from .pretrained import pretrained_path as pretrained_path
from .pretraining.clip_dataset.loading import load_boundary_clips as load_boundary_clips
from .pretraining.clips import PretextClips as PretextClips
from .pretraining.synthesis_config import SynthesisConfig as SynthesisConfig
from .publishing.cards.render import render_card as render_card
from .publishing.conversion.encoders import convert_checkpoint as convert_checkpoint
from .publishing.conversion.export import export_checkpoint as export_checkpoint
from .publishing.conversion.localizers import convert_localizer_checkpoint as convert_localizer_checkpoint
from .publishing.folder import save_checkpoint_folder as save_checkpoint_folder
from .publishing.hub import publish_folder as publish_folder
from .version import __version__ as __version__
