"""Makes transformers' Auto classes and `pipeline` know this package."""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

from .encoder.registration import register_encoders, register_task
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

LOCALIZERS = (
    (GTADConfig, GTADForTemporalActionLocalization),
    (TANConfig, TANForVideoGrounding),
    (LGIConfig, LGIForVideoGrounding),
    (ActionnessConfig, ActionnessModel),
)
# Task: pipeline, and what loads its model.
PIPELINES = {
    "video-boundary-detection": (VideoBoundaryDetectionPipeline, AutoModelForVideoClassification),
    "temporal-action-localization": (TemporalActionLocalizationPipeline, AutoModel),
    "video-grounding": (VideoGroundingPipeline, AutoModel),
    "step-localization": (StepLocalizationPipeline, AutoModel),
}


def register() -> None:
    """Register configs, models, preprocessing and pipelines; calling it again changes nothing."""
    register_encoders()
    for config_class, model_class in LOCALIZERS:
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)
    for task, (pipeline_class, auto_class) in PIPELINES.items():
        register_task(task, pipeline_class, auto_class)
