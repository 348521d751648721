"""What is to be had at which address: the page, the API, and what describes them."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus
from math import inf
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from installation.config.model import Config
from installation.web.status.auth import gives, is_local_request
from installation.web.upload.api import API, describe
from installation.web.upload.errors import RequestError
from installation.web.upload.image_service import ImageService, where
from installation.web.upload.metrics import WebMetrics
from installation.web.upload.queue import client_key
from installation.web.upload.request_body import receive
from installation.web.upload.response import Detail, ImageResponse, reply
from installation.web.upload.server import DISCARD_BODY_TIMEOUT_S, HEADERS
from installation.web.upload.templates import Pages

log = logging.getLogger(__name__)

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
# Asked for by machines that look after this one, again and again.
_UNCOUNTED = ("/healthz", "/metrics")
# Seconds since somebody looked after its health in which they will again.
_WATCHED = 15.0
# What is told about a request that leads nowhere.
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take such requests.",
}


class UploadApp:
    """The web extension as an ASGI application.

    Parameters
    ----------
    config
        How; see its ``web``.
    studio
        Answers pictures.
    glosses
        What the words mean, by wnid.
    meters
        Count what becomes of requests.

    Attributes
    ----------
    app
        For the server.
    """

    def __init__(
        self, config: Config, studio: ImageService, glosses: dict[str, str], meters: WebMetrics
    ) -> None:
        self._meters = meters
        self._watched_at = -inf
        self._config = config
        self._studio = studio
        self._glosses = glosses
        self._pages = Pages(config, glosses)
        self._most = int(config.web.size * 1e6)
        routes = [
            Route("/", self._page),
            Route("/", self._answer_page, methods=["POST"]),
            Route(API, self._answer_data, methods=["POST"]),
            Route("/api", self._about_api),
            Route("/openapi.json", self._openapi),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
            *(Route(f"/{name}", self._asset) for name in self._pages.assets),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                RequestError: self._trouble,
                HTTPException: self._http_error,
                ClientDisconnect: self._client_disconnected,
                Exception: self._failure,
            },
        )
        self.app: ASGIApp = _ResponseMiddleware(app, meters)

    def use(self, config: Config) -> None:
        """Look by another config from now on."""
        self._config = config
        self._pages = Pages(config, self._glosses)

    async def _page(self, _request: Request) -> Response:
        return self._pages.form()

    async def _answer_page(self, request: Request) -> Response:
        return self._pages.answer(await self._answer(request, "page", bare=False))

    async def _answer_data(self, request: Request) -> Response:
        with_picture = request.query_params.get("picture", "").lower() in ("1", "true", "yes")
        extent: Detail = "picture" if with_picture else "words"
        data = reply(await self._answer(request, extent, bare=True), self._glosses)
        return Response(data.model_dump_json(exclude_none=True), media_type="application/json")

    async def _answer(self, request: Request, extent: Detail, bare: bool) -> ImageResponse:
        who = client_key(request.client.host if request.client else None)
        queue = self._studio.queue
        queue.enter(who)
        try:
            data = await receive(request, self._most, bare)
            began = time.monotonic()
            answer = await _wait_or_disconnect(request, self._studio.submit(who, data, extent))
            self._meters.answered(len(answer.found.faces), time.monotonic() - began)
            return answer
        finally:
            queue.leave(who)

    async def _about_api(self, _request: Request) -> Response:
        return self._pages.api(describe(self._config.web))

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(describe(self._config.web))

    @property
    def watched(self) -> bool:
        """Whether somebody looks after its health: a proxy that shares pictures out."""
        return time.monotonic() - self._watched_at < _WATCHED

    async def _health(self, _request: Request) -> Response:
        self._watched_at = time.monotonic()
        refusal = self._studio.refusal
        return PlainTextResponse(f"{refusal or 'ok'}\n", 200 if refusal is None else 503)

    async def _metrics(self, request: Request) -> Response:
        token = self._config.status.token
        allowed = token is not None and gives(request.headers, token.get_secret_value())
        if not (allowed or is_local_request(request.scope)):
            raise HTTPException(404)
        return Response(self._meters.expose(), headers={"Content-Type": _PROMETHEUS})

    async def _asset(self, request: Request) -> Response:
        return self._pages.asset(request.url.path[1:])

    # --- what goes wrong

    async def _trouble(self, request: Request, error: Exception) -> Response:
        trouble = error if isinstance(error, RequestError) else RequestError(500, "")
        if request.url.path.startswith("/api"):
            response: Response = JSONResponse({"error": str(trouble)}, trouble.status)
        else:
            response = self._pages.trouble(trouble)
        if trouble.retry_after is not None:
            response.headers["Retry-After"] = str(trouble.retry_after)
        return response

    async def _http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        sentence = _SENTENCES.get(status, f"{HTTPStatus(status).phrase}.")
        response = await self._trouble(request, RequestError(status, sentence))
        response.headers.update(getattr(error, "headers", None) or {})
        return response

    async def _client_disconnected(self, _request: Request, _error: Exception) -> Response:
        return Response(status_code=499)

    async def _failure(self, request: Request, error: Exception) -> Response:
        # Its message may quote what a visitor sent.
        log.error("a request got no answer: %s at %s", type(error).__name__, where(error))
        return await self._trouble(
            request, RequestError(500, "Something went wrong here: try another picture.")
        )


async def _wait_or_disconnect(request: Request, answer: Future[ImageResponse]) -> ImageResponse:
    """Wait for an answer as long as somebody is there to have it."""
    waiting = asyncio.wrap_future(answer)
    leaving = asyncio.ensure_future(_left(request))
    either: list[asyncio.Future[Any]] = [waiting, leaving]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        leaving.cancel()
        answer.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _ResponseMiddleware:
    """Adds what every response has to have, counts them, and lets whoever sends hear them."""

    def __init__(self, app: ASGIApp, meters: WebMetrics) -> None:
        self._app = app
        self._meters = meters
        self._headers = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Who asks first is not told to go on.
        sends = b"expect" not in dict(scope["headers"])

        async def receive_noted() -> Message:
            nonlocal sends
            message = await receive()
            sends = bool(message.get("more_body"))
            return message

        async def drain() -> None:
            while sends:
                await receive_noted()

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["path"] not in _UNCOUNTED:
                    self._meters.responded(message["status"])
                message["headers"] = [*message["headers"], *self._headers]
            elif sends and not message.get("more_body"):
                # A connection that is closed on what still comes loses what was said to it.
                await send({**message, "more_body": True})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), DISCARD_BODY_TIMEOUT_S)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_noted, send_guarded)
