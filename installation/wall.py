"""The application in the gallery: joins camera, vision, screen, record and status page."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

from installation.application import Application
from installation.capture.capture import Capture
from installation.capture.make_source import make_source
from installation.capture.source import Source
from installation.config.model import Config
from installation.config.reload import ConfigFile
from installation.config.watch import WatchTiming
from installation.display.presenter import (
    FrameObserver,
    Presenter,
    PresenterTiming,
    idle_words,
)
from installation.display.screen import DisplayError
from installation.display.window import Window
from installation.errors import FAILURE
from installation.inference.open_engines import mark_clean_exit
from installation.record.recorder import Recorder
from installation.record.writer import WriterTiming
from installation.runtime.deadline import at_force_exit, deadline
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed, Latest
from installation.runtime.signals import Stop
from installation.runtime.worker import Worker
from installation.scene import Frame, Scene
from installation.supervision.opening_state import OpeningState
from installation.supervision.temperature import temperature
from installation.vision.worker import VisionTiming, VisionWorker
from installation.web.status.health import evaluate
from installation.web.status.server import StatusServer
from installation.web.status.snapshot import StatusSnapshot, WorkerHealth

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WallTiming:
    """Periods and timeouts, all in seconds.

    Attributes
    ----------
    watchdog_period_s
        Between two checks of workers and opening hours; the status page is updated as often.
    monitor_period_s
        Between two checks of the monitors.
    status_period_s
        Between two status lines for systemd.
    temperature_period_s
        Between two readings of the temperature, which some machines take a frame's time for.
    capture_timeout_s
        Between two heartbeats of the capture worker.
    shutdown_timeout_s
        Time for all workers to end.
    window_timeout_s
        Time for the window to close: an X server may hang.
    status_server_timeout_s
        Time for the status server to end.
    forced_end_s
        From a request to end until the process is ended by force.
    vision, presenter, writer, watch
        Those of the vision worker, of the screen, of the record and of the watched config.
    """

    watchdog_period_s: float = 0.5
    monitor_period_s: float = 5.0
    status_period_s: float = 2.0
    temperature_period_s: float = 30.0
    capture_timeout_s: float = 10.0
    shutdown_timeout_s: float = 1.0
    window_timeout_s: float = 3.0
    status_server_timeout_s: float = 0.3
    forced_end_s: float = 20.0
    vision: VisionTiming = field(default_factory=VisionTiming)
    presenter: PresenterTiming = field(default_factory=PresenterTiming)
    writer: WriterTiming = field(default_factory=WriterTiming)
    watch: WatchTiming = field(default_factory=WatchTiming)


@dataclass(frozen=True, slots=True)
class WallOptions:
    """How the wall is run.

    Attributes
    ----------
    config_file
        Where the config is reloaded from when it changes. None for demonstrations and benchmarks:
        the config never changes, no record is kept and no status page is served.
    headless
        Whether to draw into memory instead of onto a screen.
    observer
        Is shown every frame that was presented, and may end the program.
    timing
        See `WallTiming`.
    """

    config_file: ConfigFile | None = None
    headless: bool = False
    observer: FrameObserver | None = None
    timing: WallTiming = field(default_factory=WallTiming)


def run(config: Config, source: Source, options: WallOptions | None = None) -> None:
    """Run the wall until its window is closed, SIGTERM or SIGINT comes, or the source ends.

    Parameters
    ----------
    config
        The config to start with.
    source
        Where frames come from; opened on the capture thread.
    options
        See `WallOptions`.

    Raises
    ------
    InstallationError, EngineError
        Something a technician can act on.
    """
    options = options or WallOptions()
    with Application(
        config,
        options.config_file,
        interrupt_startup=True,
        forced_end_s=options.timing.forced_end_s,
    ) as application:
        try:
            window = Window(config.display, config.theme, options.headless, idle_words(config))
            application.signals.interrupt = False
            log.info("running: %s, %d x %d", source.name, *window.size)
            try:
                _Wall(application, source, window, options).run()
            finally:
                application.notifier.stopping()
                try:
                    if options.observer is not None:
                        options.observer.on_close(window)
                finally:
                    _close(window, options.timing.window_timeout_s)
        except Stop:
            # There is no window yet, and nothing to close.
            return


def _close(window: Window, timeout_s: float) -> None:
    """Close the window; if that hangs, end the process, but with its own error first."""
    error = sys.exc_info()[1]
    status = getattr(error, "status", FAILURE) if error else 0
    line = f"the window could not be closed within {timeout_s:g} s; exiting without closing it"
    with deadline(timeout_s, f"{error}; {line}" if error else line, status):
        window.close()


class _Wall:
    """One run: creates the parts, joins them, and reports on them."""

    def __init__(
        self, application: Application, source: Source, window: Window, options: WallOptions
    ) -> None:
        config, timing = application.config, options.timing
        frames, scenes = Latest[Frame](), Latest[Scene]()
        installed = options.config_file is not None
        self._application = application
        self._window = window
        self._timing = timing
        self._record = config.record.file if installed else None
        self._status = config.status if installed and config.status.port is not None else None
        self._recorder = (
            None if self._record is None else Recorder(self._record, config, timing.writer)
        )
        # In front of visitors, a slate is better than a screen that comes and goes.
        retry = application.notifier.connected
        self._vision = VisionWorker(
            config, frames, scenes, self._recorder, retry=retry, timing=timing.vision
        )
        self._capture_heartbeat = Heartbeat("capture", timing.capture_timeout_s)
        self._capture = Capture(source, frames, self._capture_heartbeat.beat)
        self._capture_started = False
        self._vision_thread: Worker | None = None
        # Cameras are read from the beginning; videos wait for the engines.
        self._is_live = source.interval_s is None
        self._presenter = Presenter(
            window, config.theme.text_no_camera, frames, scenes, options.observer, timing.presenter
        )
        self._opening = OpeningState(config.hours.schedule)
        self._server: StatusServer | None = None
        self._open_s = 0.0
        self._temperature: float | None = None
        self._monitors_off = False

    def run(self) -> None:
        """Run until there is a reason to stop; raise what a worker raised."""
        application, timing = self._application, self._timing
        with self._status_server():
            application.subscribe(self._apply_config)
            application.subscribe(self._vision.apply)
            application.subscribe(self._presenter.apply)
            application.start_reloading(timing.watch, self._reopening_sections)
            tasks = application.tasks
            tasks.add("temperature", timing.temperature_period_s, self._read_temperature)
            tasks.add("watchdog", timing.watchdog_period_s, application.check_workers)
            tasks.add("hours", timing.watchdog_period_s, self._check_hours)
            tasks.add("monitors", timing.monitor_period_s, self._check_monitors)
            tasks.add("status page", timing.watchdog_period_s, self._publish)
            tasks.add("status line", timing.status_period_s, self._send_status)
            self._vision_thread = application.start_worker(self._vision.heartbeat, self._vision.run)
            application.notifier.ready()
            with at_force_exit(partial(self._stop, requested=True)):
                try:
                    while not self._should_stop():
                        application.run_due()
                        self._update_screen()
                except Closed:
                    pass
                finally:
                    self._stop(requested=application.signals.end)
            application.raise_worker_error()

    @contextmanager
    def _status_server(self) -> Iterator[None]:
        """Serve the status page, if the config asks for it."""
        if self._status is None:
            yield
            return
        self._server = StatusServer(self._status)
        try:
            yield
        finally:
            self._server.stop()
            self._server.join(self._timing.status_server_timeout_s)

    def _stop(self, requested: bool) -> None:
        """End the workers.

        Parameters
        ----------
        requested
            Whether somebody asked for the end, so that a GPU at work is not to blame for it.
        """
        if self._server is not None:
            self._server.stop()
        self._application.stop_reloading()
        self._capture.stop()
        self._vision.stop()
        self._application.join_workers(self._timing.shutdown_timeout_s)
        if requested and self._vision_thread is not None and self._vision_thread.alive:
            mark_clean_exit(self._application.config.inference.engines)

    def _should_stop(self) -> bool:
        application = self._application
        return (
            self._presenter.finished
            or application.signals.end
            or any(worker.error is not None for worker in application.workers)
        )

    def _update_screen(self) -> None:
        ready = self._vision.ready.is_set()
        if not self._capture_started and (self._is_live or ready):
            self._capture_started = True
            self._application.start_worker(self._capture_heartbeat, self._capture.run)
        if not self._opening.open:
            self._presenter.show_dark()
        elif ready:
            self._presenter.show()
        else:
            self._presenter.show_slate(self._vision.progress_text)

    def _read_temperature(self, _elapsed_s: float) -> None:
        self._temperature = temperature()

    def _check_hours(self, elapsed_s: float) -> None:
        # After the machine slept, nobody knows since when it was open.
        if self._opening.open and elapsed_s < self._timing.monitor_period_s:
            self._open_s += elapsed_s
        if self._opening.update(datetime.now(timezone.utc)):
            log.info("%s", self._opening)
            if self._opening.open:
                self._capture.resume()
            else:
                self._capture.pause()

    def _check_monitors(self, _elapsed_s: float) -> None:
        if self._window.monitors_changed:
            raise DisplayError("the monitors have changed; exiting; systemd will restart it")
        self._monitors_off = self._window.monitors_off

    def _publish(self, _elapsed_s: float) -> None:
        if self._server is not None:
            self._server.publish(self._snapshot())

    def _send_status(self, _elapsed_s: float) -> None:
        self._application.notifier.status(self._status_line())

    def _reopening_sections(self) -> Collection[str]:
        # While no engine is open, others may be opened instead.
        return () if self._vision.error is None else ("inference",)

    def _apply_config(self, config: Config, changed: Collection[str]) -> None:
        if "camera" in changed:
            self._capture.set_source(make_source(config))
        if "hours" in changed:
            self._opening.schedule = config.hours.schedule

    def _snapshot(self) -> StatusSnapshot:
        config, presenter, recorder = self._application.config, self._presenter, self._recorder
        heartbeats = (worker.heartbeat for worker in self._application.workers)
        return StatusSnapshot(
            at=time.monotonic(),
            open=self._opening.open,
            hours_text=str(self._opening),
            opens_at=self._opens_at(),
            open_seconds=self._open_s,
            preparing=None if self._vision.ready.is_set() else self._vision.progress_text,
            picture_visible=not presenter.waiting,
            shown_at=presenter.shown_at,
            screen_stuck=presenter.freeze_detector.frozen,
            metrics=presenter.metrics.copy(),
            faces=presenter.face_count,
            workers=tuple(
                WorkerHealth(each.name, each.age_s, each.timeout_s) for each in heartbeats
            ),
            camera=self._capture.name,
            camera_error=self._capture.error,
            camera_disconnects=self._capture.outages,
            device=self._vision.device,
            fallback=self._vision.fallback,
            classifier=config.inference.classifier,
            policy=config.labels.policy,
            record=self._record,
            recording_error=None if recorder is None else recorder.error,
            frame=presenter.frame if config.status.preview else None,
            engine_error=self._vision.error,
            monitors_off=self._monitors_off,
        )

    def _opens_at(self) -> float:
        if self._opening.open:
            return 0.0
        opens = self._opening.opens_at
        return math.inf if opens is None else opens.timestamp()

    def _status_line(self) -> str:
        if not self._opening.open:
            return str(self._opening)
        preparing = not self._vision.ready.is_set()
        if preparing and self._vision.error is None:
            return self._vision.progress_text
        health = evaluate(self._snapshot(), time.monotonic())
        figures = [] if preparing else list(self._figures())
        if not health.faults:
            return ", ".join(figures)
        figures = [each for each in figures if each not in health.faults]
        return f"{health.summary}: {'; '.join(health.faults)}; {', '.join(figures)}".rstrip("; ")

    def _figures(self) -> Iterator[str]:
        metrics, recorder = self._presenter.metrics, self._recorder
        ages = "/".join(f"{1000 * metrics.frame_age.quantile(q):.0f}" for q in (0.5, 0.99))
        yield f"{metrics.rate(time.monotonic()):.1f} frames per second (age {ages} ms)"
        faces = self._presenter.face_count
        yield f"{faces} face{'' if faces == 1 else 's'}"
        yield self._capture.error or f"camera {self._capture.name}"
        yield self._vision.device + (" for now" if self._vision.fallback else "")
        if self._temperature is not None:
            yield f"{self._temperature:.0f} °C"
        if recorder is not None and recorder.error:
            yield recorder.error
        if self._application.config_error:
            yield self._application.config_error
