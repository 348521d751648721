"""A connection of either web server: one of a limited number, with one kind of refusal."""

from __future__ import annotations

import sys
from asyncio import Transport
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from installation.web.client_address import client_key, network_key, unmapped

# Bytes of a request's line and headers together.
MAX_HEADER_BYTES = 16 * 1024
HEADERS_TOO_LONG = "The request's headers are too long.\n"
NOT_HTTP = "This is not an HTTP request.\n"
# A client that has just connected usually sends its request within so many seconds.
FIRST_REQUEST_S = 1.0
_TOO_MANY = "Too many people are connected right now. Please try again soon.\n"


class Connection(H11Protocol):
    """One connection.

    Where there are too many, of all clients together, of one network or of one client, another one
    is closed to make room: of the client that has most, an idle one if there is any, and of those
    the oldest. Of its connections, those that were opened just now come last, because their
    requests are on the way. Without one that may be closed, this one is refused.

    Attributes
    ----------
    max_connections, max_per_network, max_per_client
        How many there may be.
    proxies
        Networks of proxies, which connect for many clients: only ``max_connections`` holds for
        them.
    refusal_headers
        Of the response to a connection or request that is refused here.
    """

    max_connections: int
    max_per_network: int
    max_per_client: int
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    refusal_headers: Mapping[str, str]

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if self.client is not None:
            self.client = unmapped(self.client[0]), self.client[1]
        self._client_key = client_key(self.client[0] if self.client else None)
        self._network_key = network_key(self._client_key)
        # Since when there has been no request.
        self.idle_since = self.loop.time()
        if not self._make_room():
            self.refuse(503, _TOO_MANY)

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _new(self) -> bool:
        return self.cycle is None and self.loop.time() - self.idle_since < FIRST_REQUEST_S

    @property
    def may_be_closed(self) -> bool:
        """Whether another connection may take the place of this one."""
        return self.idle

    @property
    def _sender(self) -> str:
        """The key of the client: who connected, or for whom a proxy sends the present request."""
        sender = self.client if self.idle else self.scope["client"]
        if sender is self.client:
            return self._client_key
        return client_key(sender[0] if sender else None)

    def _make_room(self) -> bool:
        """Close connections until there is room for this one; return whether there is."""
        others = [
            each
            for each in self.connections
            if isinstance(each, Connection) and each is not self and not each.transport.is_closing()
        ]
        limits = [(self.max_connections, others)]
        if not self._from_proxy:
            near = [each for each in others if each._network_key == self._network_key]
            same = [each for each in near if each._client_key == self._client_key]
            limits = [(self.max_per_client, same), (self.max_per_network, near), *limits]
        return all(_shrink(group, limit - 1) for limit, group in limits)

    @property
    def _from_proxy(self) -> bool:
        return self.client is not None and any(
            ip_address(self.client[0]) in each for each in self.proxies
        )

    def send_400_response(self, _msg: str) -> None:
        """See `H11Protocol`; h11 knows better which status it is."""
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self.refuse(431, HEADERS_TOO_LONG)
        else:
            self.refuse(400, NOT_HTTP)

    def refuse(self, status: int, sentence: str) -> None:
        """Close the connection, with a response unless one has begun."""
        headers = {
            **self.refusal_headers,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(sentence)),
            "Connection": "close",
            **({"Retry-After": "5"} if status == 503 else {}),
        }
        lines = [
            f"HTTP/1.1 {status} Refused",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        if self.idle:
            self.transport.write("\r\n".join([*lines, "", sentence]).encode("ascii"))
        self.transport.close()


def _shrink(group: list[Connection], size: int) -> bool:
    """Close connections of a group until so many are open; return whether that was possible."""
    if len(group) <= size:
        return True
    counts = Counter(each._sender for each in group)
    closable = sorted(
        (each for each in group if each.may_be_closed),
        key=lambda each: (-counts[each._sender], each._new, not each.idle, each.idle_since),
    )
    surplus = len(group) - size
    for each in closable[:surplus]:
        each.transport.abort()
    return surplus <= len(closable)
