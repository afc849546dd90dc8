"""Extract snippet features of many videos on all processes that Accelerate launches, into one folder.

    python examples/extract_features.py --videos clips/ --model bsp-tsm-r50 --output_dir features/
    accelerate launch --num_processes 4 examples/extract_features.py --videos clips/ --model bsp-tsm-r50 \
        --output_dir features/
    accelerate launch --num_machines 2 --machine_rank 0 ... examples/extract_features.py ...

Each process takes its share of the list and its own device. Stopped at any moment and started again, with
any number of processes, it goes on where it was; what is finished does not depend on that. Without --videos,
a few clips are rendered and their features extracted: some seconds on a laptop.

Ends with status 0 if every video is done, 1 if some failed (`failures.csv` says which and why), 2 if nothing
is done.
"""

import argparse
import logging
import sys
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from bsp_hf import extract_features
from bsp_hf.features import read_tracks
from bsp_hf.pretraining.rendering.clips import render_action_clips

logger = logging.getLogger("extract_features")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--videos", nargs="+", help="folders, files, patterns, lists, tables, archives or addresses"
    )
    parser.add_argument("--model", required=True, help="folder or Hub id of an encoder")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--file_format", default="npy", help="npy, npz, h5, pt, csv, safetensors or arrow")
    parser.add_argument("--stride_frames", type=int, help="frames from one snippet to the next")
    parser.add_argument("--fps", type=float, help="frame rate to resample to")
    parser.add_argument("--padding", choices=("repeat", "drop"), help="of a last snippet that is not full")
    parser.add_argument("--rescale_to", type=int, help="rows that every track is interpolated to")
    parser.add_argument("--keep_partial", action="store_true", help="write what damaged videos give")
    parser.add_argument("--overwrite", action="store_true", help="delete features made differently")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, ...")
    parser.add_argument("--batch_size", type=int, help="snippets that go through together")
    parser.add_argument("--num_workers", type=int, default=0, help="child processes of each process")
    parser.add_argument("--timeout_s", type=float, default=60.0, help="after which a silent file is left")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Shares of a list of videos take different times: wait for the slowest, however long.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU", default=not torch.accelerator.is_available())
    state = PartialState(cpu=use_cpu, timeout=timedelta(days=30))
    if args.videos is None:
        with state.main_process_first():
            args.videos = [render_action_clips(num_clips_per_class=1, num_held_out_per_class=0)]

    report = extract_features(
        args.videos,
        args.model,
        args.output_dir,
        file_format=args.file_format,
        stride_frames=args.stride_frames,
        fps=args.fps,
        padding=args.padding,
        rescale_to=args.rescale_to,
        keep_partial=args.keep_partial,
        dtype=args.dtype,
        device=str(state.device),
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        shard=(state.process_index, state.num_processes),
        timeout_s=args.timeout_s,
        overwrite=args.overwrite,
        show_progress=state.is_local_main_process,
    )
    logger.info("process %d: %s", state.process_index, report)
    state.wait_for_everyone()
    if state.num_processes == 1:
        return report.exit_status
    # One process speaks for all: a launcher that sees a process fail would end the rest.
    if not state.is_main_process or not (args.output_dir / "failures.csv").exists():
        return 0
    return 1 if any(True for _ in read_tracks(args.output_dir)) else 2


if __name__ == "__main__":
    sys.exit(main())
