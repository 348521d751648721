"""Signals as requests to end or to reload, heard even while C code keeps the main thread."""

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

# What asks for the end.
_ENDING = (signal.SIGTERM, signal.SIGINT)
# Seconds from such a signal until the main thread has to have noticed it, and from then until the
# process has to have ended: `installation web` answers those who are waiting, for 15 s.
_NOTICE_S = 2.5
_END_S = 20.0


class _Request:
    """The request to end this process; there is only one, whatever comes after it."""

    def __init__(self) -> None:
        self.noticed = threading.Event()
        self.raised: Stop | None = None

    def note(self) -> None:
        self.noticed.set()
        # Whoever asks again is not to interrupt the closing, down to the interpreter's own.
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)

    def interrupt(self, number: int) -> NoReturn:
        self.raised = Stop(number)
        raise self.raised


_request = _Request()


class Stop(BaseException):
    """SIGTERM or SIGINT came; whatever is open is closed on the way out.

    Attributes
    ----------
    status
        Exit status, as a shell gives it to what a signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def stop_requested() -> bool:
    """Tell whether there was a request to end this process."""
    return _request.noticed.is_set()


def stop_raised() -> Stop | None:
    """Return the `Stop` that was raised, if any, for whoever meets what became of it."""
    return _request.raised


def _stop(number: int, _stack: FrameType | None) -> None:
    _request.note()
    _request.interrupt(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM and SIGINT raise `Stop` in the main thread, which has to call this.

    Where that has no effect in time, the process is ended by force.
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
    """Ends the process by force where SIGTERM or SIGINT has no effect in time.

    Python calls signal handlers on the main thread alone, and not while that is in C code. But even
    then the interpreter writes the signal's number into a pipe, which is read here by another
    thread. To be made and closed on the main thread.
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
        if not self._closed.wait(_END_S):
            self._end(number, _NOTICE_S + _END_S)

    def _end(self, number: int, waited_s: float) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = traceback.extract_stack(frame)
        at = f"{Path(stack[-1].filename).name}:{stack[-1].lineno}" if stack else "its end"
        name = signal.Signals(number).name
        force_exit(f"{name}: ended by force; still busy at {at} after {waited_s:g} s", 128 + number)

    def close(self) -> None:
        """Leave signals to the interpreter again."""
        signal.set_wakeup_fd(self._before)
        self._closed.set()
        os.close(self._write)
        self._thread.join(_NOTICE_S)
        # Not before: the interpreter complains of signals that nobody could read.
        os.close(self._read)


class Signals:
    """SIGTERM and SIGINT ask for an orderly end, SIGHUP to read the config again.

    To be made, and let go, on the main thread.

    Parameters
    ----------
    interrupt
        Whether a request to end raises `Stop` as well, until ``interrupt`` is set to False: for
        whoever does not look at ``end`` yet.

    Attributes
    ----------
    end, reload
        Whether that has been asked for; whoever answers a reload sets it back.
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
        """Have signals do again what they did before; once the end was asked for, nothing."""
        for number, handler in self._before.items():
            if not (self.end and number in _ENDING):
                signal.signal(number, handler)
