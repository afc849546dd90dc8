"""Publish an encoder on the Hub, then load it from there and check that it gives the same features.

    python examples/publish.py --folder bsp-tsm-r50 --repo_id org/bsp-tsm-r50 --license apache-2.0 \
        --training_data "Kinetics-400, training split"

Log in first (`hf auth login`, or HF_TOKEN). With --dry_run the folder is checked and listed, and nothing goes
out. Without --folder, a small encoder with random weights is made, to see how it works.
"""

import argparse
import tempfile
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

TASK = "video-feature-extraction"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="what examples/pretrain.py wrote")
    parser.add_argument("--repo_id", required=True, help="OWNER/NAME on the Hub")
    parser.add_argument("--private", action="store_true", help="make a new repository a private one")
    parser.add_argument("--license", help="licence of the weights, for the model card")
    parser.add_argument("--training_data", help="which videos it was trained on, for the model card")
    parser.add_argument("--tag", help="tag of the commit, such as v1.0")
    parser.add_argument("--dry_run", action="store_true", help="check and list only; no network")
    return parser.parse_args()


def make_small_encoder(folder: Path) -> Path:
    """Save an encoder that nobody has trained."""
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    return save_checkpoint_folder(model, extractor, folder, {"task": "none: random weights"})


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or make_small_encoder(Path(scratch) / "random-encoder")
        report = publish_folder(
            folder,
            args.repo_id,
            private=args.private or None,
            tag=args.tag,
            card={"license": args.license, "training_data": args.training_data},
            dry_run=args.dry_run,
        )
        print(report)
        if args.dry_run:
            return

        # The commit, not the branch: what is compared is what was just published.
        frames = np.random.default_rng(0).integers(0, 255, (32, 72, 96, 3), np.uint8)
        here = pipeline(TASK, model=str(folder))(frames, input_fps=25)
        there = pipeline(TASK, model=args.repo_id, revision=report.commit)(frames, input_fps=25)
        if not np.array_equal(here["features"], there["features"]):
            raise SystemExit("the published encoder gives other features than the folder")
        print(f"loaded again: {there['features'].shape} features, equal to the bit, by {there['encoder']}")


if __name__ == "__main__":
    main()
