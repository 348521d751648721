"""A command's exit status, and the one line of error that explains it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress

from installation.commands.terminal import STANDARD_OUTPUT, print_error
from installation.errors import EXPECTED_ERRORS, FAILURE
from installation.runtime.signals import Stop, stop_raised, stoppable
from installation.runtime.tracebacks import error_location

# Failures are in `installation.errors`; argparse exits with 2 after wrong usage.
OK = 0


def run_command(command: Callable[[], int]) -> int:
    """Run a command; whatever it raises becomes one line on standard error and an exit status.

    Parameters
    ----------
    command
        Returns an exit status.

    Returns
    -------
    int
        Exit status; 128 + the signal's number if SIGTERM or SIGINT ended it.
    """
    try:
        with stoppable():
            try:
                return _run_reporting_errors(command)
            except Stop:
                # Write what was printed before, but do not wait for a reader that has stopped.
                with suppress(OSError, ValueError):
                    if select.select([], [sys.stdout], [], 0)[1]:
                        sys.stdout.flush()
                raise
    except Stop as stop:
        return stop.status


def _run_reporting_errors(command: Callable[[], int]) -> int:
    try:
        try:
            status = command()
        except SystemExit as error:
            # From argparse, after --help and wrong usage.
            status = error.code if isinstance(error.code, int) else OK
        sys.stdout.flush()
    except EXPECTED_ERRORS as error:
        print_error(error)
        status = getattr(error, "status", FAILURE)
    except Exception as error:
        if stop := stop_raised():
            # Libraries replace the exception that interrupts them with their own.
            raise stop from None
        status = FAILURE
        # The reader of a pipe may close it early.
        if not (isinstance(error, BrokenPipeError) and error.filename == STANDARD_OUTPUT):
            print_error(_explain(error))
    return status


def _explain(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or error_location(error)}: {error.strerror or error}"
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UnicodeEncodeError) and error.encoding == encoding != "utf-8":
        letters = ascii(error.object[error.start : error.end])
        return (
            f"{letters} cannot be in a file name: the locale's encoding is {encoding}; "
            "set LC_ALL=C.UTF-8"
        )
    return (
        f"unexpected {type(error).__name__} at {error_location(error)}: {error}; "
        "please report this and what you did"
    )


def flush_standard_streams() -> None:
    """Flush standard output and error; drop what cannot be written.

    Otherwise the interpreter tries again at exit, and fails.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
