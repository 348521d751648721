"""Opens the rooms, wires them together, and shuts them down in order."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from engines.plan import CancelledError
from installation.capture.capture import Capture
from installation.capture.source import Source
from installation.config import Config
from installation.display.idle import Drift
from installation.display.window import Window
from installation.errors import InstallationError
from installation.handover import Closed, Latest
from installation.labels.policy import allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import paths, words_of
from installation.metrics import Metrics
from installation.scene import Frame, Scene
from installation.vision.observer import open_observer

log = logging.getLogger(__name__)

# The window answers keys and signals this often, seconds, when no picture comes.
_BEAT = 0.05
# Seconds without a picture before a slate takes its place.
_PATIENCE = 2.0
# Seconds between notes to technicians who look at the wall.
_NOTES = 1.0
# Seconds a stage has to return when it is asked to.
_FAREWELL = 2.0
# Looks a second at the most: each keeps all processors busy, and in between boxes are predicted.
_LOOKS = 20.0


class Witness(Protocol):
    """Someone who looks at every picture that was put on the wall."""

    def saw(self, frame: Frame, scene: Scene | None, window: Window) -> bool:
        """Take note; return False to end the show."""

    def leave(self, window: Window) -> None:
        """Take a last look, before the window closes for whatever reason."""


class _Stage:
    """A thread whose failure is kept for the main thread to report."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error

    def join(self) -> None:
        self._thread.join(_FAREWELL)
        if self._thread.is_alive():
            log.warning("%s did not stop in time", self.name)


class _Vision:
    """The stage that turns frames into scenes, from opening the engines to closing them.

    Attributes
    ----------
    ready
        Set once it could look at a frame.
    words
        What to tell those who wait until then.
    """

    def __init__(self, config: Config, frames: Latest[Frame], scenes: Latest[Scene]) -> None:
        self.ready = threading.Event()
        self.words = config.theme.preparing
        self._config = config
        self._frames = frames
        self._scenes = scenes
        self._stopped = False

    def stop(self) -> None:
        """Ask it to return, which may interrupt its preparations."""
        self._stopped = True
        self._frames.close()

    def _prepared(self, _what: str, done: float) -> bool:
        self.words = f"{self._config.theme.preparing} {done:.0%}"
        return not self._stopped

    def run(self) -> None:
        """Turn the newest frame into a scene, again and again, until no more come."""
        version, due = 0, -math.inf
        try:
            with open_observer(self._config, self._prepared) as observer:
                self.ready.set()
                while True:
                    newest = self._frames.get(after=version)
                    assert newest is not None
                    version, frame = newest
                    if frame.captured_at < due:
                        continue
                    # Looks that come late are not made up for.
                    due = max(due, frame.captured_at - 1 / _LOOKS) + 1 / _LOOKS
                    self._scenes.put(observer.observe(frame))
        except (Closed, CancelledError):
            self._scenes.close()


class _Signals:
    """SIGTERM and SIGINT ask for an orderly end instead of taking one."""

    def __init__(self) -> None:
        self.received = False
        self._before = {
            number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
        }
        for number in self._before:
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _stack: FrameType | None) -> None:
        self.received = True

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def run(config: Config, source: Source, headless: bool, witness: Witness | None = None) -> None:
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

    Raises
    ------
    InstallationError
        Something a technician has to mend.
    """
    signals = _Signals()
    try:
        if warning := config.labels.choice.warning:
            log.warning("%s", warning)
        source.open()
        try:
            window = Window(config.display, config.theme, headless, drifting(config))
        except InstallationError:
            source.close()
            raise
        log.info("running: %s, %d x %d", source.name, *window.size)
        try:
            _run_stages(config, source, window, signals, witness)
        finally:
            try:
                if witness is not None:
                    witness.leave(window)
            finally:
                window.close()
    finally:
        signals.restore()


def drifting(config: Config) -> tuple[Drift, ...]:
    """Return the words that may be shown, each with its way down from *person*."""
    synsets = load_synsets()
    shown = zip(synsets, allowed(synsets, config.labels.choice), strict=True)
    return tuple(Drift(synset.words, _way_down(synset.wnid)) for synset, may_be in shown if may_be)


def _way_down(wnid: str) -> str:
    above = paths(wnid)[0][1:]
    return " > ".join(words_of(each).partition(",")[0] for each in reversed(above))


def _run_stages(
    config: Config, source: Source, window: Window, signals: _Signals, witness: Witness | None
) -> None:
    """Start vision, then capture; show what they make, stop them, and raise what they raised."""
    frames, scenes = Latest[Frame](), Latest[Scene]()
    vision = _Vision(config, frames, scenes)
    capture = Capture(source, frames)
    stages = [_Stage("vision", vision.run)]
    try:
        if source.pace is None:
            # A camera wants to be read; a film waits.
            stages.append(_Stage("capture", capture.run))
        _wait_for(vision, window, stages, signals)
        if source.pace is not None:
            stages.append(_Stage("capture", capture.run))
        _show(config.theme.lost, window, frames, scenes, stages, signals, witness)
    finally:
        capture.stop()
        vision.stop()
        for stage in reversed(stages):
            stage.join()
    for stage in stages:
        if stage.failure is not None:
            raise stage.failure


def _wait_for(vision: _Vision, window: Window, stages: list[_Stage], signals: _Signals) -> None:
    """Show how far the preparations are until there is a reason to go on."""
    while not (vision.ready.is_set() or _over(window, stages, signals)):
        window.show_slate(vision.words)
        vision.ready.wait(_BEAT)


def _over(window: Window, stages: list[_Stage], signals: _Signals) -> bool:
    return window.closed or signals.received or any(stage.failure for stage in stages)


def _show(
    slate: str,
    window: Window,
    frames: Latest[Frame],
    scenes: Latest[Scene],
    stages: list[_Stage],
    signals: _Signals,
    witness: Witness | None,
) -> None:
    """Show the newest frame with the newest scene until there is a reason to stop."""
    version, scene_version = 0, 0
    seq: int | None = None
    scene: Scene | None = None
    metrics = Metrics()
    last = noted = time.monotonic()
    while not _over(window, stages, signals):
        try:
            newest = frames.get(after=version, timeout=_BEAT)
            news = scenes.get(after=scene_version, timeout=0)
        except Closed:
            return
        if news is not None:
            scene_version, scene = news
        if newest is None:
            window.attend()
            if time.monotonic() - last > _PATIENCE:
                window.show_slate(slate)
                scene = None  # Who comes back into the picture is somebody else.
            continue
        last = time.monotonic()
        version, frame = newest
        window.show(frame, scene)
        now = time.monotonic()
        metrics.present(now, frame.captured_at, scene.at if scene else None, now - last)
        metrics.dropped += 0 if seq is None else frame.seq - seq - 1
        seq = frame.seq
        if now - noted >= _NOTES:
            window.note, noted = metrics.as_text(now), now
        if witness is not None and not witness.saw(frame, scene, window):
            return
