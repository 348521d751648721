"""Opens the rooms, wires them together, and shuts them down in order."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from installation.capture.capture import Capture
from installation.capture.make_source import make_source
from installation.capture.source import Source
from installation.config.model import Config, Status
from installation.config.reload import ConfigFile, apply_changes, changes
from installation.config.watch import ConfigWatch
from installation.display.presenter import FrameObserver, Presenter, idle_words
from installation.display.screen import DisplayError
from installation.display.window import Window
from installation.errors import FAILURE
from installation.inference.open_engines import mark_clean_exit
from installation.record.recorder import Recorder
from installation.runtime.deadline import at_force_exit, deadline
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed, Latest
from installation.runtime.signals import Signals, Stop
from installation.scene import Frame, Scene
from installation.supervision.opening_state import OpeningState
from installation.supervision.systemd_notify import Notifier
from installation.supervision.temperature import temperature
from installation.vision.worker import PATIENCE, VisionWorker, Worker
from installation.web.status.health import evaluate
from installation.web.status.server import StatusServer
from installation.web.status.snapshot import StageHealth, StatusSnapshot

log = logging.getLogger(__name__)

# Seconds all stages together have to return when they are asked to.
_SHUTDOWN_TIMEOUT_S = 1.0
# And for the window to be closed: an X server may hang.
_CLOSING_S = 3.0
# And for nobody to be told any more.
_STATUS_SERVER_JOIN_S = 0.3
# Seconds between looks at the stages and the clock, at the monitors, and between words on all that;
# and between readings of the temperature, for which some machines take as long as for a picture.
_WATCHDOG_INTERVAL_S = 0.5
_MONITORS = 5.0
_STATUS = 2.0
_TEMPERATURE = 30.0


def run(
    config: Config,
    source: Source,
    headless: bool,
    witness: FrameObserver | None = None,
    file: ConfigFile | None = None,
    record: Path | None = None,
    status: Status | None = None,
) -> None:
    """Run the installation until it is closed, told to stop, the film ends or the witness leaves.

    Parameters
    ----------
    config
        How.
    source
        Where pictures come from; opened here.
    headless
        Draw into memory instead of onto a screen.
    witness
        Sees every picture shown.
    file
        To read the config from again when it was changed; None where there is none.
    record
        Where to keep which words were given; None for nowhere.
    status
        Where to serve the status; None, or one without a port, for nowhere.

    Raises
    ------
    InstallationError
        Something a technician has to mend.
    """
    # Until the loop that looks for them has begun.
    signals = Signals(interrupt=True)
    notifier = Notifier.from_environment()
    server = None
    try:
        if warning := config.labels.choice.warning:
            log.warning("%s", warning)
        window = Window(config.display, config.theme, headless, idle_words(config))
        signals.interrupt = False
        try:
            log.info("running: %s, %d x %d", source.name, *window.size)
            notifier.ready()
            if status is not None and status.port is not None:
                server = StatusServer(status)
            show = _Session(
                config, source, window, witness, file, record, signals, notifier, server
            )
            show.run()
        finally:
            notifier.stopping()
            try:
                if witness is not None:
                    witness.leave(window)
            finally:
                _close(window)
    except Stop:
        # There is no window yet, and nothing to close.
        pass
    finally:
        if server is not None:
            server.stop()
            server.join(_STATUS_SERVER_JOIN_S)
        notifier.close()
        signals.restore()


def _close(window: Window) -> None:
    """Close a window; if that hangs, end without, but not without what there is to say."""
    error = sys.exc_info()[1]
    status = getattr(error, "status", FAILURE) if error else 0
    line = f"the window could not be closed within {_CLOSING_S:g} s; ended without"
    with deadline(_CLOSING_S, f"{error}; {line}" if error else line, status):
        window.close()


class _Session:
    """One run: the stages, the wall between them, and what a technician asks meanwhile."""

    def __init__(
        self,
        config: Config,
        source: Source,
        window: Window,
        witness: FrameObserver | None,
        file: ConfigFile | None,
        record: Path | None,
        signals: Signals,
        notifier: Notifier,
        server: StatusServer | None,
    ) -> None:
        frames, scenes = Latest[Frame](), Latest[Scene]()
        self._config = config
        self._window = window
        self._file = file
        self._config_watch = None if file is None else ConfigWatch(file)
        self._signals = signals
        self._notifier = notifier
        self._server = server
        self._record = record
        self._recorder = None
        if record is not None:
            self._recorder = Recorder(record, config)
        # Where nobody looks at a terminal, a slate is better than a screen that comes and goes.
        self._vision = VisionWorker(config, frames, scenes, self._recorder, notifier.connected)
        self._capture_heart = Heartbeat("capture", PATIENCE)
        self._capture = Capture(source, frames, self._capture_heart.beat)
        # A camera wants to be read from the beginning; a film waits.
        self._live = source.interval_s is None
        self._wall = Presenter(window, config.theme.text_no_camera, frames, scenes, witness)
        self._doors = OpeningState(config.hours.schedule)
        self._stages: list[Worker] = []
        self._watched_at = self._told_at = self._monitored_at = self._felt_at = -math.inf
        self._hot: float | None = None
        self._dark = False
        self._open_seconds = 0.0

    def run(self) -> None:
        """Go on until there is a reason to stop; raise what a stage raised."""
        self._stages.append(Worker(self._vision.heart, self._vision.run))
        with at_force_exit(partial(self._stop, excused=True)):
            try:
                while not self._should_stop():
                    self._tick()
                    self._update_display()
            except Closed:
                pass
            finally:
                self._stop(excused=self._signals.end)
        for stage in self._stages:
            if stage.failure is not None:
                raise stage.failure

    def _stop(self, excused: bool) -> None:
        """End the stages, within a second.

        Parameters
        ----------
        excused
            Whether a GPU is not to blame should it be at work still.
        """
        if self._server is not None:
            self._server.stop()
        if self._config_watch is not None:
            self._config_watch.stop()
        self._capture.stop()
        self._vision.stop()
        until = time.monotonic() + _SHUTDOWN_TIMEOUT_S
        for stage in reversed(self._stages):
            stage.join(until - time.monotonic())
        if excused and self._stages[0].alive:
            mark_clean_exit(self._config.inference.engines)

    def _should_stop(self) -> bool:
        failed = any(stage.failure for stage in self._stages)
        return self._wall.over or self._signals.end or failed

    def _update_display(self) -> None:
        """Put on the wall what belongs there now."""
        ready = self._vision.ready.is_set()
        if len(self._stages) == 1 and (self._live or ready):
            self._stages.append(Worker(self._capture_heart, self._capture.run))
        if not self._doors.open:
            self._wall.show_dark()
        elif ready:
            self._wall.show()
        else:
            self._wall.wait(self._vision.words)

    def _tick(self) -> None:
        """Do what is not the picture's, now and then."""
        if self._config_watch is not None:
            self._config_watch.poll(self._signals, self._notifier, self._apply_config)
        now = time.monotonic()
        if (passed := now - self._watched_at) >= _WATCHDOG_INTERVAL_S:
            self._watched_at = now
            # At the first watch, and after the machine slept, nobody knows since when.
            self._open_seconds += passed if self._doors.open and passed < _MONITORS else 0.0
            for stage in self._stages:
                if stage.alive:
                    stage.heart.check()
            self._notifier.watchdog()
            self._apply_opening_hours()
            if self._server is not None:
                self._server.publish(self._report(now))
        if now - self._monitored_at >= _MONITORS:
            self._monitored_at = now
            if self._window.monitors_changed:
                raise DisplayError("the monitors have changed; leaving, to be started on them")
            self._dark = self._window.monitors_off
        if now - self._told_at >= _STATUS:
            self._told_at = now
            self._notifier.status(self._status(now))

    def _apply_opening_hours(self) -> None:
        if self._doors.update(datetime.now(timezone.utc)):
            log.info("%s", self._doors)
            if self._doors.open:
                self._capture.wake()
            else:
                self._capture.rest()

    def _report(self, now: float) -> StatusSnapshot:
        config, wall, recorder = self._config, self._wall, self._recorder
        return StatusSnapshot(
            at=now,
            open=self._doors.open,
            doors=str(self._doors),
            opens_at=self._opens_at(),
            open_seconds=self._open_seconds,
            preparing=None if self._vision.ready.is_set() else self._vision.words,
            waiting=wall.waiting,
            shown_at=wall.shown_at,
            stuck=wall.stillness.frozen,
            metrics=wall.metrics.copy(),
            faces=wall.faces,
            pulses=tuple(
                StageHealth(stage.heart.name, stage.heart.silent, stage.heart.patience)
                for stage in self._stages
            ),
            camera=self._capture.name,
            trouble=self._capture.trouble,
            losses=self._capture.losses,
            device=self._vision.device,
            fallback=self._vision.fallback,
            classifier=config.inference.classifier,
            policy=config.labels.policy,
            record=self._record,
            pause=None if recorder is None else recorder.error,
            frame=wall.frame if config.status.preview else None,
            engines=self._vision.trouble,
            dark=self._dark,
        )

    def _opens_at(self) -> float:
        if self._doors.open:
            return 0.0
        opens = self._doors.opens_at
        return math.inf if opens is None else opens.timestamp()

    def _status(self, now: float) -> str:
        if not self._doors.open:
            return str(self._doors)
        opening = not self._vision.ready.is_set()
        if opening and self._vision.trouble is None:
            return self._vision.words
        health = evaluate(self._report(now), now)
        said = [] if opening else list(self._figures(now))
        if not health.faults:
            return ", ".join(said)
        said = [each for each in said if each not in health.faults]
        return f"{health.words}: {'; '.join(health.faults)}; {', '.join(said)}".rstrip("; ")

    def _figures(self, now: float) -> Iterator[str]:
        metrics = self._wall.metrics
        ages = "/".join(f"{1000 * metrics.frame_age.quantile(q):.0f}" for q in (0.5, 0.99))
        yield f"{metrics.rate(now):.1f} pictures a second (age {ages} ms)"
        faces = self._wall.faces
        yield f"{faces} face{'' if faces == 1 else 's'}"
        yield self._capture.trouble or f"camera {self._capture.name}"
        yield self._vision.device + (" for now" if self._vision.fallback else "")
        if now - self._felt_at >= _TEMPERATURE:
            self._felt_at, self._hot = now, temperature()
        if self._hot is not None:
            yield f"{self._hot:.0f} °C"
        if self._recorder is not None and self._recorder.error:
            yield self._recorder.error
        if self._file is not None and self._file.error:
            yield self._file.error

    def _apply_config(self, config: Config) -> None:
        now, later = changes(self._config, config)
        inference = config.inference
        if self._vision.trouble is None:
            inference = self._config.inference
        else:
            # No engine is open, so that others may be opened instead.
            now += [key for key in later if key.startswith("inference.")]
            later = [key for key in later if key not in now]
        for key in later:
            log.warning("%s: takes effect at the next start; to have it now, restart", key)
        log.info("config read again; changed: %s", ", ".join(now) or "nothing")
        config = apply_changes(self._config, config).model_copy(update={"inference": inference})
        self._config = config
        sections = {key.partition(".")[0] for key in now}
        if "labels" in sections and (warning := config.labels.choice.warning):
            log.warning("%s", warning)
        if "camera" in sections:
            self._capture.use(make_source(config))
        if sections & {"labels", "vision", "theme", "camera", "inference"}:
            self._vision.use(config)
        if sections & {"labels", "theme", "display"}:
            self._wall.dress(config)
        if "hours" in sections:
            self._doors.schedule = config.hours.schedule
