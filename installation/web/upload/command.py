"""Run the web extension: open the engines, then serve uploads until told to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from socket import socket

from installation.application import Application
from installation.config.model import Config
from installation.config.reload import ConfigFile
from installation.errors import InstallationError
from installation.inference.open_engines import rebuild_damaged
from installation.labels.glosses import load_glosses
from installation.web.client_address import both_forms
from installation.web.http_server import bind, server_config, silence_libraries, url_of
from installation.web.upload.app import UploadApp
from installation.web.upload.image_service import ImageService
from installation.web.upload.metrics import WebMetrics
from installation.web.upload.server import UploadProtocol, UploadServer
from installation.web.upload.timing import WebTiming

log = logging.getLogger(__name__)


def serve(file: ConfigFile, timing: WebTiming | None = None) -> None:
    """Serve the web extension until SIGTERM or SIGINT.

    Parameters
    ----------
    file
        The config; reloaded when it changes.
    timing
        See `WebTiming`.

    Raises
    ------
    InstallationError, EngineError
        Something a technician can act on.
    """
    timing = timing or WebTiming()
    with Application(file.start(), file, forced_end_s=timing.forced_end_s) as application:
        config = application.config
        with _listen(config) as listening:
            rebuild_damaged(config.inference.engines, ("person-glosses",))
            glosses = load_glosses(config.inference.engines)
            service = ImageService(
                config,
                config.record.file,
                application.start_worker,
                writer_timing=timing.writer,
            )
            try:
                application.tasks.add(
                    "watchdog", timing.watchdog_period_s, application.check_workers
                )
                while service.unavailable_reason is not None:
                    application.run_due()
                    if application.signals.end:
                        return
                    time.sleep(timing.start_poll_s)
                _WebExtension(application, service, glosses, timing).run(listening)
            finally:
                application.notifier.stopping()
                service.close(timing.shutdown_timeout_s)


def _listen(config: Config) -> socket:
    address, port = config.web.address, config.web.port
    try:
        return bind(address, port)
    except OSError as error:
        raise InstallationError(
            f"web.address {address}, web.port {port}: cannot be used: {error.strerror}; "
            "choose another, or stop the program that uses it"
        ) from error


class _WebExtension:
    """One run of the server."""

    def __init__(
        self,
        application: Application,
        service: ImageService,
        glosses: dict[str, str],
        timing: WebTiming,
    ) -> None:
        self._application = application
        self._service = service
        self._timing = timing
        self._metrics = WebMetrics(service)
        self._app = UploadApp(application.config, service, glosses, self._metrics, timing)
        self._ends_at: float | None = None

    def run(self, listening: socket) -> None:
        """Serve until there is a reason to stop; raise what made a worker fail."""
        silence_libraries()
        application, service = self._application, self._service
        proxies = tuple(both_forms(application.config.web.proxies))
        protocol = type("Protocol", (UploadProtocol,), {"proxies": proxies})
        server = UploadServer(
            server_config(self._app.app, protocol, int(self._timing.drain_timeout_s)),
            self._tick,
            lambda: self._announce(url_of(listening)),
            service.queue.stop_accepting,
            service.fail_pending,
            self._timing.drain_timeout_s,
        )
        application.subscribe(self._apply_config)
        period_s = self._timing.watchdog_period_s
        application.tasks.add("connections", period_s, server.enforce_timeouts)
        application.tasks.add("addresses", period_s, lambda _elapsed_s: service.queue.evict_idle())
        application.tasks.add("status line", period_s, self._send_status)
        asyncio.run(server.serve(sockets=[listening]))

    def _announce(self, url: str) -> None:
        log.info("serving the web extension at %s", url)
        self._application.start_reloading(self._timing.watch)
        self._application.notifier.ready()

    def _tick(self) -> bool:
        """Do what is due; return whether to end."""
        application = self._application
        application.run_due()
        if not application.signals.end:
            return False
        if self._ends_at is None:
            self._service.begin_drain()
            notice_s = self._timing.proxy_notice_s if self._app.health_polled else 0
            self._ends_at = time.monotonic() + notice_s
        return time.monotonic() >= self._ends_at

    def _send_status(self, _elapsed_s: float) -> None:
        self._application.notifier.status(self._metrics.as_text())

    def _apply_config(self, config: Config, changed: Collection[str]) -> None:
        self._app.apply_config(config)
        if {"labels", "theme"} & set(changed):
            self._service.apply(config)
