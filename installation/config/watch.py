"""Notices changes of a config's files, wherever they are stored.

systemd's path unit requests a reload when a file is saved on this machine. It misses changes behind
a link, and those another machine makes on a network file system. Therefore a thread also polls the
files every few seconds; it is a thread because a file server that does not respond may block it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installation.config.files import overlay_folder
from installation.config.model import Config
from installation.config.reload import ConfigFile
from installation.config.strict_yaml import config_error
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.runtime.signals import Signals
from installation.supervision.systemd_notify import Notifier

log = logging.getLogger(__name__)

# Of overlays, and of files that were meant to be overlays.
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Periods of the watch, in seconds.

    Attributes
    ----------
    period_s
        Time between two polls.
    settle_s
        Time without changes before files are read: they may still be being written.
    replace_s
        Time without changes before an error or a missing file is reported: the file may be being
        replaced.
    hang_s
        Time a poll may take before the files count as unreachable.
    """

    period_s: float = 2.0
    settle_s: float = 1.5
    replace_s: float = 10.0
    hang_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a poll.

    Attributes
    ----------
    config
        The changed config; None if it has not changed.
    error
        A new error; None if there is none, or the same as before.
    request
        Number of the reload request that this answers; 0: none.
    """

    config: Config | None
    error: InstallationError | None
    request: int


class ConfigWatch:
    """Watches the files of a config and hands over each new config.

    Parameters
    ----------
    file
        The config, which has been read once.
    timing
        See `WatchTiming`.
    """

    def __init__(self, file: ConfigFile, timing: WatchTiming) -> None:
        self._file = file
        self._timing = timing
        self._outcomes: deque[_Outcome] = deque()
        self._wake = threading.Event()
        # Number of the last reload request, and of the last one answered.
        self._requested = self._answered = 0
        self._stopped = False
        self._poll_started: float | None = None
        self._reported_hang: float | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="config", daemon=True)
        self._thread.start()

    def poll(self, signals: Signals, notifier: Notifier, apply: Callable[[Config], None]) -> None:
        """Apply what the thread has found; never blocks, and must be called often.

        Parameters
        ----------
        signals
            May have received a request to reload.
        notifier
            Notified when such a reload begins and ends.
        apply
            Called with each new config.
        """
        if self._failure is not None:
            raise self._failure
        if signals.reload:
            signals.reload = False
            notifier.reloading()
            self._requested += 1
            self._wake.set()
        self._report_hang()
        while self._outcomes:
            outcome = self._outcomes.popleft()
            try:
                if outcome.error is not None:
                    raise outcome.error
                if outcome.config is not None:
                    apply(outcome.config)
            except (*EXPECTED_ERRORS, OSError) as error:
                log.error("%s; keeping the previous configuration", error)  # noqa: TRY400  # one line
            if outcome.request and outcome.request == self._requested:
                notifier.ready()

    def stop(self) -> None:
        """End the thread, unless it hangs."""
        self._stopped = True
        self._wake.set()
        self._thread.join(0.2)

    def _report_hang(self) -> None:
        since = self._poll_started
        if since is None or since == self._reported_hang:
            return
        if time.monotonic() - since >= self._timing.hang_s:
            self._reported_hang = since
            error = config_error(self._file.path, 1, "does not respond; is its file server up?")
            self._outcomes.append(_Outcome(None, error, self._requested))

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self._failure = error

    def _watch(self) -> None:
        seen: Any = None
        done: Any = None
        changed_at = 0.0
        while not self._stopped:
            self._poll_started = time.monotonic()
            state = _state(self._file.path)
            if state != seen:
                seen, changed_at = state, time.monotonic()
            stable_s = time.monotonic() - changed_at
            requested = self._requested
            due = state != done and stable_s >= self._timing.settle_s
            if (due or requested > self._answered) and self._read(requested, stable_s):
                done = state
            self._poll_started = None
            self._wake.wait(self._timing.period_s)
            self._wake.clear()

    def _read(self, requested: int, stable_s: float) -> bool:
        """Read the files.

        Parameters
        ----------
        requested
            Number of the last reload request.
        stable_s
            Time since the files last changed, seconds.

        Returns
        -------
        bool
            Whether the result is final; if not, read again.
        """
        is_requested = requested > self._answered
        reading = self._file.read()
        config, error = reading.config, reading.error
        if self._file.is_known(reading):
            config = error = None
        elif stable_s < self._timing.replace_s and (
            reading.may_be_replaced or (error is not None and not is_requested)
        ):
            return False
        self._file.accept(reading)
        if error is not None:
            error = self._file.with_hint(error)
        self._answered = requested
        self._outcomes.append(_Outcome(config, error, requested if is_requested else 0))
        return True


def _state(path: Path) -> tuple[Any, ...]:
    """Return a value that changes when a config's files do, as far as that is cheap to see."""
    folder = overlay_folder(path)
    try:
        with os.scandir(folder) as found:
            names = sorted(each.name for each in found if each.name.lower().endswith(_SUFFIXES))
    except OSError as error:
        return _state_of(path), error.errno
    return _state_of(path), *((name, _state_of(folder / name)) for name in names)


def _state_of(path: Path) -> tuple[int | None, ...]:
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno,)
    # The target of a link, and its permissions, can change without a write to the file.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
