"""What is in memory stays there: it holds pictures of visitors."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

# Which parts of the memory go into a core dump; see core(5).
_FILTER = Path("/proc/self/coredump_filter")


def disable_core_dumps() -> None:
    """Have the kernel write no core dump of this process and those it starts.

    Nor does a program that collects them get any of the memory, which no limit would keep from it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A kernel without core dumps has no filter.
    with contextlib.suppress(OSError):
        _FILTER.write_text("0", encoding="ascii")
