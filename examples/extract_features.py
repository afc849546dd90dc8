"""Extract snippet features of many videos on all processes that Accelerate launches, into one folder.

    python examples/extract_features.py --videos clips/ --model bsp-tsm-r50 --output features/
    accelerate launch --num_processes 4 examples/extract_features.py --videos clips/ --model bsp-tsm-r50 \
        --output features/
    accelerate launch --num_machines 2 --machine_rank 0 ... examples/extract_features.py ...

Each process takes its share of the list and its own device. Stopped at any moment and started again, with
any number of processes, it goes on where it was; what is finished does not depend on that. Without --videos,
a few clips are rendered and their features extracted: some seconds on a laptop.

Ends with status 0 if every video is done, 1 if some failed (`failures.csv` says which and why), 2 if nothing
is done.
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import logging
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from bsp_hf import extract_features
from bsp_hf.features import ExtractionSettings, read_tracks
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretraining.rendering.clips import render_action_clips
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings
from bsp_hf.training.options import option

logger = logging.getLogger("extract_features")


@dataclass(frozen=True, kw_only=True)
class Settings(ExtractionSettings):
    """What `bsp-hf extract` can be asked for, but for what Accelerate decides."""

    videos: list[str] | None = option(None, "folders, files, patterns, lists, tables, archives or addresses")
    model: str = option(help_text="folder or Hub id of an encoder")
    output: Path = option(help_text="folder, or a name that ends in .h5 for one file of all")
    device: str | None = field(default=None, metadata={"option": False})


def main() -> int:
    settings = parse_settings(Settings, description=__doc__)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    keep_freed_memory()
    # Shares of a list of videos take different times: wait for the slowest, however long.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU", default=not torch.accelerator.is_available())
    state = PartialState(cpu=use_cpu, timeout=timedelta(days=30))
    videos = settings.videos
    if videos is None:
        with state.main_process_first():
            videos = [render_action_clips(num_clips_per_class=1, num_held_out_per_class=0)]
    shard = (state.process_index, state.num_processes)
    with exit_on_mistakes():
        report = extract_features(
            videos,
            settings.model,
            settings.output,
            settings=replace(settings, device=str(state.device), shard=shard),
            show_progress=state.is_local_main_process,
        )
    logger.info("process %d: %s", state.process_index, report)
    state.wait_for_everyone()
    if state.num_processes == 1:
        return report.exit_status
    # One process speaks for all: a launcher that sees a process fail would end the rest.
    if not state.is_main_process or not report.failures_file.exists():
        return 0
    has_some = settings.output.exists() and any(True for _ in read_tracks(settings.output))
    return 1 if has_some else 2


if __name__ == "__main__":
    sys.exit(main())
