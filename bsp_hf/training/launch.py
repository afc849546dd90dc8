"""Accelerate as a training's settings and accelerate's own configuration ask for it."""

import logging
import os
import sys
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import set_seed

from bsp_hf.malloc import keep_freed_memory


class LaunchSettings(Protocol):
    """The settings of any training script that accelerate needs to know."""

    cpu: bool
    mixed_precision: str | None
    gradient_accumulation_steps: int | None
    seed: int


def start_accelerator(
    settings: LaunchSettings, script: str, **options: Any
) -> Accelerator:  # Any: of Accelerator
    """Set up processes, precision, seeds, and logging of the package and the script, by the main process.

    Accelerate's launcher, configuration file or environment decide what the settings leave open; afterwards
    the settings hold what is in effect. The process keeps the memory that it frees.
    """
    keep_freed_memory()
    given = settings.gradient_accumulation_steps
    accelerator = Accelerator(
        cpu=settings.cpu,
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=given or 1,
        **options,
    )
    if given is not None:  # the environment may have set another number
        accelerator.gradient_accumulation_steps = given
    settings.gradient_accumulation_steps = accelerator.gradient_accumulation_steps
    settings.mixed_precision = accelerator.mixed_precision
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        # Accelerate would train in float32 without a word.
        raise ValueError("mixed_precision fp16 needs a GPU; on a processor, choose bf16 or no.")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level="WARNING")
    for name in (script, "bsp_hf"):
        logging.getLogger(name).setLevel("INFO" if accelerator.is_main_process else "WARNING")
    set_seed(settings.seed)
    return accelerator


def end_training(accelerator: Accelerator) -> None:
    """End a run on every process, once the main one has saved; of several processes, none returns."""
    if accelerator.num_processes == 1:
        accelerator.end_training()
        return
    accelerator.wait_for_everyone()
    for tracker in accelerator.trackers:
        tracker.finish()
    # Not through the destructors: that of gloo's group holds Python's lock while it waits for its threads,
    # one of which may need the lock to free what was gathered last. On a busy machine, some runs never ended.
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
