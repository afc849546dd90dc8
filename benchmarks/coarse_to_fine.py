"""What `coarse_to_fine` saves on an hour of mostly quiet video, and what it costs in F1.

    python benchmarks/coarse_to_fine.py --data DATA               # 20 minutes of one core
    python benchmarks/coarse_to_fine.py --data DATA --minutes 12 --output runs/coarse

DATA holds the folders `untrimmed_real`, `untrimmed_sim` and `actions_mini`. The hour, at 30 frames a second:
the six edited videos (six minutes, 150 cuts and fades that TransNetV2 reported), every tenth simulated
episode, and between them quiet stretches of filmed videos, each played forward and backward until the hour is
full. A stretch is quiet if, for a second at least, no frame differs from its first by more than 2 of 255 at
the mean. It keeps the noise that its compression left.

Prints seconds of processor of one core, decoding included, and boundaries that are right within 0.3 s. If
`scenedetect` is installed, the same for its ContentDetector.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from extraction_peers import write_video
from packaged_detector import count_right
from PIL import Image
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification

from bsp_hf import pretrained_path
from bsp_hf.encoder.video import VideoReader
from bsp_hf.localization.boundaries.response import boundary_response, pick_boundaries, settle_threshold
from bsp_hf.localization.boundaries.transitions import TransitionFinder
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretrained import DEFAULT_DETECTOR

FPS, SIZE = 30, (256, 144)
QUIET_DIFFERENCE, QUIET_FRAMES = 2.0, 25


def read_frames(path: Path) -> np.ndarray:
    """Return the frames of a short video at the common size."""
    with VideoReader(path) as video:
        return np.stack([np.asarray(Image.fromarray(frame.image).resize(SIZE)) for frame in video])


def find_quiet(frames: np.ndarray) -> list[np.ndarray]:
    """Return the quiet stretches of a video."""
    found, first = [], 0
    for number in range(1, len(frames) + 1):
        is_over = number == len(frames) or (
            np.abs(frames[number].astype(np.int16) - frames[first]).mean() > QUIET_DIFFERENCE
        )
        if is_over:
            if number - first >= QUIET_FRAMES:
                found.append(frames[first:number])
            first = number
    return found


def build_hour(data: Path, path: Path, minutes: float) -> list[list[float]]:
    """Write the video and print what it is made of; return its changes, in seconds."""
    annotations = json.loads((data / "untrimmed_real" / "annotations.json").read_text())
    entries = annotations.get("videos", annotations)
    real = {name: next((data / "untrimmed_real").rglob(f"{name}.mp4")) for name in entries}
    filmed = [file for name, file in real.items() if entries[name]["source"] == "gmdcsa24"]
    filmed += sorted(file for file in (data / "actions_mini").rglob("*.mp4") if "NoFight" in file.parts)
    quiet = [stretch for file in filmed for stretch in find_quiet(read_frames(file))]
    edited = {file: entries[name] for name, file in real.items() if entries[name]["source"] == "edited"}
    events = [*edited, *sorted((data / "untrimmed_sim").rglob("*.mp4"))[::10]]
    num_events = [entry["num_frames"] for entry in edited.values()]
    rest_frames = round((minutes * 60 * FPS - sum(num_events)) / (len(events) + 1))
    if rest_frames < QUIET_FRAMES:
        raise SystemExit(f"--minutes {minutes:g} leaves no quiet between the events; pass more.")
    changes: list[list[float]] = []

    def frames() -> Iterator[np.ndarray]:
        num_written = 0
        for stretch, event in zip(cycle(quiet), [*events, None], strict=False):
            if num_written:
                changes.append([num_written / FPS] * 2)
            there_and_back = [*range(len(stretch)), *range(len(stretch) - 2, 0, -1)]
            yield from (stretch[number] for number in islice(cycle(there_and_back), rest_frames))
            num_written += rest_frames
            if event is None:
                return
            begins_s = num_written / FPS
            changes.append([begins_s] * 2)
            if event in edited:
                own = edited[event]["fps"] / FPS
                changes.extend(
                    [begins_s + a * own, begins_s + b * own] for a, b in edited[event]["shot_changes"]
                )
            shown = read_frames(event)
            yield from shown
            num_written += len(shown)

    write_video(path, frames(), FPS)
    print(
        f"{len(events) + 1} rests of {rest_frames / FPS:.0f} s in {len(quiet)} stretches, {len(edited)} "
        f"edited videos of together {sum(num_events) / FPS:.0f} s, {len(events) - len(edited)} episodes; "
        f"{len(changes)} changes"
    )
    return changes


def find_cuts(video: Path) -> np.ndarray:
    """Return the cuts seen in the pictures alone."""
    finder = TransitionFinder()
    with VideoReader(video) as frames:
        for frame in frames:
            finder.add(frame.image, frame.time_s)
    return np.array(finder.finish().cuts_s)


def run_scenedetect(video: Path) -> np.ndarray:
    """Return the cuts of PySceneDetect with its usual detector, one thread."""
    import cv2
    from scenedetect import ContentDetector, detect

    cv2.setNumThreads(1)
    return np.array([scene[0].get_seconds() for scene in detect(str(video), ContentDetector())[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, help="folder to keep the video and the responses in")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        video = folder / "mostly_quiet.mp4"
        compare(video, build_hour(args.data, video, args.minutes), folder)


def compare(video: Path, changes: list[list[float]], folder: Path) -> None:
    """Print the time and the score of each way."""
    model = AutoModelForVideoClassification.from_pretrained(pretrained_path(DEFAULT_DETECTOR)).eval()
    extractor = AutoFeatureExtractor.from_pretrained(pretrained_path(DEFAULT_DETECTOR))
    shares = []

    def respond(name: str, **options: bool) -> np.ndarray:
        found = boundary_response(model, extractor, video, **options)
        np.savez(folder / f"{name}.npz", times_s=found.times_s, response=found.response)
        shares.append(np.isfinite(found.response).mean())
        return pick_boundaries(found, settle_threshold(model.config, None))

    ways = {
        "dense": lambda: respond("dense"),
        "coarse to fine": lambda: respond("coarse_to_fine", coarse_to_fine=True),
        "cuts in the pictures alone": lambda: find_cuts(video),
    }
    if find_spec("scenedetect"):
        ways["PySceneDetect"] = lambda: run_scenedetect(video)
    print("\n| | processor s | dense takes | encoded | found | right | F1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    dense_s = None
    for name, find in ways.items():
        shares.clear()
        began_s = time.process_time()
        found_s = find()
        spent_s = time.process_time() - began_s
        dense_s = dense_s or spent_s
        right = count_right(found_s, changes)
        f1 = 2 * right / max(len(found_s) + len(changes), 1)
        encoded = f"{100 * shares[0]:.1f} %" if shares else ""
        print(
            f"| {name} | {spent_s:.1f} | {dense_s / spent_s:.1f} x | {encoded} | {len(found_s)} | {right} "
            f"| {f1:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
