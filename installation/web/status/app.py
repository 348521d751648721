"""The status page and its endpoints."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import cv2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from installation.config import model as config
from installation.runtime.latest import Latest
from installation.runtime.tracebacks import error_location
from installation.scene import Frame
from installation.supervision.temperature import temperature
from installation.web.request_checks import RequestChecks
from installation.web.status.auth import AuthMiddleware, TokenCheck, is_local_request
from installation.web.status.health import evaluate
from installation.web.status.history import History
from installation.web.status.page import Page
from installation.web.status.prometheus import expose
from installation.web.status.snapshot import StatusSnapshot

log = logging.getLogger(__name__)

# Added to every response. A connection serves one request, so that nobody can hold on to one.
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# However many clients ask, each page is rendered at most this often.
_CACHE_S = 0.5
_PREVIEW_WIDTH_PX = 480
_PREVIEW_ENCODING = (cv2.IMWRITE_JPEG_QUALITY, 80)


class StatusApp:
    """The status as an ASGI application; used from one thread.

    Parameters
    ----------
    settings
        Who may see it, and whether it includes a preview of the camera.
    snapshots
        Published by the wall.
    restarts
        By the service manager; None without one.
    wrong_token_s
        Seconds until a wrong token is answered; see `TokenCheck`.

    Attributes
    ----------
    app
        The ASGI application.
    """

    def __init__(
        self,
        settings: config.Status,
        snapshots: Latest[StatusSnapshot],
        restarts: int | None,
        wrong_token_s: float,
    ) -> None:
        self._snapshots = snapshots
        self._restarts = restarts
        self._history = History()
        self._page = Page(settings.preview)
        self._temperature: float | None = None
        self._free_bytes: int | None = None
        self._cache: dict[str, tuple[float, bytes]] = {}
        self._last_error = ""
        style = files(__package__).joinpath("assets/style.css").read_bytes()
        routes = [
            Route("/", lambda _: HTMLResponse(self._cached("page", self._render))),
            Route("/style.css", lambda _: Response(style, media_type="text/css")),
            # Browsers always ask for it.
            Route("/favicon.ico", lambda _: Response(status_code=204)),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
        ]
        if settings.preview:
            routes.append(Route("/preview.jpg", self._preview))
        inner = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _http_error, Exception: self._server_error},
        )
        token = None
        if settings.token is not None:
            token = TokenCheck(settings.token.get_secret_value(), wrong_token_s)
        # Its redirect would repeat the Host header.
        inner.router.redirect_slashes = False
        local_only = settings.address.is_loopback
        self.app: ASGIApp = _HeadersMiddleware(
            RequestChecks(AuthMiddleware(inner, token, local_only))
        )

    def sample(self) -> None:
        """Add a sample to the history; call it every `history.SAMPLE_INTERVAL_S`."""
        snapshot = self._snapshot
        self._temperature = temperature()
        # On this thread, not on the wall's: a failing disk may take long to answer.
        record = None if snapshot is None else snapshot.record
        self._free_bytes = None if record is None else _free_bytes(record)
        self._history.add(snapshot, self._temperature)

    @property
    def _snapshot(self) -> StatusSnapshot | None:
        newest = self._snapshots.get(after=0, timeout=0)
        return None if newest is None else newest[1]

    def _cached(self, name: str, render: Callable[[], bytes]) -> bytes:
        rendered_at, body = self._cache.get(name, (0.0, b""))
        now = time.monotonic()
        if not body or now - rendered_at >= _CACHE_S:
            body = render()
            self._cache[name] = now, body
        return body

    def _render(self) -> bytes:
        snapshot = self._snapshot
        health = evaluate(snapshot, time.monotonic())
        return _encoded(self._page.render(snapshot, health, self._history, self._restarts))

    def _expose(self) -> bytes:
        snapshot = self._snapshot
        health = evaluate(snapshot, time.monotonic())
        return expose(snapshot, health, self._temperature, self._restarts, self._free_bytes)

    async def _health(self, _request: Request) -> Response:
        health = evaluate(self._snapshot, time.monotonic())
        return PlainTextResponse(_encoded(health.as_text()), 503 if health.faults else 200)

    async def _metrics(self, _request: Request) -> Response:
        body = self._cached("metrics", self._expose)
        return Response(body, headers={"content-type": _PROMETHEUS_TYPE})

    async def _preview(self, request: Request) -> Response:
        snapshot = self._snapshot
        if not is_local_request(request.scope) or snapshot is None or snapshot.frame is None:
            raise HTTPException(404)
        return Response(_jpeg(snapshot.frame), media_type="image/jpeg")

    async def _server_error(self, _request: Request, error: Exception) -> Response:
        line = f"unexpected {type(error).__name__} at {error_location(error)}"
        # Monitoring may repeat the request every second.
        if line != self._last_error:
            self._last_error = line
            log.error("status: %s; please report this", line)
        return PlainTextResponse("Internal error; see the log of the wall.\n", 500)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


def _encoded(text: str) -> bytes:
    # File names may contain bytes that are not valid text.
    return text.encode(errors="backslashreplace")


def _free_bytes(record: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(record.parent).free
    return None


def _jpeg(frame: Frame) -> bytes:
    height = max(round(_PREVIEW_WIDTH_PX * frame.height / frame.width), 1)
    small = cv2.resize(frame.bgr, (_PREVIEW_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, _PREVIEW_ENCODING)[1].tobytes()


class _HeadersMiddleware:
    """Adds the headers that every response has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)
