"""How well `bsp-hf localize` finds cuts in edited videos by the packaged encoder, and how fast.

    python benchmarks/packaged_detector.py --data DATA/untrimmed_real --without_cuts DATA/untrimmed_sim

The truth of the six edited videos are answers of TransNetV2, so its own mistakes count against whoever
differs: what is measured is agreement. A found boundary is right within 0.3 s of a cut or inside a
transition; each is counted once. Prints one row for each threshold, the encoder's own first, and how many
cuts are seen in the pictures of the other videos, which have none, and of those of further folders.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification

from bsp_hf import pretrained_path
from bsp_hf.encoder.video import VideoReader
from bsp_hf.localization.boundaries.response import boundary_response, pick_boundaries
from bsp_hf.localization.boundaries.transitions import TransitionFinder
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretrained import DEFAULT_DETECTOR

TOLERANCE_S = 0.3


def count_right(found_s: np.ndarray, changes: list[list[float]]) -> int:
    """Return how many changes a found boundary answers, each by one of its own."""
    free, right = set(range(len(found_s))), 0
    for start_s, end_s in changes:
        fitting = [i for i in free if start_s - TOLERANCE_S <= found_s[i] <= end_s + TOLERANCE_S]
        if fitting:
            free.remove(min(fitting, key=lambda i: abs(found_s[i] - (start_s + end_s) / 2)))
            right += 1
    return right


def count_cuts(path: Path) -> tuple[int, int]:
    """Return the number of cuts seen in the pictures of a video, and of its frames."""
    finder, num_frames = TransitionFinder(), 0
    with VideoReader(path) as frames:
        for frame in frames:
            finder.add(frame.image, frame.time_s)
            num_frames += 1
    return len(finder.finish().cuts_s), num_frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of untrimmed_real")
    parser.add_argument("--model", default=pretrained_path(DEFAULT_DETECTOR))
    parser.add_argument("--stride_frames", type=int, default=1)
    parser.add_argument(
        "--without_cuts", type=Path, nargs="*", default=[], help="folders of mp4 without cuts"
    )
    parser.add_argument("--encoder_alone", action="store_true", help="do not look for cuts in the pictures")
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.5, 0.8, 0.9, 0.95, 0.98])
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model = AutoModelForVideoClassification.from_pretrained(args.model)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    annotations = json.loads((args.data / "annotations.json").read_text())
    entries = annotations.get("videos", annotations)
    edited = {name: entry for name, entry in entries.items() if entry["source"] == "edited"}
    started = time.process_time()
    responses = {
        name: boundary_response(
            model,
            extractor,
            next(args.data.rglob(f"{name}.*4")),
            args.stride_frames,
            find_cuts=not args.encoder_alone,
        )
        for name in edited
    }
    seconds = time.process_time() - started
    duration_s = sum(entry["duration"] for entry in edited.values())
    print(f"{len(edited)} videos, {duration_s:.0f} s, {seconds:.0f} s of processor\n")
    print("| threshold | changes | found | right | precision | recall | F1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    num_changes = sum(len(entry["shot_changes"]) for entry in edited.values())
    for threshold in (model.config.boundary_threshold, *args.thresholds):
        found = {name: pick_boundaries(response, threshold) for name, response in responses.items()}
        num_found = sum(map(len, found.values()))
        right = sum(count_right(found[name], entry["shot_changes"]) for name, entry in edited.items())
        precision, recall = right / max(num_found, 1), right / num_changes
        f1 = 2 * right / max(num_found + num_changes, 1)
        print(
            f"| {threshold:.3f} | {num_changes} | {num_found} | {right} | {precision:.3f} | {recall:.3f} "
            f"| {f1:.3f} |"
        )
    others = [next(args.data.rglob(f"{name}.*4")) for name in entries if name not in edited]
    others += [path for folder in args.without_cuts for path in sorted(folder.rglob("*.mp4"))]
    seen = [count_cuts(path) for path in others]
    num_cuts, num_frames = (sum(column) for column in zip(*seen, strict=True))
    print(f"\n{num_cuts} cuts seen in {num_frames} frames of {len(others)} videos without a cut")


if __name__ == "__main__":
    main()
