"""What came of a folder job: counts, rates, the table of failures, and the exit status."""

from dataclasses import dataclass
from pathlib import Path

from .failures import FailedVideo

ALL_DONE, SOME_FAILED, NOTHING_DONE = 0, 1, 2
_MOST_ROWS = 50


@dataclass(frozen=True)
class ExtractionReport:
    """What a process did of a folder job; `str` of it is meant to be printed.

    Args:
        output (`Path`): Where the features are.
        done (`tuple[str, ...]`): Ids of the videos extracted now, whole.
        skipped (`tuple[str, ...]`): Ids of those that were there, read back and found up to date.
        partial (`tuple[FailedVideo, ...]`): Videos that could be read in part; their features were written
            only if that was asked for.
        failed (`tuple[FailedVideo, ...]`): Videos that gave nothing.
        seconds (`float`): Wall time, without loading the model.
        num_snippets (`int`): Rows made.
        video_s (`float`): Seconds of video read.
        failures_file (`Path`): `failures.csv`, which has the failures of all processes; not there without
            any.
        waits_for_others (`bool`, *optional*, defaults to `False`): Whether the one file of all videos is
            still to be written, by whichever process ends last.
    """

    output: Path
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    partial: tuple[FailedVideo, ...]
    failed: tuple[FailedVideo, ...]
    seconds: float
    num_snippets: int
    video_s: float
    failures_file: Path
    waits_for_others: bool = False

    @property
    def snippets_per_s(self) -> float:
        """Rows made in a second of wall time."""
        return self.num_snippets / self.seconds if self.seconds else 0.0

    @property
    def times_realtime(self) -> float:
        """Seconds of video read in a second of wall time."""
        return self.video_s / self.seconds if self.seconds else 0.0

    @property
    def exit_status(self) -> int:
        """0 if every video is done, 1 if some failed or are partial, 2 if nothing is done."""
        if not self.partial and not self.failed:
            return ALL_DONE
        has_some = self.done or self.skipped or any(video.is_kept for video in self.partial)
        return SOME_FAILED if has_some else NOTHING_DONE

    def __str__(self) -> str:
        counts = [f"{len(self.done)} done"]
        for name, videos in (
            ("already there", self.skipped),
            ("partial", self.partial),
            ("failed", self.failed),
        ):
            if videos:
                counts.append(f"{len(videos)} {name}")
        lines = [f"{self.output}: {', '.join(counts)}, {self.seconds:.1f} s"]
        if self.num_snippets:
            lines[0] += f" ({self.snippets_per_s:.1f} snippets/s, {self.times_realtime:.1f} x real time)"
        if self.waits_for_others:
            lines.append("the file of all videos is written by the process that ends last")
        return "\n".join([*lines, *self._table()])

    def _table(self) -> list[str]:
        """The failures, a row each, with the reasons below each other."""
        rows = [(video.file, "failed", video.reason) for video in self.failed]
        rows += [
            (
                video.file,
                "partial, kept" if video.is_kept else "partial",
                video.reason.removeprefix("partial: "),
            )
            for video in self.partial
        ]
        rows.sort()
        if not rows:
            return []
        shown = [("file", "outcome", "reason"), *rows[:_MOST_ROWS]]
        widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
        table = [f"  {file:{widths[0]}}  {what:{widths[1]}}  {reason}" for file, what, reason in shown]
        more = [f"  and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else []
        is_dropped = any(not video.is_kept for video in self.partial)
        hint = ["what can be read of partial ones is written with keep_partial (--keep-partial)"] * is_dropped
        return [*table, *more, f"all in {self.failures_file}", *hint]


__all__ = ["ALL_DONE", "NOTHING_DONE", "SOME_FAILED", "ExtractionReport"]
