"""No core dumps: the memory holds frames of visitors."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

# Which parts of memory a core dump contains; see core(5).
_FILTER = Path("/proc/self/coredump_filter")


def disable_core_dumps() -> None:
    """Disable core dumps of this process and of those it starts.

    The limit alone would not keep a program that collects core dumps from reading the memory; the
    filter does.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A kernel without core dumps has no filter.
    with contextlib.suppress(OSError):
        _FILTER.write_text("0", encoding="ascii")
