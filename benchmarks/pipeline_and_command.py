"""Measure a call of `pipeline("video-feature-extraction")` against what `bsp-hf extract` runs.

    python benchmarks/pipeline_and_command.py --videos a.mp4 b.mp4
    python benchmarks/pipeline_and_command.py --videos a.mp4 b.mp4 --neighbours 2

Both are set up and warm in one process and take turns on the same videos; each figure is the median of the
rounds. `--neighbours` processes count without end beside them.
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from transformers import AutoFeatureExtractor, AutoModel, pipeline

from bsp_hf import ExtractionEngine
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretrained import DEFAULT_ENCODER, pretrained_path


def measure(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default=pretrained_path(DEFAULT_ENCODER))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--neighbours", type=int, default=0, help="busy processes beside the measurement")
    args = parser.parse_args()
    keep_freed_memory()
    model = AutoModel.from_pretrained(args.model)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    extract = pipeline("video-feature-extraction", model=model, feature_extractor=extractor)
    engine = ExtractionEngine(model, extractor)
    single_float = ExtractionEngine(model, extractor, dtype="float32")
    paths = [str(path) for path in args.videos]
    runs = {
        "pipeline, one video": lambda: extract(paths[0]),
        "engine, one video": lambda: engine.extract(paths[0], video_id="a"),
        "engine in float32, one video": lambda: single_float.extract(paths[0], video_id="a"),
        "pipeline, all": lambda: extract(paths),
        "engine, all": lambda: [engine.extract(path, video_id="a") for path in paths],
        "engine in float32, all": lambda: [single_float.extract(path, video_id="a") for path in paths],
    }
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.neighbours)]
    try:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for round_number in range(args.repeats + 1):  # the first one warms up
            for name, run in runs.items():
                times = measure(run)
                if round_number:
                    found[name].append(times)
    finally:
        for process in busy:
            process.kill()
    print("| | wall s | processor s |\n| --- | --- | --- |")
    for name, times in found.items():
        wall_s, cpu_s = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} |")


if __name__ == "__main__":
    main()
