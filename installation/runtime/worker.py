"""Worker threads: each has a heartbeat, and keeps what it raised for the main thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from installation.runtime.heartbeat import Heartbeat

log = logging.getLogger(__name__)


class Worker:
    """A daemon thread that runs a function until it returns or raises.

    Parameters
    ----------
    heartbeat
        Beaten by the function; its name is the thread's name.
    run
        The function. It must return soon after its owner asks it to.

    Attributes
    ----------
    error
        What the function raised; None if it has not.
    """

    def __init__(self, heartbeat: Heartbeat, run: Callable[[], None]) -> None:
        self.heartbeat = heartbeat
        self.error: BaseException | None = None
        self._function = run
        self._thread = threading.Thread(target=self._run, name=heartbeat.name, daemon=True)
        heartbeat.beat()
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self.error = error

    @property
    def alive(self) -> bool:
        """Whether the function still runs."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise what the function raised, or `WorkerHungError` if it hangs."""
        if self.error is not None:
            raise self.error
        if self.alive:
            self.heartbeat.check()

    def join(self, timeout_s: float) -> None:
        """Wait at most ``timeout_s`` seconds for the thread to end; log it if it does not."""
        self._thread.join(max(timeout_s, 0))
        if self._thread.is_alive():
            log.warning("%s did not stop in time", self.heartbeat.name)
