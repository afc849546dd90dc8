"""The metrics for the `evaluate` library, which gathers over processes.

One script holds them all, each an `evaluate.Metric` over a numpy function of `bsp_hf.metrics`. It can be
loaded by path from anywhere where `bsp_hf` is installed, `evaluate.load(SCRIPT_PATH,
"temporal_detection_map")`, and copied to a Space. `evaluate` is imported only when a metric is loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .table import METRICS

if TYPE_CHECKING:
    import evaluate

METRIC_NAMES: tuple[str, ...] = tuple(METRICS)
SCRIPT_PATH = str(Path(__file__).with_name("bsp_metrics.py"))


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
    if name not in METRICS:
        raise ValueError(f"There is no metric {name!r}; there are {METRIC_NAMES}.")
    import evaluate

    return evaluate.load(SCRIPT_PATH, name, **load_options)
