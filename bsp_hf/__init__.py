"""Boundary-sensitive pre-training (BSP) for temporal localization in videos.

Importing the package registers its models, preprocessing and pipelines with transformers. What it offers is
listed in `__init__.pyi`, and imported when it is first used.
"""

import sys
from importlib import import_module

from .lazy import lazy_names, read_stub
from .version import __version__

_HOMES = read_stub(__name__)
__all__ = sorted([*_HOMES, "__version__"])
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

# The command finds out what it is asked before it spends the seconds that this takes, and then registers.
_IS_COMMAND = "bsp_hf_command" in sys.modules or sys.orig_argv[1:3] == ["-m", __name__]
if not _IS_COMMAND:
    import_module(".registration", __name__).register()
