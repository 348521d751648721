"""Log lines as journald and people read them: one line an event."""

from __future__ import annotations

import logging
import os
import sys

from installation.errors import printable
from installation.runtime.redact import redact_text

# Priorities of syslog(3), by which `journalctl -p` sorts; see sd-daemon(3) for the prefix.
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class _OneLine(logging.Formatter):
    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname
        configure_logging = f"<{_PRIORITIES.get(level, 6)}>" if self._journal else f"{level} "
        return configure_logging + " ".join(redact_text(record.getMessage()).split())


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # generic since Python 3.11
    """Writes to standard error; what cannot be written, such as to a full disk, is left out."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def to_journal() -> bool:
    """Tell whether journald reads standard error (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        # It is closed, or nothing that has a file behind it.
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def complaint(error: object) -> str:
    """Return the one line that says why a command ends."""
    level = f"<{_PRIORITIES['ERROR']}>" if to_journal() else ""
    return f"{level}installation: {printable(redact_text(' '.join(str(error).splitlines())))}"


def configure_logging(level: int) -> None:
    """Have everything from a level on logged to standard error."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_OneLine(to_journal()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
