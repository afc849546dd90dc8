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

from .encoder.configuration_bsp import BSPConfig
from .encoder.configuration_fusion import BSPDistilledConfig, BSPTwoHeadConfig, BSPTwoStreamConfig
from .encoder.feature_extraction_bsp import BSPFeatureExtractor
from .encoder.modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
from .encoder.modeling_distilled import BSPDistilledModel, BSPForFeatureDistillation
from .encoder.modeling_two_head import BSPForTwoHeadClassification, BSPTwoHeadModel
from .encoder.modeling_two_stream import BSPTwoStreamModel
from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline

DEFAULT_ENCODER = ("bsp-hf/bsp-tsm-r50", "main")


# Config, encoder and classifier of every kind of encoder.
_ENCODERS = (
    (BSPConfig, BSPModel, BSPForBoundaryClassification),
    (BSPTwoStreamConfig, BSPTwoStreamModel, None),
    (BSPTwoHeadConfig, BSPTwoHeadModel, BSPForTwoHeadClassification),
    (BSPDistilledConfig, BSPDistilledModel, BSPForFeatureDistillation),
)


def register() -> None:
    """Register configs, models, preprocessing and pipelines; calling it again changes nothing."""
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
    if "video-feature-extraction" not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            "video-feature-extraction",
            pipeline_class=VideoFeatureExtractionPipeline,
            pt_model=AutoModel,
            default={"model": DEFAULT_ENCODER},
            type="video",
        )


__all__ = ["DEFAULT_ENCODER", "register"]
