r"""Publish an encoder on the Hub, then load it from there and check that it gives the same features.

    python examples/publish.py --folder bsp-tsm-r50 --repo_id org/bsp-tsm-r50 --license apache-2.0 \
        --training_data "Kinetics-400, training split"

Log in first (`hf auth login`, or HF_TOKEN). With --dry_run the folder is checked and listed, and nothing
is uploaded. Without --folder, a small encoder with random weights is made, to see how it works.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import pipeline

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    publish_folder,
    save_checkpoint_folder,
)
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings

TASK = "video-feature-extraction"


@dataclass
class PublishSettings:
    """What to publish, and where."""

    repo_id: str = field(metadata={"help": "OWNER/NAME on the Hub"})
    folder: Path | None = field(default=None, metadata={"help": "what examples/pretrain.py wrote"})
    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    license: str | None = field(default=None, metadata={"help": "licence of the weights, for the model card"})
    training_data: str | None = field(
        default=None, metadata={"help": "which videos it was trained on, for the model card"}
    )
    tag: str | None = field(default=None, metadata={"help": "tag of the commit, such as v1.0"})
    dry_run: bool = field(default=False, metadata={"help": "check and list only; no network"})


def make_small_encoder(folder: Path) -> Path:
    """Save an encoder with random weights."""
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    return save_checkpoint_folder(model, extractor, folder, {"task": "none: random weights"})


def main() -> None:
    settings = parse_settings(PublishSettings, description=__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = settings.folder or make_small_encoder(Path(scratch) / "random-encoder")
        report = publish_folder(
            folder,
            settings.repo_id,
            private=settings.private or None,
            tag=settings.tag,
            card={"license": settings.license, "training_data": settings.training_data},
            dry_run=settings.dry_run,
        )
        print(report)
        if settings.dry_run:
            return

        # The commit, not the branch: what is compared is what was just published.
        frames = np.random.default_rng(0).integers(0, 255, (32, 72, 96, 3), np.uint8)
        here = pipeline(TASK, model=str(folder))(frames, input_fps=25)
        there = pipeline(TASK, model=settings.repo_id, revision=report.commit)(frames, input_fps=25)
        if not np.array_equal(here["features"], there["features"]):
            raise SystemExit("the features of the published encoder differ from those of the folder")
        print(f"loaded again: {there['features'].shape} features, equal to the bit, by {there['encoder']}")


if __name__ == "__main__":
    with exit_on_mistakes():
        main()
