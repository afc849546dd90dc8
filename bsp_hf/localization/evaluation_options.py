"""How predictions are scored: each field is an option of `bsp-hf eval`. Imports nothing slow."""

import math
from dataclasses import dataclass
from pathlib import Path

from bsp_hf.training.options import option

LABELLINGS = ("any_overlap", "center")


@dataclass(frozen=True)
class EvaluationOptions:
    """How to score; by default as the benchmark does."""

    subset: str | None = option(None, "subset to score; default: the benchmark's own, or all videos")
    layout: str | None = option(None, "layout of the annotations; default: detected")
    durations: Path | None = option(None, "table of id (or video) and duration (or length) in seconds")
    tasks: Path | None = option(None, "tasks_primary.txt, for CrossTask")
    rule: str | None = option(
        None,
        "whose scorer to follow: activitynet, actionformer or opentad for detection, 2d-tan, lgi or "
        "qvhighlights for grounding; default: that of the annotations' layout",
    )
    segment_s: float = option(0.2, "seconds of an actionness segment")
    labelling: str = option("any_overlap", "any_overlap or center, for actionness")
    min_consistency: float | None = option(None, "skip videos whose raters agree less; GEBD uses 0.3")
    only_predicted: bool = option(False, "score the videos with predictions alone")

    def __post_init__(self) -> None:
        if not 0 < self.segment_s < math.inf:
            raise ValueError(f"--segment-s: {self.segment_s} must be positive.")
        if self.labelling not in LABELLINGS:
            raise ValueError(f"--labelling: {self.labelling!r} is not one of {', '.join(LABELLINGS)}.")
        if self.min_consistency is not None and not 0 <= self.min_consistency <= 1:
            raise ValueError(f"--min-consistency: {self.min_consistency} must be between 0 and 1.")
