"""Long work in C++ libraries, on a thread of its own, while this one hears Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds that work has to notice that nobody wants it any more.
_FAREWELL = 5.0


def run_in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run something on a thread of its own, and wait for it.

    Parameters
    ----------
    work
        Given an event that is set when it shall stop early.

    Raises
    ------
    BaseException
        Whatever the work raised, or what interrupted the waiting.
    """
    cancelled = threading.Event()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(cancelled))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="aside", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        cancelled.set()
        thread.join(_FAREWELL)
        raise
    if failures:
        raise failures[0]
    return results[0]
