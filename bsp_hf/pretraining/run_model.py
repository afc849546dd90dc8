"""The model that a pre-training script starts from, from its command line."""

import argparse
from typing import Any, TypeVar

from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.encoder.modeling_bsp import BSPPreTrainedModel

_Model = TypeVar("_Model", bound=BSPPreTrainedModel)


def start_model(model_class: type[_Model], args: argparse.Namespace, **fields: Any) -> _Model:
    """Build a model with fresh weights, or with those of the model that `args.init_from` names.

    Args:
        model_class (`type[BSPPreTrainedModel]`): The model's class.
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed.
        fields: Further fields of the class's config.

    Returns:
        `BSPPreTrainedModel`: A model of that class, to be trained; its 2-D weights have channels last.

    Raises:
        ValueError: If that model cannot be the backbone of an encoder, or takes clips of another length.
        OSError: If there is no such model.
    """
    return to_channels_last(_build_model(model_class, args, fields))


def _build_model(model_class: type[_Model], args: argparse.Namespace, fields: dict[str, Any]) -> _Model:
    fields = {"shift_div": args.shift_div, "classifier_dropout": args.dropout} | fields
    if args.init_from:
        return model_class.from_backbone(args.init_from, **fields)
    if args.backbone not in RESNET_VARIANTS:
        return model_class(model_class.config_class.from_backbone_name(args.backbone, **fields))
    backbone = dict(RESNET_VARIANTS[args.backbone])
    backbone["hidden_sizes"] = [int(width * args.width_multiplier) for width in backbone["hidden_sizes"]]
    backbone["embedding_size"] = int(64 * args.width_multiplier)
    return model_class(model_class.config_class(backbone_config=backbone, **fields))


def label_fields(label_names: tuple[str, ...]) -> dict[str, dict[Any, Any]]:
    """Return the fields of a config that name the classes of its classifier.

    Args:
        label_names (`tuple[str, ...]`): Names of the classes, in order.

    Returns:
        `dict`: `id2label` and `label2id`.
    """
    return {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: number for number, name in enumerate(label_names)},
    }


__all__ = ["label_fields", "start_model"]
