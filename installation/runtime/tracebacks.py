"""Where an error was raised, without what its message may quote."""

from __future__ import annotations

import traceback
from pathlib import Path


def error_location(error: BaseException) -> str:
    """Return the file and line an error was raised at, such as ``camera.py:12``.

    Examples
    --------
    >>> error_location(ValueError("never raised"))
    'unknown location'
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown location"
