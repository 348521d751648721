"""The thread that serves the status; whatever happens to it, the wall keeps running."""

from __future__ import annotations

import asyncio
import logging
import threading
from asyncio import Transport
from dataclasses import dataclass

from installation.config import model as config
from installation.runtime.latest import Latest
from installation.runtime.periodic import PeriodicTasks
from installation.supervision.restarts import restarts
from installation.web.connection import Connection
from installation.web.http_server import (
    TickingServer,
    bind,
    server_config,
    silence_libraries,
    url_of,
)
from installation.web.status.app import HEADERS, StatusApp
from installation.web.status.history import SAMPLE_INTERVAL_S
from installation.web.status.snapshot import StatusSnapshot

log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 24


@dataclass(frozen=True, slots=True)
class StatusTiming:
    """Timing of the status server, seconds.

    Attributes
    ----------
    retry_s
        Between attempts to open the port, and before serving again after an unexpected error.
    connection_s
        How long a connection may last.
    wrong_token_s
        Until a wrong token is answered; see `TokenCheck`.
    """

    retry_s: float = 5.0
    connection_s: float = 10.0
    wrong_token_s: float = 1.0


class StatusServer:
    """Serves snapshots over HTTP on a thread of its own.

    If the port is taken it tries again and again; no error here affects the wall.

    Parameters
    ----------
    settings
        Address, port (not None) and who may see the status.
    timing
        Retry delay and connection time limit.
    """

    def __init__(
        self,
        settings: config.Status,
        timing: StatusTiming = StatusTiming(),  # frozen
    ) -> None:
        self._settings = settings
        self._timing = timing
        self._snapshots = Latest[StatusSnapshot]()
        self._stopped = threading.Event()
        self._last_warning = ""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def publish(self, snapshot: StatusSnapshot) -> None:
        """Serve this snapshot from now on; never blocks."""
        self._snapshots.put(snapshot)

    def stop(self) -> None:
        """Ask the thread to end; it takes a few tenths of a second."""
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, at most for some seconds."""
        self._thread.join(max(timeout_s, 0))

    def _run(self) -> None:
        silence_libraries()
        restart_count = restarts()
        while not self._stopped.is_set():
            try:
                self._serve(restart_count)
            except OSError as error:
                address, port = self._settings.address, self._settings.port
                self._warn_once(
                    f"status.port: cannot use port {port} of {address} ({error.strerror}); set "
                    "another, or stop the program that uses it; the wall runs without a status page"
                )
            except Exception as error:
                self._warn_once(f"status: unexpected {type(error).__name__}; please report this")
            self._stopped.wait(self._timing.retry_s)

    def _warn_once(self, line: str) -> None:
        if line != self._last_warning:
            log.warning("%s", line)
            self._last_warning = line

    def _serve(self, restart_count: int | None) -> None:
        with bind(self._settings.address, self._settings.port or 0) as listening:
            # Before the address is announced: two programs can bind a port, but only one listens.
            listening.listen(_MAX_CONNECTIONS)
            status = StatusApp(
                self._settings, self._snapshots, restart_count, self._timing.wrong_token_s
            )
            limits = {"max_duration_s": self._timing.connection_s}
            protocol = type("Connection", (_Connection,), limits)
            tasks = PeriodicTasks()
            tasks.add("sample", SAMPLE_INTERVAL_S, lambda _elapsed_s: status.sample())

            def tick() -> bool:
                tasks.run_due()
                return self._stopped.is_set()

            server = TickingServer(server_config(status.app, protocol), tick)
            # Do not wait for open connections at the end.
            server.force_exit = True
            log.info("status at %s", url_of(listening))
            self._last_warning = ""
            asyncio.run(server.serve(sockets=[listening]))


class _Connection(Connection):
    """One connection, with a time limit; any may be closed to make room for another."""

    max_connections = max_per_network = max_per_client = _MAX_CONNECTIONS
    refusal_headers = HEADERS
    max_duration_s: float

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._timeout = self.loop.call_later(self.max_duration_s, self.transport.abort)

    @property
    def may_be_closed(self) -> bool:
        """True, even while a request is answered: none takes long."""
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._timeout.cancel()
        super().connection_lost(exc)
