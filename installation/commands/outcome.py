"""What comes of a command: its exit status, and the one line that says why."""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from installation.commands.terminal import STANDARD_OUTPUT, complain
from installation.errors import EXPECTED_ERRORS, FAILURE
from installation.runtime.signals import Stop, stop_raised, stoppable

# Wrong use is 2; argparse sees to it.
OK = 0


def perform(work: Callable[[], int]) -> int:
    """Do a command's work; whatever it raises becomes one line and an exit status.

    Parameters
    ----------
    work
        Returns an exit status.

    Returns
    -------
    int
        Exit status: 128 + the signal's number where SIGTERM or SIGINT ended it.
    """
    try:
        with stoppable():
            try:
                return _told(work)
            except Stop:
                # What was printed before is not to be lost; a reader who reads no more is not
                # waited for.
                with suppress(OSError, ValueError):
                    if select.select([], [sys.stdout], [], 0)[1]:
                        sys.stdout.flush()
                raise
    except Stop as stop:
        return stop.status


def _told(work: Callable[[], int]) -> int:
    try:
        try:
            status = work()
        except SystemExit as error:
            # argparse ends so, after help and wrong use.
            status = error.code if isinstance(error.code, int) else OK
        sys.stdout.flush()
    except EXPECTED_ERRORS as error:
        complain(error)
        status = getattr(error, "status", FAILURE)
    except Exception as error:
        if stop := stop_raised():
            # Libraries turn what interrupts them into errors of their own.
            raise stop from None
        status = FAILURE
        left = isinstance(error, BrokenPipeError) and error.filename == STANDARD_OUTPUT
        # Whoever was reading may leave early.
        if not left:
            complain(_explained(error))
    return status


def _explained(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or _where(error)}: {error.strerror or error}"
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UnicodeEncodeError) and error.encoding == encoding != "utf-8":
        letters = ascii(error.object[error.start : error.end])
        return (
            f"{letters} cannot be in a file's name while the locale's encoding is {encoding}; "
            "set LC_ALL=C.UTF-8"
        )
    return (
        f"unexpected {type(error).__name__} at {_where(error)}: {error}; "
        "please report this with what you did"
    )


def settle() -> None:
    """Keep the interpreter from failing at the end to write what could not be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
