"""Notices that a config has changed, wherever its files are.

systemd's path unit asks for a reload when a file is saved on this machine. It does not see what
happens behind a link, or on a network file system from another machine: therefore the files are
looked at every few seconds as well, on a thread of their own, which a file server that does not
answer may hold up.
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

from installation.config.files import folder_of_overlays
from installation.config.model import Config
from installation.config.reload import ConfigFile
from installation.config.strict_yaml import config_error
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.runtime.signals import Signals
from installation.supervision.systemd_notify import Notifier

log = logging.getLogger(__name__)

# Of the files that are laid over a config, or were meant to be.
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Timing:
    """How often to look, and how long to wait; all in seconds.

    Attributes
    ----------
    period_s
        Between two looks.
    settle_s
        For which files stay as they are before they are read: they may be being written.
    replace_s
        For which they stay so before a mistake found in them, or a file that is missing, is told:
        it may be being replaced.
    hang_s
        That a look takes before the files count as out of reach.
    """

    period_s: float = 2.0
    settle_s: float = 1.5
    replace_s: float = 10.0
    hang_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a look.

    Attributes
    ----------
    config
        Another config; None where nothing is new.
    error
        What is wrong; None where nothing is, or nothing else than before.
    answers
        The number of the request it answers; 0: none.
    """

    config: Config | None
    error: InstallationError | None
    answers: int


class ConfigWatch:
    """Watches the files of a config, and hands over what comes of a change.

    Parameters
    ----------
    file
        The config, which has been read once.
    timing
        See `Timing`.
    """

    def __init__(self, file: ConfigFile, timing: Timing | None = None) -> None:
        self._file = file
        self._timing = timing or Timing()
        self._outcomes: deque[_Outcome] = deque()
        self._wake = threading.Event()
        # Numbers of the last request that was made, and that was answered.
        self._asked = self._answered = 0
        self._stopped = False
        self._looking_since: float | None = None
        self._hang_told_of: float | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="config", daemon=True)
        self._thread.start()

    def attend(self, signals: Signals, notifier: Notifier, use: Callable[[Config], None]) -> None:
        """Do what is to be done by now; never waits, and is to be called often.

        Parameters
        ----------
        signals
            May ask for a reload.
        notifier
            Is told when one begins and ends.
        use
            Goes on by another config.
        """
        if self._failure is not None:
            raise self._failure
        if signals.reload:
            signals.reload = False
            notifier.reloading()
            self._asked += 1
            self._wake.set()
        self._tell_if_it_hangs()
        while self._outcomes:
            outcome = self._outcomes.popleft()
            try:
                if outcome.error is not None:
                    raise outcome.error
                if outcome.config is not None:
                    use(outcome.config)
            except (*EXPECTED_ERRORS, OSError) as error:
                log.error("%s; going on by the config of before", error)  # noqa: TRY400  # one line
            if outcome.answers and outcome.answers == self._asked:
                notifier.ready()

    def stop(self) -> None:
        """End the thread, unless it hangs."""
        self._stopped = True
        self._wake.set()
        self._thread.join(0.2)

    def _tell_if_it_hangs(self) -> None:
        since = self._looking_since
        if since is None or since == self._hang_told_of:
            return
        if time.monotonic() - since >= self._timing.hang_s:
            self._hang_told_of = since
            error = config_error(self._file.path, 1, "does not answer; is its file server there?")
            self._outcomes.append(_Outcome(None, error, self._asked))

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self._failure = error

    def _watch(self) -> None:
        seen: Any = None
        done: Any = None
        since = 0.0
        while not self._stopped:
            self._looking_since = time.monotonic()
            state = _state(self._file.path)
            if state != seen:
                seen, since = state, time.monotonic()
            stable_s = time.monotonic() - since
            asked = self._asked
            due = state != done and stable_s >= self._timing.settle_s
            if (due or asked > self._answered) and self._look(asked, stable_s):
                done = state
            self._looking_since = None
            self._wake.wait(self._timing.period_s)
            self._wake.clear()

    def _look(self, asked: int, stable_s: float) -> bool:
        """Read the files.

        Parameters
        ----------
        asked
            Number of the last request.
        stable_s
            For how long the files have been as they are, seconds.

        Returns
        -------
        bool
            Whether that is the end of it; else it is to be done again.
        """
        requested = asked > self._answered
        reading = self._file.look()
        config, error = reading.config, reading.error
        if self._file.knows(reading):
            config = error = None
        elif stable_s < self._timing.replace_s and (
            reading.may_be_replaced or (error is not None and not requested)
        ):
            return False
        self._file.accept(reading)
        if error is not None:
            error = self._file.explained(error)
        self._answered = asked
        self._outcomes.append(_Outcome(config, error, asked if requested else 0))
        return True


def _state(path: Path) -> tuple[Any, ...]:
    """Return what tells whether a config's files were changed, as far as that is cheap to see."""
    folder = folder_of_overlays(path)
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
    # What a link leads to, and whether it may be read, can change without the file's being written.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
