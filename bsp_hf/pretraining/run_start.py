"""How a pre-training script starts, from its command line: processes, seed, logs, the number of steps."""

import argparse
import logging
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import set_seed


@dataclass(frozen=True)
class RunSteps:
    """How many optimizer steps a run takes.

    Args:
        total (`int`): Of the whole run.
        per_epoch (`int`): Of an epoch.
        warmup (`int`): Over which the learning rate rises.
    """

    total: int
    per_epoch: int
    warmup: int


def start_accelerator(args: argparse.Namespace, script: str, project: str) -> Accelerator:
    """Set up processes, logging, seeds and trackers.

    Args:
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed.
        script (`str`): Name of the script's own logger; it and this package's are heard from one process.
        project (`str`): Name under which trackers keep the run.

    Returns:
        `Accelerator`: Ready to prepare the model.
    """
    accelerator = Accelerator(
        cpu=args.cpu,
        mixed_precision=args.mixed_precision,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        log_with=args.report_to or None,
        project_dir=args.output_dir,
    )
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level="WARNING")
    for name in (script, "bsp_hf"):
        logging.getLogger(name).setLevel("INFO" if accelerator.is_main_process else "WARNING")
    set_seed(args.seed)
    if args.report_to:
        config = {name: str(value) for name, value in vars(args).items()}
        accelerator.init_trackers(project, config=config)
    return accelerator


def count_steps(args: argparse.Namespace, num_clips: int, clips_per_step: int) -> RunSteps:
    """Count the optimizer steps of a run.

    Args:
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed: `epochs`, unless `max_steps` is less,
            and `warmup_share`.
        num_clips (`int`): Clips of an epoch.
        clips_per_step (`int`): Clips that all processes see in a step.

    Returns:
        `RunSteps`: The counts.

    Raises:
        ValueError: If the clips do not fill a step.
    """
    per_epoch = num_clips // clips_per_step
    if per_epoch == 0:
        raise ValueError(f"{num_clips} clips do not fill a step of {clips_per_step}; lower --batch_size.")
    total = args.epochs * per_epoch
    if args.max_steps is not None:
        total = min(args.max_steps, total)
    return RunSteps(total, per_epoch, warmup=round(args.warmup_share * total))


__all__ = ["RunSteps", "count_steps", "start_accelerator"]
