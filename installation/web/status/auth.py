"""Who may look: asked before anything else, whatever is asked for."""

from __future__ import annotations

import base64
import binascii
import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# By which those may have been sent on who seem to be at this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class AuthMiddleware:
    """Lets through who may look.

    Parameters
    ----------
    app
        For those.
    token
        That they have to give, as a bearer's token or as the password of whatever user; None: none.
    at_home
        Whether only this machine is served. Then the host that is asked for must be this one: a
        page from elsewhere that a browser here has open may call itself by any other name, and
        read (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None, at_home: bool) -> None:
        self._app = app
        self._token = token
        self._at_home = at_home

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        headers = Headers(scope=scope)
        answer: ASGIApp = self._app
        if self._at_home and not is_loopback(_host(headers)):
            answer = PlainTextResponse("Ask for localhost.\n", 421)
        elif self._token is not None and not gives(headers, self._token):
            challenge = {"WWW-Authenticate": 'Basic realm="status", charset="UTF-8"'}
            answer = PlainTextResponse("Unauthorized\n", 401, challenge)
        await answer(scope, receive, send)


def is_local_request(scope: Scope) -> bool:
    """Tell whether somebody at this machine asks, and not through a proxy on it."""
    headers, client = Headers(scope=scope), scope.get("client")
    forwarded = any(name in headers for name in _FORWARDED)
    return client is not None and is_loopback(client[0]) and not forwarded


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is this machine's own.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1")]
    [True, True, True, True]
    >>> [is_loopback(host) for host in ("", "localhost.example", "127.0.0.1.example", "10.0.0.1")]
    [False, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _host(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def gives(headers: Headers, token: str) -> bool:
    """Tell whether a request has the token, as a bearer's or as a password."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())
