"""The vision thread's work: turn the newest frame into a scene, from opening engines to closing."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from installation.config.model import Config
from installation.errors import EXPECTED_ERRORS
from installation.inference.engine import ManifestError
from installation.inference.open_engines import CancelledError, DeviceError
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed, Latest
from installation.scene import Frame, Scene
from installation.vision.pipeline import VisionPipeline, open_pipeline

log = logging.getLogger(__name__)

_SECTIONS = frozenset({"labels", "vision", "theme", "camera", "inference"})


@dataclass(frozen=True, slots=True)
class VisionTiming:
    """How long things may take, in seconds, and how often faces are looked for.

    Attributes
    ----------
    timeout_s
        Between two heartbeats.
    open_timeout_s
        The same while engines are opened and until the first frame has been processed.
    slow_factor, max_timeout_s
        Where frames take long, the timeout is the longest so far times ``slow_factor``, at most
        ``max_timeout_s``.
    beat_period_s
        Between heartbeats while there is nothing to do.
    retry_period_s
        Between attempts to open the engines.
    max_detections_per_s
        Each detection keeps all processors busy; boxes are predicted in between.
    """

    timeout_s: float = 10.0
    open_timeout_s: float = 300.0
    slow_factor: float = 5.0
    max_timeout_s: float = 60.0
    beat_period_s: float = 1.0
    retry_period_s: float = 30.0
    max_detections_per_s: float = 20.0


class SceneSink(Protocol):
    """Takes note of every scene, on the vision thread."""

    def record_scene(self, scene: Scene) -> None:
        """Take note of a scene; must not wait."""

    def apply_config(self, config: Config) -> None:
        """Go on with another config."""

    def close(self) -> None:
        """Finish; called once, after the last scene."""


class VisionWorker:
    """Turns frames into scenes.

    `run` is for a thread of its own, to which the engines belong. Everything else may be called
    and read from any thread.

    Parameters
    ----------
    config
        The config to start with.
    frames, scenes
        Where frames come from and scenes go to.
    sink
        Is given every scene; None: nobody is.
    retry
        Whether to try again and again when the engines cannot be opened. If not, `run` raises.
    timing
        Timeouts and rates.

    Attributes
    ----------
    heartbeat
        Beaten with every frame, and while `run` waits.
    ready
        Set while the engines are open.
    progress_text
        What to show to visitors until then.
    error
        Why the engines cannot be opened, in one line; None while that is not known.
    device
        What the engines run on; empty until they are open.
    fallback
        Whether they run on the CPU for now because the device asked for is not available.
    """

    def __init__(
        self,
        config: Config,
        frames: Latest[Frame],
        scenes: Latest[Scene],
        sink: SceneSink | None = None,
        *,
        retry: bool = False,
        timing: VisionTiming | None = None,
    ) -> None:
        self._timing = timing or VisionTiming()
        self.heartbeat = Heartbeat("vision", self._timing.open_timeout_s)
        self.ready = threading.Event()
        self.progress_text = config.theme.text_preparing
        self.error: str | None = None
        self.device = ""
        self.fallback = False
        self._config = config
        self._changed = threading.Event()
        self._frames = frames
        self._scenes = scenes
        self._sink = sink
        self._retry = retry
        self._stopped = False

    def stop(self) -> None:
        """Ask `run` to return; building engines is cancelled."""
        self._stopped = True
        self._frames.close()

    def apply(self, config: Config, changed: Collection[str]) -> None:
        """Go on with another config; ``changed`` names its sections that differ."""
        if _SECTIONS & set(changed):
            self._config = config
            self._changed.set()

    def run(self) -> None:
        """Process frames until `stop`, or until no more come; then close the scenes' slot.

        Raises
        ------
        InstallationError, EngineError
            The engines cannot be opened, or failed in a way that takes another process.
        """
        try:
            while True:
                try:
                    with open_pipeline(self._config, self._on_progress) as pipeline:
                        self._process_frames(pipeline)
                except EXPECTED_ERRORS as error:
                    self._note_error(error)
                self._wait_to_retry()
        except (Closed, CancelledError):
            self._scenes.close()
        finally:
            if self._sink is not None:
                self._sink.close()

    def _on_progress(self, _engine: str, done: float) -> bool:
        self.heartbeat.beat()
        self.progress_text = f"{self._config.theme.text_preparing} {done:.0%}"
        return not self._stopped

    def _note_error(self, error: Exception) -> None:
        """Note an error after which opening the engines may succeed; raise any other."""
        # A GPU that failed takes another process.
        permanent = isinstance(error, DeviceError) or (
            self.ready.is_set() and not isinstance(error, ManifestError)
        )
        if permanent or not self._retry or isinstance(error, CancelledError):
            raise error
        if str(error) != self.error:
            log.error("%s; trying again every %.0f s", error, self._timing.retry_period_s)
        self.ready.clear()
        self.heartbeat.timeout_s = self._timing.open_timeout_s
        self.error, self.progress_text = str(error), self._config.theme.text_preparing

    def _wait_to_retry(self) -> None:
        """Wait for the next attempt, or for another config."""
        until = time.monotonic() + self._timing.retry_period_s
        while time.monotonic() < until and not self._changed.wait(self._timing.beat_period_s):
            self.heartbeat.beat()
            if self._stopped:
                raise CancelledError("stopped")
        if self._changed.is_set():
            self._changed.clear()
            if self._sink is not None:
                self._sink.apply_config(self._config)

    def _process_frames(self, pipeline: VisionPipeline) -> None:
        timing, slowest_s = self._timing, 0.0
        period_s = 1 / timing.max_detections_per_s
        version, due_at = 0, -math.inf
        self.error = None
        self.heartbeat.beat()
        self.ready.set()
        while True:
            self.heartbeat.beat()
            self.device, self.fallback = pipeline.device, pipeline.fallback
            if self._changed.is_set():
                self._changed.clear()
                self._apply_to(pipeline)
            newest = self._frames.get(after=version, timeout=timing.beat_period_s)
            if newest is None:
                continue
            version, frame = newest
            if frame.captured_at < due_at:
                continue
            # Detections that come late are not made up for.
            due_at = max(due_at, frame.captured_at - period_s) + period_s
            began = time.monotonic()
            scene = pipeline.observe(frame)
            slowest_s = max(slowest_s, time.monotonic() - began)
            self.heartbeat.timeout_s = min(
                max(timing.timeout_s, timing.slow_factor * slowest_s), timing.max_timeout_s
            )
            # No frame is kept longer than needed: the next one may come tomorrow.
            del newest, frame
            self._scenes.put(scene)
            if self._sink is not None:
                self._sink.record_scene(scene)

    def _apply_to(self, pipeline: VisionPipeline) -> None:
        try:
            pipeline.apply_config(self._config)
            if self._sink is not None:
                self._sink.apply_config(self._config)
        except (*EXPECTED_ERRORS, OSError) as error:
            log.warning("%s; vision keeps the previous configuration", error)
