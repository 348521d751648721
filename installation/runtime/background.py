"""Long calls into C++ libraries on a thread of their own, so that Ctrl-C works meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds that the function has to return after it was cancelled.
_CANCEL_TIMEOUT_S = 5.0


def run_in_thread(function: Callable[[threading.Event], T]) -> T:
    """Run a function on a thread of its own and wait for its result.

    Parameters
    ----------
    function
        Is given an event that is set when it should return early.

    Raises
    ------
    BaseException
        What the function raised, or what interrupted the waiting, such as KeyboardInterrupt.
    """
    cancelled = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function(cancelled))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="background", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        cancelled.set()
        thread.join(_CANCEL_TIMEOUT_S)
        raise
    if errors:
        raise errors[0]
    return results[0]
