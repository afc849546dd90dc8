"""Find where a long video changes: extract its features, slide the boundary classifier over it, plot both.

    python examples/find_boundaries.py --model bsp-tsm-demo --output_dir report/
    python examples/find_boundaries.py --model bsp-tsm-demo --video recording.mp4 --output_dir report/

Without --video, an untrimmed video with known boundaries is rendered, and what is found is scored against
them. Writes
`features.npz`, `features.png`, `boundaries.json` and `boundaries.png`. A minute of 128x96 video takes
about a minute on two CPU cores at the default stride of one frame.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForVideoClassification, pipeline

import bsp_hf
from bsp_hf.localization.boundaries.response import boundary_response, pick_boundaries
from bsp_hf.metrics import BoundaryAnnotation, evaluate_boundaries
from bsp_hf.pretraining.rendering.clips import render_long_video
from bsp_hf.visualization import plot_boundary_response, plot_feature_track

logger = logging.getLogger("find_boundaries")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, help="folder or Hub id of a pre-trained encoder with its head"
    )
    parser.add_argument("--video", type=Path, help="any video; a rendered one when left out")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument(
        "--stride_frames", type=int, default=1, help="frames between windows of the classifier"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="smallest response that counts as a boundary"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        help="boundary types to look for, e.g. diff-class same-class for cuts; default: all",
    )
    parser.add_argument(
        "--min_gap_s", type=float, default=0.6, help="seconds that two boundaries lie apart at least"
    )
    parser.add_argument("--seed", type=int, default=7, help="of the rendered video; training clips use 0")
    return parser.parse_args()


def thumbnails(video: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` frames spread over the video, and their times."""
    with bsp_hf.VideoReader(video) as frames:
        shown = [(frame.image, frame.time_s) for frame in frames if frame.index % 5 == 0]
    chosen = np.linspace(0, len(shown) - 1, count).round().astype(int)
    return np.stack([shown[i][0] for i in chosen]), np.array([shown[i][1] for i in chosen])


def main() -> None:
    args = parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logger.setLevel(logging.INFO)
    args.output_dir.mkdir(parents=True, exist_ok=True)

    truth = None
    if args.video is None:
        args.video = args.output_dir / "rendered.mp4"
        truth = render_long_video(args.video, seed=args.seed)

    # Snippet features of the whole video, as any localizer wants them.
    encoder = AutoModel.from_pretrained(args.model)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    extract = pipeline("video-feature-extraction", model=encoder, feature_extractor=extractor)
    track = extract(str(args.video))
    logger.info(
        "%s: %d snippets x %d features over %.1f s",
        args.video.name,
        *track["features"].shape,
        track["duration_s"],
    )
    np.savez(args.output_dir / "features.npz", features=track["features"], centers_s=track["centers_s"])
    plot_feature_track(track["features"], track["centers_s"]).savefig(args.output_dir / "features.png")

    # The classifier that pre-training leaves behind answers the question itself.
    classifier = AutoModelForVideoClassification.from_pretrained(args.model)
    response = boundary_response(classifier, extractor, args.video, args.stride_frames, kinds=args.kinds)
    found = pick_boundaries(response, args.threshold, args.min_gap_s)
    report = {"video": args.video.name, "boundaries_s": found.round(3).tolist()}
    logger.info("changes at %s s", ", ".join(f"{time_s:.2f}" for time_s in found) or "no")
    if truth is not None:
        times_s = [boundary.time_s for boundary in truth]
        annotation = {args.video.stem: BoundaryAnnotation(response.duration_s, [times_s])}
        scores = evaluate_boundaries(annotation, {args.video.stem: found}, relative_distances=(0.02,))
        report |= {
            "true_boundaries": [{"time_s": b.time_s, "kind": b.kind} for b in truth],
            "relative_distance": 0.02,
            "precision": float(scores.precision[0]),
            "recall": float(scores.recall[0]),
            "f1": float(scores.f1[0]),
        }
        for boundary in truth:
            nearest = min((abs(boundary.time_s - time_s) for time_s in found), default=np.inf)
            logger.info(
                "  true %-10s at %6.2f s, nearest found %.2f s away", boundary.kind, boundary.time_s, nearest
            )
        logger.info("F1 %.2f within %.2f s", report["f1"], 0.02 * response.duration_s)

    frames, frame_times_s = thumbnails(args.video, 12)
    figure = plot_boundary_response(
        response.times_s,
        response.response,
        [boundary.time_s for boundary in truth or ()],
        frames=frames,
        frame_times_s=frame_times_s,
        picked_s=found,
        kinds=None if truth is None else [boundary.kind.replace("_", " ") for boundary in truth],
        threshold=args.threshold,
    )
    figure.savefig(args.output_dir / "boundaries.png")
    (args.output_dir / "boundaries.json").write_text(json.dumps(report, indent=2) + "\n")
    logger.info("wrote %s", args.output_dir)


if __name__ == "__main__":
    main()
