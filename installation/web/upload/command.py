"""``installation web``: opens the studio and serves the site until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from ipaddress import ip_network

import uvicorn

from installation.config.model import Config
from installation.config.reload import ConfigFile, apply_changes, changes
from installation.config.watch import ConfigWatch
from installation.errors import InstallationError
from installation.inference.open_engines import rebuild_damaged
from installation.labels.glosses import load_glosses
from installation.runtime.signals import Signals
from installation.supervision.systemd_notify import Notifier
from installation.web.upload.app import UploadApp
from installation.web.upload.image_service import ImageService
from installation.web.upload.metrics import WebMetrics
from installation.web.upload.server import GRACE, MOST_HEADERS, Connection, Server

log = logging.getLogger(__name__)

_WATCH = 0.1
# Seconds for a proxy to notice that this is about to close.
_DRAIN_S = 3.0
# Seconds for threads to return at the end.
_FAREWELL = 0.5


def serve(file: ConfigFile) -> None:
    """Serve the web extension until SIGTERM or SIGINT.

    Parameters
    ----------
    file
        Says how; read again when it was changed.

    Raises
    ------
    InstallationError
        Something a technician has to mend.
    """
    config = file.start()
    signals = Signals()
    notifier = Notifier.from_environment()
    try:
        with _bound(config) as listening:
            rebuild_damaged(config.inference.engines, ("person-glosses",))
            glosses = load_glosses(config.inference.engines)
            studio = ImageService(config, config.record.file)
            try:
                while studio.refusal is not None:
                    time.sleep(_WATCH)
                    studio.check()
                    if signals.end:
                        return
                _Service(config, studio, glosses, file, signals, notifier).run(listening)
            finally:
                notifier.stopping()
                studio.close(_FAREWELL)
    finally:
        notifier.close()
        signals.restore()


def _bound(config: Config) -> socket.socket:
    address, port = config.web.address, config.web.port
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
    except OSError as error:
        listening.close()
        raise InstallationError(
            f"web.address {address}, web.port {port}: cannot be used: {error.strerror}; "
            "set another, or end what uses it"
        ) from error
    return listening


class _Service:
    """One run: the server, and what is asked of it meanwhile."""

    def __init__(
        self,
        config: Config,
        studio: ImageService,
        glosses: dict[str, str],
        file: ConfigFile,
        signals: Signals,
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._studio = studio
        self._meters = WebMetrics(studio)
        self._site = UploadApp(config, studio, glosses, self._meters)
        self._config_watch = ConfigWatch(file)
        self._signals = signals
        self._notifier = notifier
        self._address = ""
        self._announced = False
        self._ends_at: float | None = None

    def run(self, listening: socket.socket) -> None:
        """Serve until there is a reason to stop; raise what made a thread fail."""
        # They log tracebacks and what visitors sent; what matters is logged here, without either.
        for name in ("uvicorn.error", "uvicorn.access", "python_multipart", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        proxies = self._config.web.proxies
        connection = type("Connection", (Connection,), {"proxies": tuple(map(ip_network, proxies))})
        server = Server(
            uvicorn.Config(
                self._site.app,
                http=connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                server_header=False,
                h11_max_incomplete_event_size=MOST_HEADERS,
                timeout_graceful_shutdown=int(GRACE),
            ),
            self._over,
            self._watch,
            self._studio.queue.shut,
            self._studio.dismiss,
        )
        address, port = listening.getsockname()[:2]
        self._address = f"http://{f'[{address}]' if ':' in address else address}:{port}/"
        try:
            asyncio.run(server.serve(sockets=[listening]))
        finally:
            self._config_watch.stop()

    def _announce(self) -> None:
        log.info("serving the web extension at %s", self._address)
        if warning := self._config.labels.choice.warning:
            log.warning("%s", warning)
        self._notifier.ready()

    def _over(self) -> bool:
        if not self._signals.end:
            return False
        if self._ends_at is None:
            self._studio.leave()
            self._ends_at = time.monotonic() + (_DRAIN_S if self._site.watched else 0)
        return time.monotonic() >= self._ends_at

    def _watch(self) -> None:
        if not self._announced:
            self._announced = True
            self._announce()
        self._config_watch.attend(self._signals, self._notifier, self._change_to)
        self._studio.check()
        self._studio.queue.forget()
        self._notifier.alive()
        self._notifier.status(self._meters.as_text())

    def _change_to(self, config: Config) -> None:
        now, later = changes(self._config, config)
        self._config = apply_changes(self._config, config)
        self._site.use(self._config)
        if {key.partition(".")[0] for key in now} & {"labels", "theme"}:
            self._studio.use(self._config)
        for key in later:
            log.warning("%s: takes effect at the next start; to have it now, restart", key)
        log.info("config read again; changed: %s", ", ".join(now) or "nothing")
