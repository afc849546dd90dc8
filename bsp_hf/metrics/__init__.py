"""Segments and ground truth in, numbers out: the official protocols in pure numpy.

Nothing here imports more than numpy; `bsp_hf.metrics.hub` wraps the same functions for the `evaluate`
library. The names are listed in `__init__.pyi`, and imported when they are first used.
"""

from ..lazy import lazy_names, read_stub

_HOMES = read_stub(__name__)
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
