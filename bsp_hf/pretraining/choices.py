"""Values of options, for command lines that answer before torch is imported; tests compare them."""

from collections.abc import Iterable

TASKS = (
    *("boundary", "diff-class", "same-class", "diff-speed"),
    *("regression", "regression-diff-class", "regression-same-class", "regression-diff-speed"),
    *("action", "arrow-of-time", "speed"),
)
BACKBONES = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101)),
    *(f"efficientnet-lite{number}" for number in range(5)),
)
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine", "constant")
FEATURE_ERRORS = ("cosine", "mse")


def describe_unknown_task(task: str, known: Iterable[str] = TASKS) -> str:
    """Return what a message says about a task that has no name."""
    return (
        f"task {task!r} is unknown; choose one of {', '.join(known)}, or name a class of your own: "
        "module:Class or folder/file.py:Class."
    )
