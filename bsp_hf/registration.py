"""Makes transformers' Auto classes and `pipeline` know this package."""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline
from .encoder.registration import DefaultModel, register_encoders, register_task
from .features.engine.fast_encoder import prepare_on_cpu
from .localization.actionness.configuration_actionness import ActionnessConfig
from .localization.actionness.modeling_actionness import ActionnessModel
from .localization.actionness.pipeline import StepLocalizationPipeline
from .localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
from .localization.gtad.configuration_gtad import GTADConfig
from .localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from .localization.gtad.pipeline import TemporalActionLocalizationPipeline
from .localization.lgi.configuration_lgi import LGIConfig
from .localization.lgi.modeling_lgi import LGIForVideoGrounding
from .localization.tan.configuration_tan import TANConfig
from .localization.tan.modeling_tan import TANForVideoGrounding
from .localization.video_grounding import VideoGroundingPipeline
from .pretrained import DEFAULT_DETECTOR, DEFAULT_ENCODER, pretrained_path

LOCALIZERS = (
    (GTADConfig, GTADForTemporalActionLocalization),
    (TANConfig, TANForVideoGrounding),
    (LGIConfig, LGIForVideoGrounding),
    (ActionnessConfig, ActionnessModel),
)
# Task: pipeline, what loads its model, and the packaged encoder that is its default.
PIPELINES: dict[str, tuple[type, type, str | None]] = {
    "video-boundary-detection": (
        VideoBoundaryDetectionPipeline,
        AutoModelForVideoClassification,
        DEFAULT_DETECTOR,
    ),
    "temporal-action-localization": (TemporalActionLocalizationPipeline, AutoModel, None),
    "video-grounding": (VideoGroundingPipeline, AutoModel, None),
    "step-localization": (StepLocalizationPipeline, AutoModel, None),
}


def register() -> None:
    """Register configs, models, preprocessing and pipelines; calling it again changes nothing."""
    VideoFeatureExtractionPipeline.speed_up = staticmethod(prepare_on_cpu)
    register_encoders(DefaultModel.in_folder(DEFAULT_ENCODER, pretrained_path(DEFAULT_ENCODER)))
    for config_class, model_class in LOCALIZERS:
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)
    for task, (pipeline_class, auto_class, name) in PIPELINES.items():
        default = DefaultModel.in_folder(name, pretrained_path(name)) if name else None
        register_task(task, pipeline_class, auto_class, default)
