"""What there is to say about an encoder and its preprocessing, in words and numbers."""

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, ResNetConfig

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor

from .key_layouts import name_architecture


def describe_model(model: PreTrainedModel, extractor: BSPFeatureExtractor) -> dict[str, Any]:
    """Describe an encoder for its record and its card.

    Args:
        model (`PreTrainedModel`): The encoder, with or without a head; it may be on the meta device.
        extractor (`BSPFeatureExtractor`): Its preprocessing.

    Returns:
        `dict`: `architecture`, `model_class`, `num_parameters`, `feature_dim`, `num_labels` (`None` without a
        classifier), `num_frames` and `preprocessing`, fit for JSON.
    """
    config = model.config
    shipped = getattr(config, "shipped_classes", {})
    classifier = shipped.get("AutoModelForVideoClassification", "").rpartition(".")[2]
    return {
        "architecture": _name_architecture(config),
        "model_class": type(model).__name__,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "feature_dim": getattr(config, "hidden_size", None),
        "num_labels": config.num_labels if type(model).__name__ == classifier else None,
        "num_frames": getattr(config, "num_frames", None),
        "preprocessing": describe_preprocessing(extractor),
    }


def _name_architecture(config: PreTrainedConfig) -> str:
    """Name the backbone, or the streams that stand side by side."""
    if hasattr(config, "build_stream_configs"):
        return " + ".join(_name_architecture(stream) for stream in config.build_stream_configs())
    backbone = getattr(config, "backbone_config", config)
    if isinstance(backbone, ResNetConfig):
        return name_architecture(backbone)
    return str(backbone.model_type)


def describe_preprocessing(extractor: BSPFeatureExtractor) -> str:
    """Say in one line what happens to a frame in front of the network.

    Args:
        extractor (`BSPFeatureExtractor`): The preprocessing.

    Returns:
        `str`: For instance `"RGB, short side 256, centre crop 224, scaled to 0..1, mean ..., std ..."`.
    """
    mean, std = ("/".join(f"{x:g}" for x in values) for values in (extractor.image_mean, extractor.image_std))
    return (
        f"RGB, short side {extractor.size['shortest_edge']}, centre crop {extractor.crop_size['height']}, "
        f"scaled to 0..1, mean {mean}, std {std}"
    )


__all__ = ["describe_model", "describe_preprocessing"]
