"""The thread that serves the status: whatever becomes of it, the wall goes on."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from asyncio import BaseTransport
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from installation.config import model as config
from installation.runtime.latest import Latest
from installation.supervision.restarts import restarts
from installation.web.status.app import StatusApp
from installation.web.status.history import EVERY
from installation.web.status.snapshot import StatusSnapshot

log = logging.getLogger(__name__)

# Seconds between attempts to get the port, and to go on after what nobody has foreseen.
_RETRY = 5.0
# Connections at a time, seconds each may last, and bytes its request may have.
_MOST = 24
_LONGEST = 10.0
_REQUEST = 16 * 1024


class StatusServer:
    """Serves reports over HTTP, on a thread of its own.

    A port that is taken is tried again and again; no trouble here is the wall's.

    Parameters
    ----------
    settings
        Where, and to whom; ``port`` is not None.
    """

    def __init__(self, settings: config.Status) -> None:
        self._settings = settings
        self._reports = Latest[StatusSnapshot]()
        self._stopped = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def publish(self, report: StatusSnapshot) -> None:
        """Tell this from now on; never waits."""
        self._reports.put(report)

    def stop(self) -> None:
        """Ask it to end, which takes some tenths of a second."""
        self._stopped.set()

    def join(self, timeout: float) -> None:
        """Wait for it to end, some seconds at the most."""
        self._thread.join(max(timeout, 0))

    def _run(self) -> None:
        # uvicorn's and asyncio's own words are not for technicians; some hold addresses.
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        started_again = restarts()
        while not self._stopped.is_set():
            try:
                self._serve(started_again)
            except OSError as error:
                address, port = self._settings.address, self._settings.port
                self._warn(
                    f"status.port: {port} of {address} cannot be used ({error.strerror}): set "
                    "another, or end what uses it; the wall goes on without a status page"
                )
            except Exception as error:
                self._warn(f"status: unexpected {type(error).__name__}; please report this")
            self._stopped.wait(_RETRY)

    def _warn(self, line: str) -> None:
        if line != self._said:
            log.warning("%s", line)
            self._said = line

    def _serve(self, started_again: int | None) -> None:
        with _bound(self._settings) as listening:
            site = StatusApp(self._settings, self._reports, started_again)
            server = _Server(
                uvicorn.Config(
                    site.app,
                    http=_Connection,
                    ws="none",
                    loop="asyncio",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    h11_max_incomplete_event_size=_REQUEST,
                ),
                site,
                self._stopped,
            )
            address, port = listening.getsockname()[:2]
            shown = f"[{address}]" if ":" in address else address
            log.info("status at http://%s:%d/", shown, port)
            self._said = ""
            asyncio.run(server.serve(sockets=[listening]))


def _bound(settings: config.Status) -> socket.socket:
    family = socket.AF_INET6 if settings.address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(settings.address), settings.port or 0))
        # Here, that is before anything is said: two may bind at once, but only one listens.
        listening.listen(_MOST)
    except OSError:
        listening.close()
        raise
    return listening


class _Server(uvicorn.Server):
    """uvicorn's server, ended by an event; it takes the samples, too."""

    def __init__(self, settings: uvicorn.Config, site: StatusApp, stopped: threading.Event) -> None:
        super().__init__(settings)
        self._site = site
        self._ended = stopped
        self._sampled_at = 0.0
        # Whoever is being served at the end is not waited for.
        self.force_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the wall."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`: called ten times a second; True ends it."""
        now = time.monotonic()
        if now - self._sampled_at >= EVERY:
            self._sampled_at = now
            self._site.take_a_sample()
        return await super().on_tick(counter) or self._ended.is_set()


class _Connection(H11Protocol):
    """uvicorn's HTTP, with an end to everybody's time.

    Where too many are here the one that has been for longest has to go: those who ask and leave
    are served however many others only stand about.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._end = self.loop.call_later(_LONGEST, self.transport.abort)
        if len(self.connections) > _MOST:
            here = [each for each in self.connections if isinstance(each, _Connection)]
            oldest = min(here, key=lambda each: each._end.when())
            oldest.transport.abort()
            # Its end is noticed later: the next one here has to choose another.
            self.connections.discard(oldest)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end.cancel()
        super().connection_lost(exc)
