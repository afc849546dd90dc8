"""Where the processor time of extracting features with the packaged small encoder goes, at 640x360.

    python benchmarks/packaged_speed.py                   # about a minute
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/packaged_speed.py  # no AVX-512

One thread, the file of `benchmarks/extraction.py`, snippets side by side. Milliseconds of processor a frame,
the least of the rounds, and how many times as fast as the video is shown (25 frames a second) two cores are.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from extraction import render
from transformers import AutoFeatureExtractor, AutoModel

from bsp_hf import ExtractionEngine, VideoReader, pretrained_path
from bsp_hf.encoder.video_file import VideoFile
from bsp_hf.encoder.video_snippets import VideoSnippets
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretrained import DEFAULT_DETECTOR

SHOWN_FPS, CORES = 25, 2


def decode(path: Path) -> None:
    """Decode, and convert nothing."""
    with VideoFile(path, 1, 60.0) as file:
        for _ in file.pictures():
            pass


def convert(path: Path) -> None:
    """Decode and convert to RGB."""
    with VideoReader(path) as frames:
        for _ in frames:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=pretrained_path(DEFAULT_DETECTOR))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model, extractor = AutoModel.from_pretrained(args.model), AutoFeatureExtractor.from_pretrained(args.model)
    engine = ExtractionEngine(model, extractor, num_threads=1)
    print(
        f"processor of {torch.backends.cpu.get_cpu_capability()}, {engine.dtype}, batch {engine.batch_size}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        render(path)
        with VideoReader(path) as frames:
            num_frames = sum(1 for _ in frames)

        def resize() -> None:
            for _ in VideoSnippets(path, extractor, model.config):
                pass

        ways: dict[str, Callable[[], object]] = {
            "decode": lambda: decode(path),
            "and convert to RGB": lambda: convert(path),
            "and resize": resize,
            "and encode: all": lambda: engine.extract(path, video_id="v"),
        }
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(args.rounds):
            for name, run in ways.items():
                began_s = time.process_time()
                run()
                least[name] = min(least[name], (time.process_time() - began_s) / num_frames)
    print(f"| up to | ms a frame | of it this step | x real time on {CORES} cores |")
    print("| --- | --- | --- | --- |")
    before_s = 0.0
    for name, spent_s in least.items():
        rate = CORES / (spent_s * SHOWN_FPS)
        print(f"| {name} | {1e3 * spent_s:.2f} | {1e3 * (spent_s - before_s):.2f} | {rate:.0f} |")
        before_s = spent_s


if __name__ == "__main__":
    main()
