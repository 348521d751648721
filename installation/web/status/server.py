"""The thread that serves the status; whatever happens to it, the wall keeps running."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from asyncio import BaseTransport
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from installation.config import model as config
from installation.runtime.latest import Latest
from installation.supervision.restarts import restarts
from installation.web.status.app import StatusApp
from installation.web.status.history import SAMPLE_INTERVAL_S
from installation.web.status.snapshot import StatusSnapshot

log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 24
_MAX_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class StatusTimings:
    """Timing of the status server, seconds.

    Attributes
    ----------
    retry_s
        Between attempts to open the port, and before serving again after an unexpected error.
    connection_s
        How long a connection may last.
    """

    retry_s: float = 5.0
    connection_s: float = 10.0


class StatusServer:
    """Serves snapshots over HTTP on a thread of its own.

    If the port is taken it tries again and again; no error here affects the wall.

    Parameters
    ----------
    settings
        Address, port (not None) and who may see the status.
    timings
        Retry delay and connection time limit.
    """

    def __init__(
        self,
        settings: config.Status,
        timings: StatusTimings = StatusTimings(),
    ) -> None:
        self._settings = settings
        self._timings = timings
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
        # The messages of these libraries are not meant for technicians, and some contain addresses.
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
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
            self._stopped.wait(self._timings.retry_s)

    def _warn_once(self, line: str) -> None:
        if line != self._last_warning:
            log.warning("%s", line)
            self._last_warning = line

    def _serve(self, restart_count: int | None) -> None:
        with _listening_socket(self._settings) as listening:
            status = StatusApp(self._settings, self._snapshots, restart_count)
            limits = {"max_duration_s": self._timings.connection_s}
            server = _Server(
                uvicorn.Config(
                    status.app,
                    http=type("Connection", (_Connection,), limits),
                    ws="none",
                    loop="asyncio",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
                ),
                status,
                self._stopped,
            )
            address, port = listening.getsockname()[:2]
            host = f"[{address}]" if ":" in address else address
            log.info("status at http://%s:%d/", host, port)
            self._last_warning = ""
            asyncio.run(server.serve(sockets=[listening]))


def _listening_socket(settings: config.Status) -> socket.socket:
    family = socket.AF_INET6 if settings.address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(settings.address), settings.port or 0))
        # Before the address is announced: two programs can bind the port, but only one can listen.
        listening.listen(_MAX_CONNECTIONS)
    except OSError:
        listening.close()
        raise
    return listening


class _Server(uvicorn.Server):
    """uvicorn's server; it ends when an event is set, and takes the samples of the history."""

    def __init__(
        self, settings: uvicorn.Config, status: StatusApp, stopped: threading.Event
    ) -> None:
        super().__init__(settings)
        self._status = status
        self._stopped = stopped
        self._sampled_at = 0.0
        # Do not wait for open connections at the end.
        self.force_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the wall."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`: called ten times a second; True ends the server."""
        now = time.monotonic()
        if now - self._sampled_at >= SAMPLE_INTERVAL_S:
            self._sampled_at = now
            self._status.sample()
        return await super().on_tick(counter) or self._stopped.is_set()


class _Connection(H11Protocol):
    """uvicorn's HTTP connection with a time limit.

    If there are too many connections the oldest is closed, so that idle clients cannot keep out
    those that ask and leave.
    """

    max_duration_s: float

    def connection_made(self, transport: BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._timeout = self.loop.call_later(self.max_duration_s, self.transport.abort)
        if len(self.connections) > _MAX_CONNECTIONS:
            open_connections = [each for each in self.connections if isinstance(each, _Connection)]
            oldest = min(open_connections, key=lambda each: each._timeout.when())
            oldest.transport.abort()
            # uvicorn notices that later; until then another one must not choose it again.
            self.connections.discard(oldest)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._timeout.cancel()
        super().connection_lost(exc)
