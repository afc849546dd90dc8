"""The record of a pre-training run: what it read, how it went, on what; saved beside the weights."""

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

import bsp_hf

from .clips import PretextClips


def describe_run(
    args: argparse.Namespace,
    train_clips: PretextClips,
    eval_clips: PretextClips,
    history: Sequence[dict[str, Any]],
    clips_seen: int,
    device: str,
) -> dict[str, Any]:
    """Describe a finished run.

    Args:
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed.
        train_clips (`PretextClips`): What it was trained on.
        eval_clips (`PretextClips`): What was held out.
        history (`Sequence[dict]`): What it logged, in order.
        clips_seen (`int`): Clips that it was shown, repetitions counted.
        device (`str`): Type of the device, such as `"cpu"`.

    Returns:
        `dict`: The record, fit for JSON.
    """
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    return {
        "task": args.task,
        "arguments": arguments,
        "synthesis": train_clips.pretext.synthesis.to_dict(),
        "num_sources": {"training": len(train_clips.catalog), "held_out": len(eval_clips.catalog)},
        "clips_seen": clips_seen,
        "history": list(history),
        "versions": {
            "bsp_hf": bsp_hf.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device}",
    }


__all__ = ["describe_run"]
