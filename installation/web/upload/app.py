"""The upload page and the API."""

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
from installation.runtime.tracebacks import error_location
from installation.web.client_address import client_key, network_key
from installation.web.request_checks import RequestChecks
from installation.web.status.auth import TokenCheck, is_local_request
from installation.web.upload.api import CLASSIFY_PATH, describe
from installation.web.upload.body_memory import Body, BodyMemory
from installation.web.upload.errors import INTERNAL_ERROR, RequestError
from installation.web.upload.image_service import ImageService
from installation.web.upload.metrics import WebMetrics
from installation.web.upload.request_body import FORM_OVERHEAD_BYTES, receive
from installation.web.upload.response import Detail, ImageResponse
from installation.web.upload.schemas import ErrorResponse, to_schema
from installation.web.upload.server import DISCARD_BODY_TIMEOUT_S, HEADERS
from installation.web.upload.templates import Pages
from installation.web.upload.timing import WebTiming

log = logging.getLogger(__name__)

_PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Monitoring repeats these for ever; counting them would hide the visitors.
_UNCOUNTED_PATHS = ("/healthz", "/metrics")
# By the parameter ``picture`` of the API.
_DETAILS: dict[str, Detail] = {"false": "labels", "true": "image"}
_HTTP_ERRORS = {
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
}


class UploadApp:
    """The web extension as an ASGI application.

    Parameters
    ----------
    config
        The section ``web`` sets the limits, ``theme`` and ``labels`` the look and the words.
    service
        Classifies images.
    glosses
        Definitions by wnid.
    metrics
        Counts requests.
    timing
        See `WebTiming`.

    Attributes
    ----------
    app
        The ASGI application.
    """

    def __init__(
        self,
        config: Config,
        service: ImageService,
        glosses: dict[str, str],
        metrics: WebMetrics,
        timing: WebTiming,
    ) -> None:
        self._metrics = metrics
        self._timing = timing
        self._health_polled_at = -inf
        self._config = config
        self._service = service
        self._glosses = glosses
        self._pages = Pages(config, glosses)
        self._max_bytes = int(config.web.max_upload_mb * 1e6)
        max_body_bytes = self._max_bytes + FORM_OVERHEAD_BYTES
        self._memory = BodyMemory(config.web.max_in_flight * max_body_bytes)
        self._token = None
        if config.status.token is not None:
            token = config.status.token.get_secret_value()
            self._token = TokenCheck(token, timing.wrong_token_s)
        routes = [
            Route("/", self._form_page),
            Route("/", self._classify_for_page, methods=["POST"]),
            Route(CLASSIFY_PATH, self._classify_for_api, methods=["POST"]),
            Route("/api", self._api_page),
            Route("/openapi.json", self._openapi),
            Route("/healthz", self._health),
            Route("/metrics", self._expose_metrics),
            *(Route(f"/{name}", self._asset) for name in self._pages.assets),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                RequestError: self._request_error,
                HTTPException: self._http_error,
                ClientDisconnect: self._client_disconnected,
                Exception: self._server_error,
            },
        )
        # Its redirect would repeat the Host header.
        app.router.redirect_slashes = False
        self.app: ASGIApp = _ResponseMiddleware(RequestChecks(app), metrics)

    @property
    def health_polled(self) -> bool:
        """Whether a proxy polls the health, and so will notice that this instance closes."""
        return time.monotonic() - self._health_polled_at < self._timing.health_poll_s

    def apply_config(self, config: Config) -> None:
        """Use another config's theme and labels from now on."""
        self._config = config
        self._pages = Pages(config, self._glosses)

    async def _form_page(self, request: Request) -> Response:
        return self._pages.choose(request).form()

    async def _classify_for_page(self, request: Request) -> Response:
        response = await self._classify(request, "page", bare=False)
        return self._pages.choose(request).result(response)

    async def _classify_for_api(self, request: Request) -> Response:
        wanted = request.query_params.get("picture", "false").lower()
        if wanted not in _DETAILS:
            raise RequestError(400, "The parameter picture is either true or false.")
        detail = _DETAILS[wanted]
        data = to_schema(await self._classify(request, detail, bare=True), self._glosses)
        return Response(data.model_dump_json(exclude_none=True), media_type="application/json")

    async def _classify(self, request: Request, detail: Detail, bare: bool) -> ImageResponse:
        client = client_key(request.client.host if request.client else None)
        queue = self._service.queue
        queue.check(client)
        with self._memory.body(network_key(client)) as body:
            data = await self._receive(request, bare, body)
            queue.acquire(client)
            try:
                started_at = time.monotonic()
                pending = self._service.submit(client, data, detail)
                response = await _wait_or_disconnect(request, pending)
                duration_s = time.monotonic() - started_at
                self._metrics.count_image(len(response.result.faces), duration_s)
                return response
            finally:
                queue.release(client)

    async def _receive(self, request: Request, bare: bool, body: Body) -> bytes:
        grace_s = self._timing.upload_grace_s
        with self._metrics.receiving():
            try:
                return await receive(request, self._max_bytes, bare, grace_s, body)
            except RequestError as error:
                refusal = RequestError(error.status, str(error), error.retry_after)
        # The traceback of the first one keeps in memory what was received, until the rest of the
        # body is discarded.
        raise refusal

    async def _api_page(self, _request: Request) -> Response:
        return self._pages.english.api(describe(self._config.web))

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(describe(self._config.web))

    async def _health(self, _request: Request) -> Response:
        self._health_polled_at = time.monotonic()
        reason = self._service.unavailable_reason
        return PlainTextResponse(f"{reason or 'ok'}\n", 200 if reason is None else 503)

    async def _expose_metrics(self, request: Request) -> Response:
        allowed = is_local_request(request.scope) or (
            self._token is not None and await self._token.allows(request.headers)
        )
        if not allowed:
            raise HTTPException(404)
        return Response(self._metrics.expose(), headers={"Content-Type": _PROMETHEUS_TYPE})

    async def _asset(self, request: Request) -> Response:
        return self._pages.asset(request.url.path[1:])

    async def _request_error(self, request: Request, error: Exception) -> Response:
        known = error if isinstance(error, RequestError) else RequestError(500, INTERNAL_ERROR)
        if request.url.path.startswith("/api"):
            body = ErrorResponse(error=str(known)).model_dump()
            response: Response = JSONResponse(body, known.status)
        else:
            response = self._pages.choose(request).error(known)
        if known.retry_after is not None:
            response.headers["Retry-After"] = str(known.retry_after)
        return response

    async def _http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        message = _HTTP_ERRORS.get(status, f"{HTTPStatus(status).phrase}.")
        response = await self._request_error(request, RequestError(status, message))
        response.headers.update(getattr(error, "headers", None) or {})
        return response

    async def _client_disconnected(self, _request: Request, _error: Exception) -> Response:
        return Response(status_code=499)

    async def _server_error(self, request: Request, error: Exception) -> Response:
        # Not its message, which may quote what a visitor sent.
        log.error("request failed: %s at %s", type(error).__name__, error_location(error))
        return await self._request_error(request, RequestError(500, INTERNAL_ERROR))


