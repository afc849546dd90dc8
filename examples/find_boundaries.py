"""Find where a long video changes: extract its features, slide the boundary classifier over it, plot both.

    python examples/find_boundaries.py --output_dir report/
    python examples/find_boundaries.py --model bsp-tsm-demo --video recording.mp4 --output_dir report/

Without --video, an untrimmed video with known boundaries is rendered, and what is found is scored against
them. Writes `features.npz`, `features.png`, `boundaries.json` and `boundaries.png`. A minute of 128x96 video
takes about a minute on two CPU cores at the default stride of one frame.
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, pipeline

import bsp_hf
from bsp_hf.files import atomic_file, atomic_write_text
from bsp_hf.localization.boundaries.response import DEFAULT_GAP_S, settle_threshold
from bsp_hf.metrics import BoundaryAnnotation, evaluate_boundaries
from bsp_hf.pretrained import DEFAULT_DETECTOR, find_packaged
from bsp_hf.pretraining.rendering.clips import render_long_video
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings
from bsp_hf.visualization import plot_boundary_response, plot_feature_track

logger = logging.getLogger("find_boundaries")


@dataclass
class FindBoundariesSettings:
    """Which video to look at, with which encoder, and what counts as a boundary."""

    output_dir: Path = field(metadata={"help": "folder to write into"})
    model: str = field(
        default=DEFAULT_DETECTOR,
        metadata={"help": "folder or Hub id of an encoder with its head; default: the packaged one"},
    )
    video: Path | None = field(default=None, metadata={"help": "any video; a rendered one when left out"})
    stride_frames: int = field(default=1, metadata={"help": "frames between windows of the classifier"})
    threshold: float | None = field(
        default=None, metadata={"help": "smallest response of a boundary; default: the encoder's own"}
    )
    kinds: list[str] | None = field(
        default=None,
        metadata={"help": "kinds of change to look for, of cut, gradual, action and pace; default: all"},
    )
    min_gap_s: float = field(
        default=DEFAULT_GAP_S, metadata={"help": "seconds that two boundaries lie apart at least"}
    )
    seed: int = field(default=7, metadata={"help": "of the rendered video; training clips use 0"})

    def __post_init__(self) -> None:
        if self.stride_frames < 1:
            raise ValueError(f"--stride_frames {self.stride_frames} must be at least 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"--threshold {self.threshold} must lie in 0 to 1")
        if self.min_gap_s < 0:
            raise ValueError(f"--min_gap_s {self.min_gap_s} must not be negative")


def thumbnails(video: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` frames spread over the video, and their times."""
    with bsp_hf.VideoReader(video) as frames:
        shown = [(frame.image, frame.time_s) for frame in frames if frame.index % 5 == 0]
    chosen = np.linspace(0, len(shown) - 1, count).round().astype(int)
    return np.stack([shown[i][0] for i in chosen]), np.array([shown[i][1] for i in chosen])


def main() -> None:
    settings = parse_settings(FindBoundariesSettings, description=__doc__)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logger.setLevel(logging.INFO)
    output_dir, model = settings.output_dir, find_packaged(settings.model)
    output_dir.mkdir(parents=True, exist_ok=True)

    video, truth = settings.video, None
    if video is None:
        video = output_dir / "rendered.mp4"
        truth = render_long_video(video, seed=settings.seed)

    # Snippet features of the whole video, as any localizer wants them.
    encoder = AutoModel.from_pretrained(model)
    extractor = AutoFeatureExtractor.from_pretrained(model)
    extract = pipeline("video-feature-extraction", model=encoder, feature_extractor=extractor)
    track = extract(str(video))
    logger.info(
        "%s: %d snippets x %d features over %.1f s",
        video.name,
        *track["features"].shape,
        track["duration_s"],
    )
    with atomic_file(output_dir / "features.npz") as path, path.open("wb") as file:
        np.savez(file, features=track["features"], centers_s=track["centers_s"])
    plot_feature_track(track["features"], track["centers_s"]).savefig(output_dir / "features.png")

    # The classifier that pre-training leaves behind answers the question itself.
    find = pipeline("video-boundary-detection", model=model)
    threshold = settle_threshold(find.model.config, settings.threshold)
    options = {"stride_frames": settings.stride_frames, "min_gap_s": settings.min_gap_s}
    response = find(str(video), threshold=threshold, kinds=settings.kinds, **options)
    found = np.array([boundary["time_s"] for boundary in response])
    report = {"video": video.name, "boundaries_s": found.round(3).tolist()}
    logger.info("changes at %s s", ", ".join(f"{time_s:.2f}" for time_s in found) or "no")
    if truth is not None:
        times_s = [boundary.time_s for boundary in truth]
        annotation = {video.stem: BoundaryAnnotation(response.duration_s, [times_s])}
        scores = evaluate_boundaries(annotation, {video.stem: found}, relative_distances=(0.02,))
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

    frames, frame_times_s = thumbnails(video, 12)
    figure = plot_boundary_response(
        response.times_s,
        response.scores,
        [boundary.time_s for boundary in truth or ()],
        frames=frames,
        frame_times_s=frame_times_s,
        picked_s=found,
        kinds=None if truth is None else [boundary.kind.replace("_", " ") for boundary in truth],
        threshold=threshold,
    )
    figure.savefig(output_dir / "boundaries.png")
    atomic_write_text(output_dir / "boundaries.json", json.dumps(report, indent=2) + "\n")
    logger.info("wrote %s", output_dir)


if __name__ == "__main__":
    with exit_on_mistakes():
        main()
