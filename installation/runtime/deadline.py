"""Deadlines for C code that may hang: no exception interrupts it, so the process is ended."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from installation.runtime import logging_setup as journal

# Seconds that all callbacks together may take.
_CALLBACKS_S = 1.5
_STANDARD_ERROR = 2

_callbacks: list[Callable[[], object]] = []


@contextmanager
def at_force_exit(callback: Callable[[], object]) -> Iterator[None]:
    """Have a callback called, on a thread of its own, should the process be ended by force.

    Parameters
    ----------
    callback
        Given 1.5 s together with all others; what it raises is ignored.
    """
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


def force_exit(line: str, status: int) -> NoReturn:
    """Print one line and end the process, whatever its other threads hold or wait for.

    Parameters
    ----------
    line
        What happened, and what to do.
    status
        Exit status.
    """
    text = journal.complaint(line) + "\n"
    # Neither through `print` nor through the log: a thread that hangs may hold their locks. And not
    # where nobody reads: that would hang, too.
    with suppress(OSError, ValueError):
        if select.select([], [_STANDARD_ERROR], [], 0)[1]:
            os.write(_STANDARD_ERROR, text.encode(errors="backslashreplace"))
    calling = threading.Thread(target=_call_back, daemon=True)
    calling.start()
    calling.join(_CALLBACKS_S)
    os._exit(status)


def _call_back() -> None:
    for callback in reversed(_callbacks):
        with suppress(Exception):
            callback()


@contextmanager
def deadline(timeout_s: float, line: str, status: int) -> Iterator[None]:
    """End the process if what is done in this context takes too long.

    Parameters
    ----------
    timeout_s
        Seconds it may take.
    line, status
        See `force_exit`.
    """
    timer = threading.Timer(timeout_s, force_exit, (line, status))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
