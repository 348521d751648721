"""What both web servers require of each request, whatever its path."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from installation.web.connection import HEADERS_TOO_LONG, MAX_HEADER_BYTES, NOT_HTTP

# A name or an address, perhaps with a port. HTTP/1.0, which HAProxy's checks speak, needs none.
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class RequestChecks:
    """Lets requests through whose headers are short enough and whose host can be one.

    Parameters
    ----------
    app
        Receives these requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        app = self._app
        host = Headers(scope=scope).get("host")
        # The parser only bounds what arrives in several parts.
        if _header_bytes(scope) > MAX_HEADER_BYTES:
            app = PlainTextResponse(HEADERS_TOO_LONG, 431)
        elif host is not None and not _HOST.fullmatch(host):
            app = PlainTextResponse(NOT_HTTP, 400)
        await app(scope, receive, send)


def _header_bytes(scope: Scope) -> int:
    line = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    # ": " and the end of each line.
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
