"""The upload server: uvicorn with limits on connections, slow clients and shutdown."""

from __future__ import annotations

import asyncio
from asyncio import Transport
from collections.abc import Callable
from socket import socket

import uvicorn

from installation.web.connection import FIRST_REQUEST_S, Connection
from installation.web.http_server import TickingServer
from installation.web.upload.request_body import MIN_BYTES_PER_S

# Seconds for a request's head to arrive, and for a client to read any part of an answer.
_HEADER_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 30.0
# Seconds for which the rest of a refused body is read and discarded.
DISCARD_BODY_TIMEOUT_S = 10.0
# Seconds after which a sender's rate says whether it is slow.
_RATE_AFTER_S = 1.0
# So many seconds before the drain timeout, uploads without an answer are refused.
_LAST_ANSWERS_S = 1.0
# Added to each response, whatever it is.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(self), microphone=(), geolocation=(), browsing-topics=(), interest-cohort=()"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class UploadProtocol(Connection):
    """One connection; call `enforce_timeouts` about once a second."""

    max_connections = 400
    max_per_network = 200
    max_per_client = 100
    refusal_headers = HEADERS

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        self._unsent_bytes = 0
        self._write_stalled_since = self._request_began_at = self.loop.time()
        self._received_bytes = 0
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._request_began_at, self._received_bytes = self.loop.time(), 0
        self._received_bytes += len(data)

    @property
    def may_be_closed(self) -> bool:
        """Whether it is idle, or its client sends a body more slowly than required."""
        return self.idle or (self.cycle.more_body and self._slow)

    @property
    def _slow(self) -> bool:
        duration_s = self.loop.time() - self._request_began_at
        required = MIN_BYTES_PER_S * duration_s
        return duration_s > _RATE_AFTER_S and self._received_bytes < required

    def shutdown(self) -> None:
        """See `H11Protocol`; a request may be on its way."""
        if self.idle:
            self.loop.call_later(FIRST_REQUEST_S, self._hang_up)
        else:
            super().shutdown()

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def enforce_timeouts(self) -> None:
        """Close the connection if its client sends or reads too slowly."""
        now = self.loop.time()
        if self.idle and now - self.idle_since > _HEADER_TIMEOUT_S:
            self.transport.close()
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes == 0 or unsent_bytes < self._unsent_bytes:
            self._write_stalled_since = now
        self._unsent_bytes = unsent_bytes
        if now - self._write_stalled_since > _WRITE_TIMEOUT_S:
            self.transport.abort()


class UploadServer(TickingServer):
    """The upload server, which drains before it ends.

    Parameters
    ----------
    config
        See `server_config`; its ``http`` is an `UploadProtocol`.
    tick
        Called ten times a second; returns True to end the server.
    on_started
        Called once the server listens.
    stop_accepting
        Called when no more connections are taken: uploads that have begun are finished.
    fail_pending
        Called shortly before the drain timeout: uploads without an answer are refused.
    drain_timeout_s
        Seconds that uploads in flight have to be answered at the end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        tick: Callable[[], bool],
        on_started: Callable[[], None],
        stop_accepting: Callable[[], None],
        fail_pending: Callable[[], None],
        drain_timeout_s: float,
    ) -> None:
        super().__init__(config, tick, on_started)
        self._stop_accepting = stop_accepting
        self._fail_pending = fail_pending
        self._drain_timeout_s = drain_timeout_s

    def enforce_timeouts(self, _elapsed_s: float = 0.0) -> None:
        """Close connections that send or read too slowly; call it about once a second."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, UploadProtocol):
                connection.enforce_timeouts()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Drain, then end; see `uvicorn.Server`."""
        loop = asyncio.get_running_loop()
        # What has been accepted is lost unless its transport is made before the server is closed.
        for listening in sockets or ():
            loop.remove_reader(listening)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls = (
            loop.call_later(FIRST_REQUEST_S, self._stop_accepting),
            loop.call_later(self._drain_timeout_s - _LAST_ANSWERS_S, self._fail_pending),
        )
        try:
            await super().shutdown(sockets)
        finally:
            for call in calls:
                call.cancel()
