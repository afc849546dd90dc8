"""Makes transformers' Auto classes and `pipeline` know the encoders."""

from collections.abc import Iterator

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForVideoClassification

# Not from the top: without torchvision, older releases have a stand-in there that raises when it is touched.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_bsp import BSPConfig
from .configuration_efficientnet_lite import EfficientNetLiteConfig
from .configuration_fusion import BSPDistilledConfig, BSPTwoHeadConfig, BSPTwoStreamConfig
from .feature_extraction_bsp import BSPFeatureExtractor
from .modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
from .modeling_efficientnet_lite import EfficientNetLiteModel
from .modeling_fusion import (
    BSPDistilledModel,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPTwoHeadModel,
    BSPTwoStreamModel,
)
from .pipeline_video_features import VideoFeatureExtractionPipeline

# Config, encoder and classifier of every kind of encoder.
_ENCODERS = (
    (BSPConfig, BSPModel, BSPForBoundaryClassification),
    (BSPTwoStreamConfig, BSPTwoStreamModel, None),
    (BSPTwoHeadConfig, BSPTwoHeadModel, BSPForTwoHeadClassification),
    (BSPDistilledConfig, BSPDistilledModel, BSPForFeatureDistillation),
)


def register_encoders(default: "DefaultModel | None" = None) -> None:
    """Register configs, models, preprocessing and the pipeline; calling it again changes nothing."""
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
        AutoVideoProcessor.register(config, BSPFeatureExtractor, exist_ok=True)
        # Saving a model then also saves the code that loads it where the package is not installed.
        config.register_for_auto_class()
        model.register_for_auto_class("AutoModel")
        if classifier is not None:
            classifier.register_for_auto_class("AutoModelForVideoClassification")
    BSPForBoundaryRegression.register_for_auto_class("AutoModel")  # no Auto class is for heatmaps
    BSPFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
    register_task("video-feature-extraction", VideoFeatureExtractionPipeline, AutoModel, default)


def register_task(
    task: str, pipeline_class: type, auto_class: type, default: "DefaultModel | None" = None
) -> None:
    """Register a pipeline for a task, unless one is."""
    if task not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            task,
            pipeline_class=pipeline_class,
            pt_model=auto_class,
            default={"model": default or DefaultModel("none")},
            type="video",
        )


class DefaultModel(str):
    """A task's default model where transformers looks for an id and a revision; without a folder, none.

    It is text, the name, because pipelines write it into the configs that they save; no path may get there.
    """

    folder = ""

    @classmethod
    def in_folder(cls, name: str, folder: str) -> "DefaultModel":
        """Return the default model of that name."""
        model = cls(name)
        model.folder = folder
        return model

    def __iter__(self) -> Iterator[str]:
        if not self.folder:
            raise ValueError("this task has no default model: pass model=, a folder or an id on the Hub.")
        return iter((self.folder, "main"))
