"""SIGTERM, SIGINT and SIGHUP, noticed even while the main thread is in C code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from installation.runtime.deadline import force_exit

# Signals that ask the process to end.
_ENDING = (signal.SIGTERM, signal.SIGINT)
# Seconds in which the main thread must notice such a signal, and then end the process unless
# `set_forced_end` says otherwise.
_NOTICE_S = 2.5
_FORCED_END_S = 20.0


class _Request:
    """The request to end this process. Only the first one counts."""

    def __init__(self) -> None:
        self.noticed = threading.Event()
        self.raised: Stop | None = None
        self.forced_end_s = _FORCED_END_S

    def note(self) -> None:
        self.noticed.set()
        # A second request must not interrupt the shutdown, not even the interpreter's own.
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)

    def interrupt(self, number: int) -> NoReturn:
        self.raised = Stop(number)
        raise self.raised


_request = _Request()


class Stop(BaseException):
    """Raised on SIGTERM or SIGINT; whatever is open is closed on the way out.

    Attributes
    ----------
    status
        Exit status: 128 + the signal's number, as shells have it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def set_forced_end(timeout_s: float) -> None:
    """Have the process ended by force this many seconds after it noticed a request to end."""
    _request.forced_end_s = timeout_s


def stop_requested() -> bool:
    """Return whether somebody asked this process to end."""
    return _request.noticed.is_set()


def stop_raised() -> Stop | None:
    """Return the `Stop` that was raised, if any: libraries may turn it into another error."""
    return _request.raised


def _stop(number: int, _stack: FrameType | None) -> None:
    _request.note()
    _request.interrupt(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise `Stop` in the main thread, which must call this.

    If that has no effect in time, the process is ended by force.
    """
    before = {number: signal.signal(number, _stop) for number in _ENDING}
    watchdog = Watchdog()
    try:
        yield
    finally:
        watchdog.close()
        if not stop_requested():
            for number, handler in before.items():
                signal.signal(number, handler)


class Watchdog:
    """Ends the process by force if SIGTERM or SIGINT has no effect in time.

    Python runs signal handlers only on the main thread, and not while that is in C code. But even
    then the interpreter writes the signal's number into a pipe, which another thread reads here.
    Create and close it on the main thread.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        number = 0
        while number not in _ENDING:
            received = os.read(self._read, 1)
            if not received:
                return
            number = received[0]
        if not (_request.noticed.wait(_NOTICE_S) or self._closed.is_set()):
            self._end(number, _NOTICE_S)
        forced_end_s = _request.forced_end_s
        if not self._closed.wait(forced_end_s):
            self._end(number, _NOTICE_S + forced_end_s)

    def _end(self, number: int, waited_s: float) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = traceback.extract_stack(frame)
        at = f"{Path(stack[-1].filename).name}:{stack[-1].lineno}" if stack else "its end"
        name = signal.Signals(number).name
        force_exit(f"{name}: ended by force; still busy at {at} after {waited_s:g} s", 128 + number)

    def close(self) -> None:
        """Stop watching."""
        signal.set_wakeup_fd(self._before)
        self._closed.set()
        os.close(self._write)
        self._thread.join(_NOTICE_S)
        # Only now: the interpreter complains about signals that it cannot write.
        os.close(self._read)


class Signals:
    """SIGTERM and SIGINT ask for an orderly end, SIGHUP for a reload of the config.

    Create and restore it on the main thread.

    Parameters
    ----------
    interrupt
        Whether a request to end also raises `Stop`. Set the attribute to False once the main loop
        looks at ``end``.

    Attributes
    ----------
    end, reload
        Whether that was requested. Whoever reloads sets ``reload`` to False.
    """

    def __init__(self, interrupt: bool = False) -> None:
        self.end = False
        self.reload = False
        self.interrupt = interrupt
        self._before = {
            number: signal.signal(number, self._receive) for number in (*_ENDING, signal.SIGHUP)
        }

    def _receive(self, number: int, _stack: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
            return
        self.end = True
        _request.note()
        if self.interrupt:
            _request.interrupt(number)

    def restore(self) -> None:
        """Restore the handlers of before; after a request to end, its signals stay ignored."""
        for number, handler in self._before.items():
            if not (self.end and number in _ENDING):
                signal.signal(number, handler)
