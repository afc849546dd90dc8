"""Measure video to features: ours, recipes that people use today, and what no recipe can beat.

    python benchmarks/extraction.py                       # ResNet-50 and -18, 2 threads, about 6 minutes
    python benchmarks/extraction.py --models resnet18 --frames 32 --repeats 1

The recipes, each in a process of its own, take turns on one rendered 640x360 H.264 file; each figure is the
median of the rounds. `CPU` is processor time summed over all threads, which other work on the machine
disturbs least. `overhead` is our CPU time a frame over that of the encoder alone plus decoding and resizing
alone.

Two recipes need `pip install decord opencv-python-headless`; without these they are left out.

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

Found on a processor with AMX (Sapphire Rapids, float32 peak of a product 163 GFLOP/s a core): oneDNN's 3x3
convolutions run at that peak, so Winograd's method would gain 1.2 to 1.6x from 128 channels on and lose at
64; it stays off, because where MKL's products are slow (AVX-512 of other makers) it would lose everywhere.
Fresh memory is what is dear there, 2 microseconds a page of 4 KiB: keeping it takes 28 % off the
mmaction2-like recipe. In bfloat16 four fifths of the encoder's time are convolutions and a seventh is the
shift, which is memory traffic: five ways to write it take the same time within 5 %. oneDNN's int8
convolutions take 0.54 of the time of those in bfloat16 on the shapes of ResNet-50; they are not used.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from extraction_peers import NEEDS_PACKAGES, PEERS, SNIPPET, PublishedTSM, write_video

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel, ExtractionEngine
from bsp_hf.encoder.video_snippets import VideoSnippets, encode_clips, to_pixel_values
from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretraining.rendering.motions import MOTION_NAMES, Stretch
from bsp_hf.pretraining.rendering.scenes import render_shot

FPS, SIZE, SECONDS = 30, (640, 360), 10
FIRST_PEER = "mmaction2-like"
DECODE_ALONE = "decode and resize alone"
# Threads of OpenMP go on spinning for a while after their work.
PAUSE_S = 0.5


@dataclass(frozen=True)
class Recipe:
    """What a process runs; it is built there, from the same seed everywhere."""

    kind: str  # a peer's name, "ours", "encoder alone" or DECODE_ALONE
    dtype: str
    backbone: str
    path: Path
    num_frames: int
    threads: int

    @property
    def label(self) -> str:
        if self.kind == DECODE_ALONE or (self.kind in PEERS and self.dtype == "float32"):
            return self.kind
        return f"{self.kind} {self.dtype}"

    def build(self) -> Callable[[], np.ndarray | None]:
        torch.manual_seed(0)
        model = BSPModel(BSPConfig.from_backbone_name(self.backbone)).eval()
        extractor = BSPFeatureExtractor()
        # What has no threads of its own is measured on one core, as a worker of ours runs it.
        torch.set_num_threads(1 if self.kind.endswith("alone") else self.threads)
        end_s = (self.num_frames - 0.5) / FPS
        if self.kind in PEERS:
            network = PublishedTSM(model).to(getattr(torch, self.dtype))
            return lambda: PEERS[self.kind](network, self.path, self.num_frames)
        if self.kind == DECODE_ALONE:

            def decode_alone() -> None:
                for _ in VideoSnippets(self.path, extractor, model.config, end_s=end_s):
                    pass

            return decode_alone
        keep_freed_memory()  # as the command does
        engine = ExtractionEngine(model, extractor, dtype=self.dtype, num_threads=self.threads)
        if self.kind == "ours":
            return lambda: engine.extract(self.path, video_id="v", end_s=end_s).features

        def encoder_alone() -> None:
            images = torch.zeros(SNIPPET, 224, 224, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
            clips = to_pixel_values(extractor, [list(images)] * engine.batch_size).normal_()
            with torch.inference_mode():
                for _ in range(0, self.num_frames, SNIPPET * engine.batch_size):
                    encode_clips(engine._model, clips)

        return encoder_alone


class RecipeProcess:
    """A process that runs one recipe whenever it is told to."""

    def __init__(self, recipe: Recipe) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        self.rows: np.ndarray | None = None
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(recipe, other_end), daemon=True)
        self._process.start()
        other_end.close()  # so that its failure ends the connection
        self._connection.recv()

    def run(self) -> None:
        time.sleep(PAUSE_S)
        self._connection.send(True)
        wall_s, cpu_s, self.rows = self._connection.recv()
        self.wall_s.append(wall_s)
        self.cpu_s.append(cpu_s)

    def stop(self) -> None:
        self._connection.send(False)
        self._process.join()


def _serve(recipe: Recipe, connection: Connection) -> None:
    job = recipe.build()
    connection.send("ready")
    while connection.recv():
        began, began_s = os.times(), time.perf_counter()
        rows = job()
        wall_s, ended = time.perf_counter() - began_s, os.times()
        connection.send((wall_s, ended.user - began.user + ended.system - began.system, rows))


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


def choose_recipes() -> list[tuple[str, str]]:
    """Kinds and number types of what can run here."""
    chosen = []
    for label in PEERS:
        missing = [package for package in NEEDS_PACKAGES.get(label, ()) if find_spec(package) is None]
        if missing:
            print(f"{label}: not run, it needs {', '.join(missing)} (see --help)")
        else:
            chosen.append((label, "float32"))
    dtypes = ["float32"]
    if has_fast_bfloat16(torch.device("cpu")):
        dtypes.append("bfloat16")
        if (FIRST_PEER, "float32") in chosen:
            chosen.append((FIRST_PEER, "bfloat16"))
    else:
        print("no bf16 in hardware: not run")
    chosen += [(kind, dtype) for dtype in dtypes for kind in ("ours", "encoder alone")]
    return [*chosen, (DECODE_ALONE, "uint8")]


def run_model(recipes: list[Recipe], repeats: int) -> None:
    processes = {recipe.label: RecipeProcess(recipe) for recipe in recipes}
    for _ in range(repeats):
        for process in processes.values():
            process.run()
    for process in processes.values():
        process.stop()
    wall = {label: statistics.median(process.wall_s) for label, process in processes.items()}
    cpu = {label: statistics.median(process.cpu_s) for label, process in processes.items()}
    reference = FIRST_PEER if FIRST_PEER in processes else next(iter(processes))
    backbone, num_frames, threads = recipes[0].backbone, recipes[0].num_frames, recipes[0].threads
    print(f"\n{backbone}, {num_frames} frames of 640x360, {threads} threads, median of {repeats}\n")
    print(f"| recipe | frames/s | wall ms/frame | CPU ms/frame | wall, x {reference} | CPU, x {reference} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for label in processes:
        per_frame = 1000 / num_frames
        print(
            f"| {label}{' (1 thread)' if 'alone' in label else ''} | {num_frames / wall[label]:.1f} "
            f"| {wall[label] * per_frame:.1f} | {cpu[label] * per_frame:.1f} "
            f"| {wall[reference] / wall[label]:.2f} | {cpu[reference] / cpu[label]:.2f} |"
        )
    for dtype in ("float32", "bfloat16"):
        if f"ours {dtype}" in processes:
            bound = cpu[f"encoder alone {dtype}"] + cpu[DECODE_ALONE]
            print(f"\noverhead {dtype}: {cpu[f'ours {dtype}'] / bound:.3f} (CPU over the sum of the bounds)")
    ours = processes["ours float32"].rows
    for label, process in processes.items():
        rows = process.rows
        if rows is not None:
            cosines = (rows * ours).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(ours, axis=1)
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        render(path)
        chosen = choose_recipes()
        for name in args.models:
            recipes = [Recipe(*kind, name, path, args.frames, args.threads) for kind in chosen]
            run_model(recipes, args.repeats)


if __name__ == "__main__":
    main()
