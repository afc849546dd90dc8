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
from .encoder.feature_extraction_bsp import BSPFeatureExtractor
from .encoder.modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
from .encoder.pipeline_video_features import VideoFeatureExtractionPipeline

DEFAULT_ENCODER = ("bsp-hf/bsp-tsm-r50", "main")


def register() -> None:
    """Register configs, models, preprocessing and pipelines; calling it again changes nothing."""
    AutoConfig.register(BSPConfig.model_type, BSPConfig, exist_ok=True)
    AutoModel.register(BSPConfig, BSPModel, exist_ok=True)
    AutoModelForVideoClassification.register(BSPConfig, BSPForBoundaryClassification, exist_ok=True)
    AutoFeatureExtractor.register(BSPConfig, BSPFeatureExtractor, exist_ok=True)
    # There is one implementation, and it needs neither Pillow nor torchvision to resize.
    AutoImageProcessor.register(
        BSPConfig,
        image_processor_classes={"pil": BSPFeatureExtractor, "torchvision": BSPFeatureExtractor},
        exist_ok=True,
    )
    # Saving a model then also saves the code that loads it where the package is not installed.
    BSPConfig.register_for_auto_class()
    BSPModel.register_for_auto_class("AutoModel")
    BSPForBoundaryClassification.register_for_auto_class("AutoModelForVideoClassification")
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
