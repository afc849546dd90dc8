"""Extraction and pre-training on a GPU: frames and clips a second, waiting, processor cores and memory.

    python benchmarks/gpu.py                                   # of benchmarks/gpu.sh, behind the tests
    python benchmarks/gpu.py --device cpu --backbone resnet18 --seconds 1 --steps 2 --batch 2 --num_workers 0

Extraction: rendered H.264 files at 640x360 and 1920x1080, several at a time through one engine, decoded by
the processor. Decoding by the GPU is not built. Waiting is the share of the threads' time without frames.
Pre-training: clips of 8 frames of 224 pixels from a prepared store of a short side of 256, normalised on the
device, forward, backward and SGD in bfloat16; waiting is the share of the time that the loop waits for clips.
"""

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from extraction_peers import write_video
from prepared_store import make_clips, render_originals
from torch.utils.data import DataLoader, RandomSampler

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPForBoundaryClassification, BSPModel, ExtractionEngine
from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretraining.preparation.job import prepare_videos
from bsp_hf.pretraining.preparation.settings import PreparationSettings
from bsp_hf.pretraining.sources import scan_video_folder

FPS, SIZES = 30, ((640, 360), (1920, 1080))
SHORT_SIDE, CROP = 256, 224


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that the clock sees its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> str:
    """Return the most memory of the device so far, and begin anew."""
    if device.type != "cuda":
        return ""
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return f"{peak / 2**30:.1f}"


def render(path: Path, size: tuple[int, int], seconds: int) -> None:
    """A texture that drifts, with a grain that makes the coder work as film does."""
    rng = np.random.default_rng(0)
    width, height = size
    texture = rng.integers(0, 256, (height // 40, width // 40, 3)).repeat(40, 0).repeat(40, 1)
    grain = rng.integers(-3, 4, (8, *texture.shape))

    def frames() -> Iterator[np.ndarray]:
        for k in range(seconds * FPS):
            yield np.clip(np.roll(texture, 3 * k, 1) + grain[k % 8], 0, 255).astype(np.uint8)

    write_video(path, frames(), FPS)


def measure_extraction(args: argparse.Namespace, folder: Path) -> None:
    """Print frames a second of one engine that several videos share."""
    torch.manual_seed(0)
    model = BSPModel(BSPConfig.from_backbone_name(args.backbone)).eval()
    threads = max(1, (os.cpu_count() or 1) // args.videos)
    engine = ExtractionEngine(model, BSPFeatureExtractor(), device=args.device, num_threads=threads)
    print(f"\n{args.backbone}, {engine.dtype}, {args.videos} videos at a time, {threads} threads each\n")
    print(
        "| file, decoded by the processor | frames a second | waiting | cores used | peak GiB of the device |"
    )
    print("| --- | --- | --- | --- | --- |")
    for size in SIZES:
        path = folder / f"{size[1]}.mp4"
        render(path, size, args.seconds)
        waiting: dict[str, float] = {}

        def extract(name: str, path: Path = path, waiting: dict[str, float] = waiting) -> None:
            engine.extract(path, video_id=name, progress=lambda p: waiting.__setitem__(name, p.waiting_share))

        extract("first")  # loads kernels
        waiting.clear()
        peak_memory(engine.device)
        jobs = [threading.Thread(target=extract, args=(str(k),)) for k in range(args.videos)]
        began_s, spent_s = time.perf_counter(), time.process_time()
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        synchronize(engine.device)
        wall_s, spent_s = time.perf_counter() - began_s, time.process_time() - spent_s
        share = np.mean(list(waiting.values()))
        print(
            f"| {size[0]}x{size[1]} | {args.videos * args.seconds * FPS / wall_s:.0f} "
            f"| {share:.2f} | {spent_s / wall_s:.1f} | {peak_memory(engine.device)} |",
            flush=True,
        )


def measure_training(args: argparse.Namespace, folder: Path) -> None:
    """Print clips a second from a prepared store, and of the network alone."""
    device = torch.device(args.device)
    render_originals(folder / "originals", 4, SIZES[0])
    settings = PreparationSettings(form="mp4", short_side=SHORT_SIDE, num_workers=0)
    prepare_videos(
        scan_video_folder(folder / "originals"), folder / "store", settings, root=folder / "originals"
    )
    clips = make_clips(folder / "store", CROP, True, short_side=SHORT_SIDE)
    torch.manual_seed(0)
    config = BSPConfig.from_backbone_name(args.backbone, num_labels=4)
    model = to_channels_last(BSPForBoundaryClassification(config).train()).to(device)
    run = torch.compile(model) if args.compile else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(pixels: torch.Tensor, labels: torch.Tensor) -> None:
        pixels = clips.extractor.normalize_pixels(pixels.to(device, non_blocking=True)[:, :8])
        with torch.autocast(device.type, torch.bfloat16):
            loss = F.cross_entropy(run(pixels).logits, labels.to(device, non_blocking=True))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    sampler = RandomSampler(clips, replacement=True, num_samples=(args.steps + 3) * args.batch)
    loader = iter(
        DataLoader(
            clips, args.batch, sampler=sampler, num_workers=args.num_workers, pin_memory=device.type == "cuda"
        )
    )
    batch = next(loader)
    for _ in range(2):
        step(batch["pixels"], batch["labels"])
        batch = next(loader)
    form = "compiled" if args.compile else "eager"
    print(f"\n{args.backbone}, {form}, bfloat16, batches of {args.batch} clips\n")
    print("| clips of 8 frames of 224 pixels | clips a second | waiting | peak GiB of the device |")
    print("| --- | --- | --- | --- |")
    for name in ("the network alone", "from the prepared store"):
        synchronize(device)
        peak_memory(device)
        began_s, waited_s = time.perf_counter(), 0.0
        for _ in range(args.steps):
            step(batch["pixels"], batch["labels"])
            if name.startswith("from"):
                synchronize(device)
                asked_s = time.perf_counter()
                batch = next(loader)
                waited_s += time.perf_counter() - asked_s
        synchronize(device)
        wall_s = time.perf_counter() - began_s
        rate = args.steps * args.batch / wall_s
        print(f"| {name} | {rate:.1f} | {waited_s / wall_s:.2f} | {peak_memory(device)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--seconds", type=int, default=20, help="of each rendered file")
    parser.add_argument("--videos", type=int, default=4, help="extracted at a time")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64, help="clips of a training step")
    parser.add_argument("--num_workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    if args.device.startswith("cuda"):
        print(torch.cuda.get_device_name(args.device), f"and {os.cpu_count()} cores of the processor")
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(KeyboardInterrupt):
        measure_extraction(args, Path(scratch))
        measure_training(args, Path(scratch))


if __name__ == "__main__":
    main()
