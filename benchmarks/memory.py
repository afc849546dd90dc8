"""Measure the peak memory of extracting a one-minute and a sixty-minute video with a tiny encoder.

    python benchmarks/memory.py                           # about 4 minutes
    python benchmarks/memory.py --minutes 1 5
    python benchmarks/memory.py --minutes 60 240 --localize   # boundaries, coarse to fine; a quiet video

Each runs in a process of its own. The growth that is allowed is that of the features, or of the response,
itself. Prints seconds of processor, too.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FPS, SIZE = 15, (160, 120)
LARGEST_RATIO = 1.05


def render(path: Path, minutes: int, is_quiet: bool) -> None:
    """A texture that drifts, so that every frame differs and none takes long to code; or a jump a minute."""
    from extraction_peers import write_video

    texture = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(texture, SIZE[1] // 15, 0), SIZE[0] // 20, 1)
    step = 60 * FPS if is_quiet else 1
    write_video(
        path, (np.roll(picture, 7 * (k // step) % SIZE[0], 1) for k in range(minutes * 60 * FPS)), FPS
    )


def peak_bytes() -> int:
    """Peak resident memory of this process alone; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def forget_peak() -> None:
    """Begin anew (on Linux), so that what setting up took cannot hide what the video takes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def run(path: Path, threads: int, localizes: bool) -> None:
    """Run in the child: extract or localize, and print what it took."""
    import torch
    from transformers import ResNetConfig

    from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPForBoundaryClassification, ExtractionEngine
    from bsp_hf.localization.boundaries.response import boundary_response
    from bsp_hf.malloc import keep_freed_memory

    keep_freed_memory()  # as the command does
    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32, 48], depths=[1, 1, 1, 1], layer_type="basic"
    )
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, num_frames=8
    )
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone)).eval()
    engine = ExtractionEngine(model, extractor, dtype="float32", num_threads=threads)
    torch.set_num_threads(threads)
    forget_peak()
    before, began_s = peak_bytes(), time.process_time()
    if localizes:
        found = boundary_response(model, extractor, path, coarse_to_fine=True)
        result = found.times_s.nbytes + found.probabilities.nbytes + found.response.nbytes
    else:
        result = engine.extract(path, video_id="v").features.nbytes
    spent_s = time.process_time() - began_s
    print(json.dumps({"before": before, "peak": peak_bytes(), "result": result, "spent_s": spent_s}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", nargs=2, type=int, default=[1, 60], metavar=("SHORT", "LONG"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--localize", action="store_true", help="find boundaries, coarse to fine")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        run(args.child, args.threads, args.localize)
        return
    print("| minutes | peak MB | of it before the video | result MB | without it MB | processor s a minute |")
    print("| --- | --- | --- | --- | --- | --- |")
    needed = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            path = Path(folder) / f"{minutes}.mp4"
            render(path, minutes, args.localize)
            command = [sys.executable, __file__, "--child", str(path), "--threads", str(args.threads)]
            command += ["--localize"] if args.localize else []
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured = json.loads(printed)
            peak, before, result = (measured[name] for name in ("peak", "before", "result"))
            needed.append(peak - result)
            megabytes = [f"{value / 1e6:.1f}" for value in (peak, before, result, peak - result)]
            print(
                f"| {minutes} | {' | '.join(megabytes)} | {measured['spent_s'] / minutes:.3f} |", flush=True
            )
    ratio = needed[1] / needed[0]
    print(
        f"\n{args.minutes[1]} minutes take {ratio:.3f} x the memory of {args.minutes[0]}, the result aside "
        f"(at most {LARGEST_RATIO} is the aim)"
    )
    sys.exit(ratio > LARGEST_RATIO)


if __name__ == "__main__":
    main()
