"""Makes transformers' Auto classes and `pipeline` know this package."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForVideoClassification,
)

# Not from the top: without torchvision, older releases have a stand-in there that raises when it is touched.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

from .encoder.configuration_bsp import BSPConfig
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
from .localization.actionness.configuration_actionness import ActionnessConfig
from .localization.actionness.modeling_actionness import ActionnessModel
from .localization.actionness.pipeline import StepLocalizationPipeline
from .localization.boundaries.pipeline import VideoBoundaryDetectionPipeline
from .localization.gtad.pipeline import TemporalActionLocalizationPipeline
from .localization.video_grounding import VideoGroundingPipeline

DEFAULT_ENCODER = ("bsp-hf/bsp-tsm-r50", "main")

LOCALIZERS = (
    (GTADConfig, GTADForTemporalActionLocalization),
    (TANConfig, TANForVideoGrounding),
    (LGIConfig, LGIForVideoGrounding),
    (ActionnessConfig, ActionnessModel),
)
# Task: pipeline, what loads its model, and the id of the model that is taken where none is given.
PIPELINES = {
    "video-feature-extraction": (VideoFeatureExtractionPipeline, AutoModel, DEFAULT_ENCODER),
    "video-boundary-detection": (
        VideoBoundaryDetectionPipeline,
        AutoModelForVideoClassification,
        DEFAULT_ENCODER,
    ),
    "temporal-action-localization": (
        TemporalActionLocalizationPipeline,
        AutoModel,
        ("bsp-hf/gtad-activitynet", "main"),
    ),
    "video-grounding": (VideoGroundingPipeline, AutoModel, ("bsp-hf/tan-charades", "main")),
    "step-localization": (StepLocalizationPipeline, AutoModel, ("bsp-hf/actionness-crosstask", "main")),
}


# Config, encoder and classifier of every kind of encoder.
_ENCODERS = (
    (BSPConfig, BSPModel, BSPForBoundaryClassification),
    (BSPTwoStreamConfig, BSPTwoStreamModel, None),
    (BSPTwoHeadConfig, BSPTwoHeadModel, BSPForTwoHeadClassification),
    (BSPDistilledConfig, BSPDistilledModel, BSPForFeatureDistillation),
)


def register() -> None:
    """Register configs, models, preprocessing and pipelines; calling it again changes nothing."""
    # A backbone; it takes pictures, so the preprocessing of clips is not its own.
    AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
    AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
    EfficientNetLiteConfig.register_for_auto_class()
    EfficientNetLiteModel.register_for_auto_class("AutoModel")
    for config, model, classifier in _ENCODERS:
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
        if classifier is not None:
            AutoModelForVideoClassification.register(config, classifier, exist_ok=True)
        AutoFeatureExtractor.register(config, BSPFeatureExtractor, exist_ok=True)
        # There is one implementation, and it needs neither Pillow nor torchvision to resize.
        AutoImageProcessor.register(
            config,
            image_processor_classes={"pil": BSPFeatureExtractor, "torchvision": BSPFeatureExtractor},
            exist_ok=True,
        )
        # Saving a model then also saves the code that loads it where the package is not installed.
        config.register_for_auto_class()
        model.register_for_auto_class("AutoModel")
        if classifier is not None:
            classifier.register_for_auto_class("AutoModelForVideoClassification")
    BSPForBoundaryRegression.register_for_auto_class("AutoModel")  # no Auto class is for heatmaps
    BSPFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
    for config_class, model_class in LOCALIZERS:
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)
    for task, (pipeline_class, auto_class, default) in PIPELINES.items():
        if task not in PIPELINE_REGISTRY.supported_tasks:
            PIPELINE_REGISTRY.register_pipeline(
                task,
                pipeline_class=pipeline_class,
                pt_model=auto_class,
                default={"model": default},
                type="video",
            )
