"""What is to be had at which address."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import traceback
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
from installation.scene import Frame
from installation.supervision.temperature import temperature
from installation.web.status.auth import AuthMiddleware, is_local_request
from installation.web.status.health import evaluate
from installation.web.status.history import History
from installation.web.status.page import Page
from installation.web.status.prometheus import expose
from installation.web.status.snapshot import StatusSnapshot

log = logging.getLogger(__name__)

# Added to each response. A connection serves one request: nobody holds on to one.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
# A page is made at most this often, seconds, however many ask.
_FRESH = 0.5
# Pixels across of what is shown of the camera's picture, and what makes JPEG of it.
_PREVIEW = 480
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 80)


class StatusApp:
    """The status as an ASGI application; used from one thread.

    Parameters
    ----------
    settings
        Whom to tell, and whether to show what the camera sees.
    reports
        Whose newest is told.
    restarts
        By the service manager; None where there is none.

    Attributes
    ----------
    app
        For the server.
    """

    def __init__(
        self, settings: config.Status, reports: Latest[StatusSnapshot], restarts: int | None
    ) -> None:
        self._reports = reports
        self._restarts = restarts
        self._history = History()
        self._page = Page(settings.preview)
        self._temperature: float | None = None
        self._free: int | None = None
        self._made: dict[str, tuple[float, bytes]] = {}
        self._complaint = ""
        style = files(__package__).joinpath("assets/style.css").read_bytes()
        routes = [
            Route("/", lambda _: HTMLResponse(self._cached("page", self._draw))),
            Route("/style.css", lambda _: Response(style, media_type="text/css")),
            # Browsers ask for it unasked.
            Route("/favicon.ico", lambda _: Response(status_code=204)),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
        ]
        if settings.preview:
            routes.append(Route("/preview.jpg", self._preview))
        inner = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _nowhere, Exception: self._failure},
        )
        token = None if settings.token is None else settings.token.get_secret_value()
        self.app: ASGIApp = _HeadersMiddleware(
            AuthMiddleware(inner, token, settings.address.is_loopback)
        )

    def take_a_sample(self) -> None:
        """Note how it is now; to be called every `history.EVERY` seconds."""
        report = self._report
        self._temperature = temperature()
        # Here and not where the wall is: a disk may take its time to answer.
        self._free = None if report is None or report.record is None else _free(report.record)
        self._history.take(report, self._temperature)

    @property
    def _report(self) -> StatusSnapshot | None:
        newest = self._reports.get(after=0, timeout=0)
        return None if newest is None else newest[1]

    def _cached(self, name: str, make: Callable[[], bytes]) -> bytes:
        at, made = self._made.get(name, (0.0, b""))
        now = time.monotonic()
        if not made or now - at >= _FRESH:
            made = make()
            self._made[name] = now, made
        return made

    def _draw(self) -> bytes:
        report = self._report
        health = evaluate(report, time.monotonic())
        return _encoded(self._page.draw(report, health, self._history, self._restarts))

    def _expose(self) -> bytes:
        report = self._report
        health = evaluate(report, time.monotonic())
        return expose(report, health, self._temperature, self._restarts, self._free)

    async def _health(self, _request: Request) -> Response:
        health = evaluate(self._report, time.monotonic())
        return PlainTextResponse(_encoded(health.as_text()), 503 if health.faults else 200)

    async def _metrics(self, _request: Request) -> Response:
        body = self._cached("metrics", self._expose)
        return Response(body, headers={"content-type": _PROMETHEUS})

    async def _preview(self, request: Request) -> Response:
        report = self._report
        if not is_local_request(request.scope) or report is None or report.frame is None:
            raise HTTPException(404)
        return Response(_jpeg(report.frame), media_type="image/jpeg")

    async def _failure(self, _request: Request, error: Exception) -> Response:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        complaint = f"status: unexpected {type(error).__name__} at {where}; please report this"
        # It may be asked for every second.
        if complaint != self._complaint:
            self._complaint = complaint
            log.error("%s", complaint)
        return PlainTextResponse("Something went wrong here.\n", 500)


async def _nowhere(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


def _encoded(text: str) -> bytes:
    # A file's name may hold bytes that are no text.
    return text.encode(errors="backslashreplace")


def _free(record: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(record.parent).free
    return None


def _jpeg(frame: Frame) -> bytes:
    height = max(round(_PREVIEW * frame.height / frame.width), 1)
    small = cv2.resize(frame.bgr, (_PREVIEW, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, _QUALITY)[1].tobytes()


class _HeadersMiddleware:
    """Adds to each response what belongs to all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, dressed)
