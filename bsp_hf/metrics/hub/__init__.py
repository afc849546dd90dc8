"""The metrics for the `evaluate` library: one script a metric, which gathers over processes.

Each script is a thin `evaluate.Metric` over the numpy functions of `bsp_hf.metrics`. It can be loaded by
path from anywhere where `bsp_hf` is installed, `evaluate.load(metric_path("temporal_detection_map"))`, and
copied to a Space. `evaluate` is imported only when a metric is loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import evaluate


METRIC_NAMES: tuple[str, ...] = (
    "actionness_ap",
    "boundary_type_accuracy",
    "event_boundary_f1",
    "moment_retrieval",
    "temporal_detection_map",
    "temporal_proposal_recall",
)


def metric_path(name: str) -> str:
    """Return the path of a metric's script, for `evaluate.load`.

    Args:
        name (`str`): One of [`METRIC_NAMES`].

    Returns:
        `str`: Path of a `.py` file inside the installed package.

    Raises:
        ValueError: If there is no such metric.
    """
    if name not in METRIC_NAMES:
        raise ValueError(f"There is no metric {name!r}; there are {METRIC_NAMES}.")
    return str(Path(__file__).with_name(f"{name}.py"))


def load_metric(name: str, **load_options: Any) -> "evaluate.Metric":  # Any: evaluate's own options
    """Load a metric; it touches no network.

    Args:
        name (`str`): One of [`METRIC_NAMES`].
        **load_options (`Any`): Passed on to `evaluate.load`, for instance `num_process`, `process_id` and
            `experiment_id` where several processes share one metric, or `keep_in_memory`.

    Returns:
        `evaluate.Metric`: With `add`, `add_batch` and `compute`.

    Raises:
        ValueError: If there is no such metric.
    """
    path = metric_path(name)
    import evaluate

    return evaluate.load(path, **load_options)
