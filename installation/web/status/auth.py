"""Access control: checked before anything else, for every path."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from ipaddress import ip_address
from math import inf
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from installation.web.client_address import unmapped

# A proxy on this machine adds one of these to the requests it forwards.
_FORWARDED_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
# For so long after a wrong token somebody may be guessing.
_GUESSING_S = 60.0


class AuthMiddleware:
    """Lets authorised requests through.

    Parameters
    ----------
    app
        Receives the authorised requests.
    token
        Required as a bearer token, or as the password of any user; None: not required.
    local_only
        Whether only this machine is served. Then the Host header must name this machine: a
        website open in a browser here could otherwise read the status under a host name of its own
        (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: TokenCheck | None, local_only: bool) -> None:
        self._app = app
        self._token = token
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        headers = Headers(scope=scope)
        app: ASGIApp = self._app
        if self._local_only and not is_loopback(_host(headers)):
            app = PlainTextResponse("This status is served at localhost only.\n", 421)
        elif self._token is not None and not await self._token.allows(headers):
            challenge = {"WWW-Authenticate": 'Basic realm="status", charset="UTF-8"'}
            app = PlainTextResponse("Unauthorized\n", 401, challenge)
        await app(scope, receive, send)


class TokenCheck:
    """Compares the tokens of requests with the right one, slowly while somebody guesses.

    After a wrong token every answer is delayed for a minute, also to the right one: those who do
    not wait for it learn nothing. Requests without a token are not delayed, and nobody is locked
    out.

    Parameters
    ----------
    token
        The right one.
    delay_s
        Seconds until such an answer.
    """

    def __init__(self, token: str, delay_s: float) -> None:
        self._token = token
        self._delay_s = delay_s
        self._delayed_until = -inf

    async def allows(self, headers: Headers) -> bool:
        """Return whether a request carries the token."""
        if "authorization" not in headers:
            return False
        right = has_token(headers, self._token)
        now = time.monotonic()
        if not right:
            self._delayed_until = now + _GUESSING_S
        if now < self._delayed_until:
            await asyncio.sleep(self._delay_s)
        return right


def is_local_request(scope: Scope) -> bool:
    """Return whether a request comes from this machine, and not through a proxy on it.

    Its Host header must name this machine, as in `AuthMiddleware`.
    """
    headers, client = Headers(scope=scope), scope.get("client")
    if client is None or any(name in headers for name in _FORWARDED_HEADERS):
        return False
    return is_loopback(client[0]) and is_loopback(_host(headers))


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own.

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
        address = ip_address(unmapped(host))
    except ValueError:
        return False
    return address.is_loopback


def _host(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def has_token(headers: Headers, token: str) -> bool:
    """Return whether a request carries the token, as a bearer token or as a password."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())
