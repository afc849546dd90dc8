"""The record of a pre-training run: what it read, how it went, on what; saved beside the weights."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bsp_hf.training.checkpoints import TrainingProgress

from .clips import PretextClips
from .run_environment import describe_command, describe_commit, describe_hardware, describe_versions


def describe_run(
    args: argparse.Namespace,
    train_clips: PretextClips,
    eval_clips: PretextClips,
    history: Sequence[dict[str, Any]],
    clips_seen: int,
    device: str,
    progress: TrainingProgress | None = None,
) -> dict[str, Any]:
    """Describe a finished run.

    Args:
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed.
        train_clips (`PretextClips`): What it was trained on.
        eval_clips (`PretextClips`): What was held out.
        history (`Sequence[dict]`): What it logged, in order.
        clips_seen (`int`): Clips that it was shown, repetitions counted.
        device (`str`): Type of the device, such as `"cpu"`.
        progress (`TrainingProgress`, *optional*): Tells how long it took, interruptions left out.

    Returns:
        `dict`: The record, fit for JSON. Cards are rendered from it; set `energy_kwh` if it was measured.
    """
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    return {
        "task": args.task,
        "arguments": arguments,
        "synthesis": train_clips.pretext.synthesis.to_dict(),
        "num_sources": {"training": len(train_clips.catalog), "held_out": len(eval_clips.catalog)},
        "clips_seen": clips_seen,
        "history": list(history),
        "command": describe_command(),
        "commit": describe_commit(),
        "versions": describe_versions(),
        "hardware": describe_hardware(device),
        "time": progress.measure_time() if progress else {},
        "energy_kwh": None,
    }


__all__ = ["describe_run"]
