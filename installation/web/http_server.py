"""uvicorn as both web servers here run it: quiet, on a bound socket, without signal handlers."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import IPvAnyAddress

from installation.web.connection import MAX_HEADER_BYTES, Connection

# They log tracebacks and what visitors sent; what matters is logged here, without either.
_LIBRARIES = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio", "python_multipart")


def silence_libraries() -> None:
    """Keep the libraries of the web servers from logging."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def bind(address: IPvAnyAddress, port: int) -> socket.socket:
    """Return a TCP socket bound to an address and port; raises `OSError` if that is impossible."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio sends small packets at once (TCP_NODELAY) only if the protocol is named here.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(address), port))
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL of a bound socket."""
    address, port = bound.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


def server_config(
    app: Any,
    protocol: type[Connection],
    drain_timeout_s: int | None = None,
) -> uvicorn.Config:
    """Return uvicorn's settings.

    Parameters
    ----------
    app
        The ASGI application.
    protocol
        Handles each connection; the ``X-Forwarded-For`` of its ``proxies`` is believed.
    drain_timeout_s
        Seconds that requests in flight have at the end; None: as long as they take.
    """
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(protocol.proxies),
        forwarded_allow_ips=[str(each) for each in protocol.proxies],
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=drain_timeout_s,
    )


class TickingServer(uvicorn.Server):
    """uvicorn's server, which leaves signals alone and calls a function ten times a second.

    Parameters
    ----------
    config
        See `server_config`.
    tick
        Returns True to end the server; what it raises ends it, too.
    on_started
        Called once the server listens.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        tick: Callable[[], bool],
        on_started: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._tick = tick
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the application; see `uvicorn.Server`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so; see `uvicorn.Server`."""
        await super().startup(sockets)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Call the function; see `uvicorn.Server`."""
        return await super().on_tick(counter) or self._tick()
