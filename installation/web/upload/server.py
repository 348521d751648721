"""The upload server: uvicorn with limits on connections, slow clients and shutdown."""

from __future__ import annotations

import asyncio
import sys
from asyncio import Transport
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address
from socket import socket

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from installation.web.http_server import TickingServer
from installation.web.upload.queue import client_key

# Bytes of a request's line and headers together.
MAX_HEADER_BYTES = 16 * 1024
# Seconds for a request's head to arrive, and for a client to read any part of an answer.
_HEADER_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 30.0
# Seconds for which the rest of a refused body is read and discarded.
DISCARD_BODY_TIMEOUT_S = 10.0
# Connections at a time. One address may have half of them, unless it is a proxy's.
_MAX_CONNECTIONS = 400
# At the end, clients that have just connected may still send a request for so many seconds; so many
# seconds before the drain timeout, uploads without an answer are refused.
_FIRST_REQUEST_S = 1.0
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


class UploadProtocol(H11Protocol):
    """One connection; call `enforce_timeouts` about once a second.

    Attributes
    ----------
    proxies
        Networks of proxies, which send requests for many clients.
    """

    proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._unsent_bytes = 0
        self._write_stalled_since = self._idle_since
        self._client_key = client_key(self.client[0] if self.client else None)
        if len(self.connections) > _MAX_CONNECTIONS or self._over_limit():
            self._refuse(503, "Too many people are connected right now. Please try again soon.\n")

    def _over_limit(self) -> bool:
        if self.client is None or any(ip_address(self.client[0]) in each for each in self.proxies):
            return False
        same = [
            each
            for each in self.connections
            if getattr(each, "_client_key", "") == self._client_key
        ]
        return len(same) > _MAX_CONNECTIONS // 2

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, _msg: str) -> None:
        """See `H11Protocol`; h11 knows better which status it is."""
        error = sys.exc_info()[1]
        too_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        if too_long:
            self._refuse(431, "The request's headers are too long.\n")
        else:
            self._refuse(400, "This is not an HTTP request.\n")

    def _refuse(self, status: int, sentence: str) -> None:
        headers = {
            **HEADERS,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(sentence)),
            "Connection": "close",
            **({"Retry-After": "5"} if status == 503 else {}),
        }
        lines = [
            f"HTTP/1.1 {status} Refused",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write("\r\n".join([*lines, "", sentence]).encode("ascii"))
        self.transport.close()

    def shutdown(self) -> None:
        """See `H11Protocol`; a request may be on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_FIRST_REQUEST_S, self._hang_up)
        else:
            super().shutdown()

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def enforce_timeouts(self) -> None:
        """Close the connection if its client sends or reads too slowly."""
        now = self.loop.time()
        idle = self.cycle is None or self.cycle.response_complete
        if idle and now - self._idle_since > _HEADER_TIMEOUT_S:
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
            loop.call_later(_FIRST_REQUEST_S, self._stop_accepting),
            loop.call_later(self._drain_timeout_s - _LAST_ANSWERS_S, self._fail_pending),
        )
        try:
            await super().shutdown(sockets)
        finally:
            for call in calls:
                call.cancel()
