"""Keeps freed memory in the process, which allocates it again at once."""

import ctypes
import os
import platform

# Of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Set glibc's malloc to keep large blocks that are freed, instead of handing them back at once.

    Feature maps of tens of megabytes are made and dropped all the time; each time, the kernel would clear and
    map every page of them anew, which takes 6 % of the time of a ResNet-50. It holds for the whole process,
    which keeps the memory that it needed at most: for programs that do nothing else, like `bsp-hf extract`.
    Settings in `MALLOC_*` or `GLIBC_TUNABLES` are left as they are.

    Returns:
        `bool`: Whether it was done; with other C libraries there is nothing to do.
    """
    has_settings = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if has_settings or platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    # One heap for the threads to come, because heaps of further threads are small and returned to the system.
    options = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _LARGEST_INT, _M_ARENA_MAX: 1}
    return all(set_option(name, value) for name, value in options.items())
