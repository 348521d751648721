"""Core dumps are disabled: memory holds images of visitors."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

# Selects the memory that goes into a core dump; see core(5).
_FILTER = Path("/proc/self/coredump_filter")


def disable_core_dumps() -> None:
    """Disable core dumps of this process and its children.

    The filter also empties dumps that are piped to a collector, to which the limit does not apply.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A kernel without core dumps has no filter.
    with contextlib.suppress(OSError):
        _FILTER.write_text("0", encoding="ascii")
