"""How the cost of extracting a folder grows with the number of its videos.

    python benchmarks/growth.py                           # 1, 10, 100 and 1,000 videos, about a minute
    python benchmarks/growth.py --videos 10 10000

Each job runs in a process of its own, on links to one video of two seconds at 64 x 48, with a tiny encoder.
Prints seconds of processor and peak memory, and what one video more costs from row to row. How cost grows
with the length of a video: `benchmarks/memory.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from extraction_peers import write_video
from memory import forget_peak, peak_bytes

FPS, SECONDS = 25, 2


def run(videos: Path, output: Path) -> None:
    """Run in the child: extract and print what it took."""
    import torch
    from transformers import ResNetConfig

    from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel
    from bsp_hf.features import extract_features
    from bsp_hf.malloc import keep_freed_memory

    keep_freed_memory()  # as the command does
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    model = BSPModel(BSPConfig(backbone_config=backbone)).eval()
    forget_peak()
    began = os.times()
    report = extract_features(
        videos, model, output, extractor=BSPFeatureExtractor(**size), dtype="float32", show_progress=False
    )
    ended = os.times()
    spent_s = sum(ended[:4]) - sum(began[:4])
    print(json.dumps({"done": len(report.done), "spent_s": spent_s, "peak": peak_bytes()}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        run(*args.child)
        return
    measured = []
    print("| videos | processor s | peak MB |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        video = Path(scratch) / "video.mp4"
        rng = np.random.default_rng(0)
        write_video(video, (rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(FPS * SECONDS)), FPS)
        for count in args.videos:
            folder = Path(scratch) / f"videos-{count}"
            folder.mkdir()
            for number in range(count):
                os.link(video, folder / f"{number}.mp4")
            command = [sys.executable, __file__, "--child", str(folder), str(Path(scratch) / f"out-{count}")]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(printed.splitlines()[-1])
            if found["done"] != count:
                raise SystemExit(f"{found['done']} of {count} videos were extracted.")
            measured.append((count, found["spent_s"], found["peak"]))
            print(f"| {count} | {found['spent_s']:.2f} | {found['peak'] / 1e6:.1f} |", flush=True)
    print("\n| from .. to videos | processor ms for one more | bytes for one more |\n| --- | --- | --- |")
    for (few, few_s, few_bytes), (many, many_s, many_bytes) in pairwise(measured):
        each_ms, each_bytes = 1e3 * (many_s - few_s) / (many - few), (many_bytes - few_bytes) / (many - few)
        print(f"| {few} .. {many} | {each_ms:.2f} | {each_bytes:.0f} |")


if __name__ == "__main__":
    main()