async def _wait_or_disconnect(request: Request, pending: Future[ImageResponse]) -> ImageResponse:
    """Wait for a response; cancel it and raise `ClientDisconnect` if the client leaves."""
    response = asyncio.wrap_future(pending)
    disconnect = asyncio.ensure_future(_until_disconnect(request))
    either: list[asyncio.Future[Any]] = [response, disconnect]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not response.done():
            raise ClientDisconnect
        return response.result()
    finally:
        disconnect.cancel()
        pending.cancel()


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _ResponseMiddleware:
    """Adds the common headers, counts responses, and reads the rest of a rejected body.

    A connection that is closed while the client still sends loses the response.
    """

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A client with "Expect: 100-continue" sends no body before it is told to.
        body_pending = b"expect" not in dict(scope["headers"])

        async def receive_body() -> Message:
            nonlocal body_pending
            message = await receive()
            body_pending = bool(message.get("more_body"))
            return message

        async def discard_body() -> None:
            while body_pending:
                await receive_body()

        async def send_response(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["path"] not in _UNCOUNTED_PATHS:
                    self._metrics.count_response(message["status"])
                message["headers"] = [*message["headers"], *self._headers]
            elif body_pending and not message.get("more_body"):
                await send({**message, "more_body": True})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(discard_body(), DISCARD_BODY_TIMEOUT_S)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_body, send_response)
