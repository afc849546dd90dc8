"""The log of a training loop: a progress bar, means of losses, scores; all of it kept in its history."""

import json
import logging
import sys
import time
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm.auto import tqdm

from .checkpoints import TrainingProgress
from .finite import check_finite

logger = logging.getLogger(__name__)


# The share of clips that were replaced is judged as if a run had at least so many.
_CLIPS_TO_JUDGE = 1000
# Seconds of a run before it logs how long it will take.
_FIRST_ESTIMATE_S = 5.0


class BrokenDataError(ValueError):
    """More videos than the run admits do not decode."""


class TrainingLog:
    """Keeps the mean losses and the scores of a run: in its history, its trackers, and on the screen.

    Make it when the training starts, after a checkpoint was loaded. Calls are made by every process alike.
    About 20 means are logged, and one at least every 50 steps; the bar is called `description`. A run of
    which more than `most_replaced_share` of the clips had to be replaced is stopped.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        progress: TrainingProgress,
        total_steps: int,
        description: str,
        most_replaced_share: float = 1.0,
    ):
        self.most_replaced_share = most_replaced_share
        self.accelerator, self.progress, self.total_steps = accelerator, progress, total_steps
        self.log_every = max(1, min(50, total_steps // 20))
        self.bar = tqdm(
            total=total_steps,
            initial=progress.steps_done,
            desc=description,
            disable=not shows_progress(accelerator),
        )
        self._losses: dict[str, list[Tensor]] = {}
        self._replaced: list[Tensor] = []
        self._began, self._has_logged_left = time.monotonic(), False
        self._first_step = progress.steps_done
        self._restart_clock()

    def add_batch(
        self, loss: Tensor, num_clips: int, replaced: Tensor | None = None, **other_losses: Tensor
    ) -> None:
        """Count a batch of `num_clips` in each process, and the scalar losses of this one.

        `replaced`, bool `(num_clips,)`, says of which clips the videos did not decode.
        """
        if replaced is not None:
            self._replaced.append(replaced.sum())
        for name, value in {"loss": loss, **other_losses}.items():
            self._losses.setdefault(name, []).append(value.detach())
        self._num_clips += num_clips * self.accelerator.num_processes

    def end_step(self, learning_rate: float, ends_mean: bool = False) -> None:
        """Count an optimizer step that `progress` has counted; log a mean where one is due, or `ends_mean`.

        Ended where a checkpoint follows, a resumed run logs the same means as one that was not interrupted.
        """
        self.bar.update()
        step = self.progress.steps_done
        self._log_time_left()
        if not (ends_mean or step % self.log_every == 0 or step == self.total_steps):
            return
        means = {
            name: self.accelerator.gather(torch.stack(losses)).mean().item()
            for name, losses in self._losses.items()
        }
        self._count_replaced()
        loss = means["loss"]
        rate = self._num_clips / (time.perf_counter() - self._started)
        self._write({"step": step, **means, "learning_rate": learning_rate, "clips_per_s": rate})
        self.bar.set_postfix(loss=f"{loss:.3f}", clips_per_s=f"{rate:.1f}")
        if self.bar.disable:
            logger.info("step %d/%d: loss %.3f, %.1f clips/s", step, self.total_steps, loss, rate)
        self._losses = {}
        self._restart_clock()

    def _log_time_left(self) -> None:
        """Log once how long the run will take, a few seconds after its start; a bar shows it anyway."""
        passed_s = time.monotonic() - self._began
        if not self.bar.disable or self._has_logged_left or passed_s < _FIRST_ESTIMATE_S:
            return
        self._has_logged_left = True
        steps = self.progress.steps_done - self._first_step
        left_s = passed_s / steps * (self.total_steps - self.progress.steps_done)
        logger.info("about %s left, at %.2f s a step", timedelta(seconds=round(left_s)), passed_s / steps)

    def _count_replaced(self) -> None:
        if not self._replaced:
            return
        found = int(self.accelerator.gather(torch.stack(self._replaced).sum()[None]).sum())
        self._replaced = []
        progress = self.progress
        progress.clips_drawn += self._num_clips
        progress.clips_replaced += found
        if found:
            shown = progress.clips_replaced, progress.clips_drawn
            logger.warning("%d of %d clips were replaced: their videos do not decode", *shown)
        # A single file must not end a run that has just begun.
        share = progress.clips_replaced / max(progress.clips_drawn, _CLIPS_TO_JUDGE)
        if share > self.most_replaced_share:
            raise BrokenDataError(
                f"{progress.clips_replaced} of {progress.clips_drawn} clips had videos that do not decode, "
                f"more than --max_replaced_share {self.most_replaced_share:g} allows; the warnings above "
                "name the files. Repair or leave them out, or raise the share."
            )

    def write_scores(self, scores: dict[str, Any]) -> None:
        """Log an evaluation: JSON values, of which trackers get the floats; its time is not training."""
        entry = {"step": self.progress.steps_done, **scores}
        for name, value in scores.items():
            if isinstance(value, float):
                check_finite(value, name, entry["step"])
        self._write(entry)
        logger.info("step %d: %s", entry["step"], json.dumps(entry, default=str))
        self._restart_clock()

    @property
    def has_scores(self) -> bool:
        """Whether an evaluation was logged at the step where the run is."""
        step = self.progress.steps_done
        return any(entry["step"] == step and "learning_rate" not in entry for entry in self.progress.history)

    def close(self) -> None:
        """Close the bar."""
        self.bar.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self.progress.history.append(entry)
        numbers = {name: value for name, value in entry.items() if isinstance(value, float)}
        self.accelerator.log(numbers, step=entry["step"])

    def _restart_clock(self) -> None:
        self._started, self._num_clips = time.perf_counter(), 0


def shows_progress(accelerator: Accelerator) -> bool:
    """Return whether this process draws bars: one does, on a terminal."""
    return accelerator.is_main_process and sys.stderr.isatty()
