"""The threads beside the window's: each has a heartbeat, and its failure is kept for all."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from installation.config.model import Config
from installation.errors import EXPECTED_ERRORS
from installation.inference.engine import ManifestError
from installation.inference.open_engines import CancelledError, DeviceError
from installation.record.recorder import Recorder
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed, Latest
from installation.scene import Frame, Scene
from installation.vision.pipeline import VisionPipeline, open_pipeline

log = logging.getLogger(__name__)

# Seconds between beats after which a stage counts as hung.
PATIENCE = 10.0
# Opening the engines beats only where something is built, and takes long on small machines, as the
# first look does.
_OPEN_TIMEOUT_S = 300.0
# Where looks take long, one may take so many times the longest yet, up to so many seconds.
_SLOW_FACTOR = 5.0
_LONGEST = 60.0
# Seconds after which a stage that waits shows that it lives.
_BEAT = 1.0
# Seconds between attempts to open the engines.
_AGAIN = 30.0
# Looks a second at the most: each keeps all processors busy, and in between boxes are predicted.
_MAX_DETECTIONS_PER_S = 20.0


class Worker:
    """A thread.

    Parameters
    ----------
    heart
        By which it shows that it lives; names it, too.
    work
        What it does until it is asked to stop.

    Attributes
    ----------
    failure
        What the work raised, if it did.
    """

    def __init__(self, heart: Heartbeat, work: Callable[[], None]) -> None:
        self.heart = heart
        self.failure: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name=heart.name, daemon=True)
        heart.beat()
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error

    @property
    def alive(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for it to end, some seconds at the most."""
        self._thread.join(max(timeout, 0))
        if self._thread.is_alive():
            log.warning("%s did not stop in time", self.heart.name)


class VisionWorker:
    """Turns frames into scenes, from opening the engines to closing them.

    Parameters
    ----------
    config
        How.
    frames, scenes
        Where frames come from and scenes go.
    recorder
        Takes note of every scene, and is closed with the engines; None for no record.
    retry
        Whether to try again, until it is stopped, where the engines cannot be opened.

    Attributes
    ----------
    heart
        Beats with every look, and while it waits.
    ready
        Set once it could look at a frame.
    words
        What to tell those who wait until then.
    trouble
        Why the engines cannot be opened, in a line; None while that is not known.
    device
        What the engines run on by now; empty until then.
    fallback
        Whether that is the CPU for now, though something better was asked for.
    """

    def __init__(
        self,
        config: Config,
        frames: Latest[Frame],
        scenes: Latest[Scene],
        recorder: Recorder | None = None,
        retry: bool = False,
    ) -> None:
        self.heart = Heartbeat("vision", _OPEN_TIMEOUT_S)
        self.ready = threading.Event()
        self.words = config.theme.preparing
        self.trouble: str | None = None
        self.device = ""
        self.fallback = False
        self._config = config
        self._changed = threading.Event()
        self._frames = frames
        self._scenes = scenes
        self._recorder = recorder
        self._retry = retry
        self._stopped = False

    def stop(self) -> None:
        """Ask it to return, which may interrupt its preparations."""
        self._stopped = True
        self._frames.close()

    def use(self, config: Config) -> None:
        """Go on by another config, as far as that takes no other engines."""
        self._config = config
        self._changed.set()

    def _prepared(self, _what: str, done: float) -> bool:
        self.heart.beat()
        self.words = f"{self._config.theme.preparing} {done:.0%}"
        return not self._stopped

    def _change(self, observer: VisionPipeline) -> None:
        try:
            observer.apply_config(self._config)
            if self._recorder is not None:
                self._recorder.use(self._config)
        except (*EXPECTED_ERRORS, OSError) as error:
            log.warning("%s; going on as before", error)

    def run(self) -> None:
        """Turn the newest frame into a scene, again and again, until no more come."""
        try:
            while True:
                try:
                    with open_pipeline(self._config, self._prepared) as observer:
                        self._look(observer)
                except EXPECTED_ERRORS as error:
                    self._keep_on(error)
                self._wait(_AGAIN)
        except (Closed, CancelledError):
            self._scenes.close()
        finally:
            if self._recorder is not None:
                self._recorder.close()

    def _keep_on(self, error: Exception) -> None:
        """Take note of an error after which the engines may be opened again; raise any other."""
        # A GPU that failed takes another process.
        lasting = isinstance(error, DeviceError) or (
            self.ready.is_set() and not isinstance(error, ManifestError)
        )
        if lasting or not self._retry or isinstance(error, CancelledError):
            raise error
        if str(error) != self.trouble:
            log.error("%s; trying again every %.0f s", error, _AGAIN)
        self.ready.clear()
        self.heart.patience = _OPEN_TIMEOUT_S
        self.trouble, self.words = str(error), self._config.theme.preparing

    def _wait(self, seconds: float) -> None:
        """Let time pass, or less where the config is changed meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._changed.wait(_BEAT):
            self.heart.beat()
            if self._stopped:
                raise CancelledError("stopped")
        if self._changed.is_set():
            self._changed.clear()
            if self._recorder is not None:
                self._recorder.use(self._config)

    def _look(self, observer: VisionPipeline) -> None:
        version, due, longest = 0, -math.inf, 0.0
        self.trouble = None
        self.heart.beat()
        self.ready.set()
        while True:
            self.heart.beat()
            self.device, self.fallback = observer.device, observer.fallback
            if self._changed.is_set():
                self._changed.clear()
                self._change(observer)
            newest = self._frames.get(after=version, timeout=_BEAT)
            if newest is None:
                continue
            version, frame = newest
            if frame.captured_at < due:
                continue
            # Looks that come late are not made up for.
            due = (
                max(due, frame.captured_at - 1 / _MAX_DETECTIONS_PER_S) + 1 / _MAX_DETECTIONS_PER_S
            )
            began = time.monotonic()
            scene = observer.observe(frame)
            longest = max(longest, time.monotonic() - began)
            self.heart.patience = min(max(PATIENCE, _SLOW_FACTOR * longest), _LONGEST)
            # Kept no longer than it takes: the next may come in the morning.
            del newest, frame
            self._scenes.put(scene)
            if self._recorder is not None:
                self._recorder.saw(scene)
