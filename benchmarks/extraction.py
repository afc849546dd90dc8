"""Measure video to features: ours, recipes that people use today, and what no recipe can beat.

    python benchmarks/extraction.py                       # ResNet-50 and -18, 2 threads, about 6 minutes
    python benchmarks/extraction.py --models resnet18 --frames 32 --repeats 1

The recipes take turns on one rendered 640x360 H.264 file; each figure is the median of the rounds. `CPU` is
processor time summed over all threads, which other work on the machine disturbs least. `overhead` is our CPU
time a frame over that of the encoder alone plus decoding and resizing alone.

Two recipes need `pip install decord opencv-python-headless`; without these they are left out.

The engine makes the process keep the memory that it frees; in this script, the peers gain by that as well.

Beside busy neighbours, parallel regions of the peers wait for each other and burn processor time: take
`--threads 1` there, whose CPU column compares the work itself.

Found on an AVX2 processor without bfloat16 (Zen 1, float32 peak of a convolution 40 GFLOP/s a core): its
multipliers are the limit, so plain eager ResNet-50 already runs at 0.7 of that. Channels last gains 6 %,
folding the batch norms 2-4 %, batches of 2 and 4 change nothing but the page faults (2, 7 and 11 % of the
time for 1, 2 and 4 snippets). Winograd's method is what helps: 1.4x on 3x3 convolutions of 64 channels, 2x
from 128 on, for a relative error of 1e-6; of ResNet-50 these are under half, of ResNet-18 nearly all. Weights
that are laid out once, with the sum and the ReLU in the same pass, take 10 % off ResNet-50 and nothing off
ResNet-18; memory that is kept takes 4 to 7 % off ResNet-50 with two threads. oneDNN in place of MKL for the
products of Winograd's method changed nothing.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from extraction_peers import NEEDS_PACKAGES, PEERS, SNIPPET, PublishedTSM, write_video

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel, ExtractionEngine
from bsp_hf.encoder.video_snippets import VideoSnippets, encode_clips, to_pixel_values
from bsp_hf.features.inference_model import has_fast_bfloat16
from bsp_hf.pretraining.rendered_motions import MOTION_NAMES, Stretch
from bsp_hf.pretraining.rendered_scenes import render_shot

FPS, SIZE, SECONDS = 30, (640, 360), 10
FIRST_PEER = "mmaction2-like"


@dataclass
class Figures:
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rows: np.ndarray | None = None


def render(path: Path) -> None:
    """Shots of two and a half seconds with moving shapes, and a grain that makes x264 work as film does."""
    rng = np.random.default_rng(0)
    grain = rng.integers(-3, 4, (8, SIZE[1], SIZE[0], 1), dtype=np.int16)
    shot_frames = FPS * 5 // 2

    def frames():
        for shot in range(SECONDS * FPS // shot_frames):
            stretch = Stretch(MOTION_NAMES[shot % len(MOTION_NAMES)], shot_frames)
            images = render_shot([stretch], [0, shot], width=SIZE[0], height=SIZE[1], fps=FPS)
            for k, image in enumerate(images):
                yield np.clip(image + grain[k % 8], 0, 255).astype(np.uint8)

    write_video(path, frames(), FPS)


def measure(job: Callable[[], np.ndarray | None], figures: Figures) -> None:
    began, began_s = os.times(), time.perf_counter()
    rows = job()
    figures.wall_s.append(time.perf_counter() - began_s)
    ended = os.times()
    figures.cpu_s.append(ended.user - began.user + ended.system - began.system)
    figures.rows = rows


def make_jobs(name: str, path: Path, num_frames: int, threads: int) -> dict[str, Callable]:
    torch.manual_seed(0)
    model = BSPModel(BSPConfig.from_backbone_name(name)).eval()
    extractor = BSPFeatureExtractor()
    end_s = (num_frames - 0.5) / FPS
    has_bf16 = has_fast_bfloat16(torch.device("cpu"))
    jobs: dict[str, Callable] = {}

    def add_peer(label: str, recipe: Callable, network: PublishedTSM) -> None:
        missing = [package for package in NEEDS_PACKAGES.get(label, ()) if find_spec(package) is None]
        if missing:
            print(f"{label}: not run, it needs {', '.join(missing)} (see --help)")
            return
        suffix = " bf16" if next(network.parameters()).dtype == torch.bfloat16 else ""
        jobs[label + suffix] = lambda: recipe(network, path, num_frames)

    for label, recipe in PEERS.items():
        add_peer(label, recipe, PublishedTSM(model))
    if has_bf16:
        cast = PublishedTSM(BSPModel(model.config).eval())
        cast.load_state_dict(PublishedTSM(model).state_dict())
        add_peer(FIRST_PEER, PEERS[FIRST_PEER], cast.bfloat16())
    for dtype in ("float32", "bfloat16") if has_bf16 else ("float32",):
        engine = ExtractionEngine(model, extractor, dtype=dtype, num_threads=threads)
        jobs[f"ours {dtype}"] = lambda engine=engine: engine.extract(path, video_id="v", end_s=end_s).features

        def encoder_alone(engine: ExtractionEngine = engine) -> None:
            images = torch.zeros(SNIPPET, 224, 224, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
            clips = to_pixel_values(extractor, [list(images)] * engine.batch_size).normal_()
            with torch.inference_mode():
                for _ in range(0, num_frames, SNIPPET * engine.batch_size):
                    encode_clips(engine._model, clips)

        jobs[f"encoder alone {dtype}"] = encoder_alone

    def decode_alone() -> None:
        for _ in VideoSnippets(path, extractor, model.config, end_s=end_s):
            pass

    jobs["decode and resize alone"] = decode_alone
    return jobs


def run_model(name: str, path: Path, num_frames: int, threads: int, repeats: int) -> None:
    jobs = make_jobs(name, path, num_frames, threads)
    figures = {label: Figures() for label in jobs}
    for _ in range(repeats):
        for label, job in jobs.items():
            # What has no threads of its own is measured on one core, as a worker of ours runs it.
            torch.set_num_threads(1 if "alone" in label else threads)
            measure(job, figures[label])
    wall = {label: statistics.median(f.wall_s) for label, f in figures.items()}
    cpu = {label: statistics.median(f.cpu_s) for label, f in figures.items()}
    reference = FIRST_PEER if FIRST_PEER in jobs else next(iter(jobs))
    print(f"\n{name}, {num_frames} frames of 640x360, {threads} threads, median of {repeats}\n")
    print(f"| recipe | frames/s | wall ms/frame | CPU ms/frame | wall, x {reference} | CPU, x {reference} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for label in jobs:
        per_frame = 1000 / num_frames
        print(
            f"| {label}{' (1 thread)' if 'alone' in label else ''} | {num_frames / wall[label]:.1f} "
            f"| {wall[label] * per_frame:.1f} | {cpu[label] * per_frame:.1f} "
            f"| {wall[reference] / wall[label]:.2f} | {cpu[reference] / cpu[label]:.2f} |"
        )
    for dtype in ("float32", "bfloat16"):
        if f"ours {dtype}" in jobs:
            bound = cpu[f"encoder alone {dtype}"] + cpu["decode and resize alone"]
            print(f"\noverhead {dtype}: {cpu[f'ours {dtype}'] / bound:.3f} (CPU over the sum of the bounds)")
    ours = figures["ours float32"].rows
    for label, f in figures.items():
        if f.rows is not None:
            cosines = (f.rows * ours).sum(1) / np.linalg.norm(f.rows, axis=1) / np.linalg.norm(ours, axis=1)
            print(f"least cosine of a row to ours in float32: {label} {cosines.min():.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet50", "resnet18"])
    parser.add_argument("--frames", type=int, default=96, help="frames of the file that are used")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.frames % (2 * SNIPPET) or args.frames > SECONDS * FPS:
        parser.error(f"--frames must be a multiple of {2 * SNIPPET}, at most {SECONDS * FPS}")
    if not has_fast_bfloat16(torch.device("cpu")):
        print("no bf16 in hardware: not run")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        render(path)
        for name in args.models:
            run_model(name, path, args.frames, args.threads, args.repeats)


if __name__ == "__main__":
    main()
