"""uvicorn's HTTP, with an end to the patience for whoever sends or reads slowly."""

from __future__ import annotations

import asyncio
import sys
from asyncio import Transport
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address
from socket import socket

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from installation.web.upload.queue import client_key

# Bytes that a request's line and headers may have together.
MOST_HEADERS = 16 * 1024
# Seconds for a request's head to come, and for anything to be read of an answer.
_HEADER_TIMEOUT_S = 10.0
_READING = 30.0
# Seconds for the rest of a body that nobody wants any more to go by.
DISCARD_BODY_TIMEOUT_S = 10.0
# Connections at a time; half of them from one address, unless that is a proxy's.
_MAX_CONNECTIONS = 400
# Seconds for those who are here at the end to get their answers: in the first of them who has only
# just connected may ask still, in the last those who have no answer yet are sent away.
GRACE = 10.0
_FIRST = 1.0
_LAST = 1.0
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


class Connection(H11Protocol):
    """One connection; `check` is to be called every second or so.

    Attributes
    ----------
    proxies
        Many come through these, each for somebody else.
    """

    proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._unread = 0
        self._unread_since = self._waits_since
        self._guest = client_key(self.client[0] if self.client else None)
        if len(self.connections) > _MAX_CONNECTIONS or self._over_limit():
            self._refuse(503, "Too many are here just now: try again soon.\n")

    def _over_limit(self) -> bool:
        if self.client is None or any(ip_address(self.client[0]) in each for each in self.proxies):
            return False
        same = [each for each in self.connections if getattr(each, "_guest", "") == self._guest]
        return len(same) > _MAX_CONNECTIONS // 2

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, _msg: str) -> None:
        """See `H11Protocol`; h11 knows better which status it is."""
        error = sys.exc_info()[1]
        too_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        if too_long:
            self._refuse(431, "The request's headers are too long.\n")
        else:
            self._refuse(400, "This is no HTTP request.\n")

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
            self.loop.call_later(_FIRST, self._hang_up)
        else:
            super().shutdown()

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def check(self) -> None:
        """Cut off whoever takes too long."""
        now = self.loop.time()
        idle = self.cycle is None or self.cycle.response_complete
        if idle and now - self._waits_since > _HEADER_TIMEOUT_S:
            self.transport.close()
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._unread_since = now
        self._unread = unread
        if now - self._unread_since > _READING:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn's server, which leaves signals and log to us.

    Parameters
    ----------
    config
        Its own; ``http`` is a `Connection`.
    over
        Asked ten times a second whether to end.
    watch
        Called every second; what it raises ends the server.
    shut
        Called when no more connections are taken: those who are here are served.
    dismiss
        Called towards the end of their time: those who have no answer yet are sent away.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        over: Callable[[], bool],
        watch: Callable[[], None],
        shut: Callable[[], None],
        dismiss: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._over = over
        self._watch = watch
        self._shut = shut
        self._dismiss = dismiss

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`."""
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.check()
            self._watch()
        return await super().on_tick(counter) or self._over()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        loop = asyncio.get_running_loop()
        # What has been accepted is lost unless its transport is made before the server is closed.
        for listening in sockets or ():
            loop.remove_reader(listening)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        endings = (
            loop.call_later(_FIRST, self._shut),
            loop.call_later(GRACE - _LAST, self._dismiss),
        )
        try:
            await super().shutdown(sockets)
        finally:
            for ending in endings:
                ending.cancel()
