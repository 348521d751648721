"""A pool of threads that find and label faces, each with engines of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from installation.config.model import Config
from installation.errors import EXPECTED_ERRORS
from installation.inference.engine import OverloadedError
from installation.inference.open_engines import CancelledError
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.worker import Worker
from installation.vision.still_classifier import (
    ImageClassifier,
    ImageResult,
    open_image_classifier,
)

log = logging.getLogger(__name__)

# Labels for a face: the one that is drawn, and those that come next.
_TOP = 5
# Seconds between heartbeats of a thread that has nothing to do.
BEAT_PERIOD_S = 1.0
# Seconds between heartbeats after which a thread counts as hung: while it opens the engines, and
# while it classifies an image of a crowd on a small machine.
_OPEN_TIMEOUT_S = 300.0
IMAGE_TIMEOUT_S = 60.0

StartWorker = Callable[[Heartbeat, Callable[[], None]], Worker]


def pool_size(config: Config) -> int:
    """Return how many images are worth classifying at a time.

    One image keeps a processor or a GPU busy. An inference server makes batches of what arrives at
    the same time.
    """
    return config.web.workers if config.inference.server else 1


@dataclass(slots=True, eq=False)
class _Task:
    """An image that waits, and what was found in it under which config."""

    image: NDArray[np.uint8]
    result: Future[tuple[ImageResult, Config]] = field(default_factory=Future)


class InferencePool:
    """Classifies images.

    Parameters
    ----------
    config
        The config to start with.
    size
        Number of threads; each takes the memory of its engines.
    start_worker
        Starts a thread; see `Application.start_worker`.
    """

    def __init__(self, config: Config, size: int, start_worker: StartWorker = Worker) -> None:
        self._config = config
        self._closing = False
        self._open: dict[str, ImageClassifier] = {}
        # None only wakes a thread that waits for a task.
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        heartbeats = [Heartbeat(f"inference {n + 1}", _OPEN_TIMEOUT_S) for n in range(size)]
        self._workers = [start_worker(each, partial(self._run, each)) for each in heartbeats]

    @property
    def open(self) -> bool:
        """Whether the engines of all threads are open."""
        return len(self._open) == len(self._workers)

    @property
    def fallback(self) -> bool:
        """Whether this machine's CPU stands in for a server that does not answer."""
        return any(classifier.fallback for classifier in list(self._open.values()))

    def apply(self, config: Config) -> None:
        """Go on with another config, from the next image that has not been started."""
        self._config = config
        for _ in self._workers:
            self._tasks.put(None)

    def submit(self, image: NDArray[np.uint8]) -> Future[tuple[ImageResult, Config]]:
        """Have an image classified.

        Parameters
        ----------
        image
            uint8 (height, width, 3), BGR.

        Returns
        -------
        Future
            The result and the config it was found under, or the error; `OverloadedError` only says
            that the server is busy. Cancel it when nobody waits for it any more.
        """
        task = _Task(image)
        self._tasks.put(task)
        return task.result

    def close(self, deadline: float) -> None:
        """End all threads by ``deadline``, in monotonic seconds."""
        self._closing = True
        for _ in self._workers:
            self._tasks.put(None)
        for worker in self._workers:
            worker.join(deadline - time.monotonic())

    def _on_progress(self, heartbeat: Heartbeat, engine: str, done: float) -> bool:
        heartbeat.beat()
        log.info("%s: %.0f %%", engine, 100 * done)
        return not self._closing

    def _run(self, heartbeat: Heartbeat) -> None:
        try:
            while not self._closing:
                config = self._config
                heartbeat.timeout_s = _OPEN_TIMEOUT_S
                progress = partial(self._on_progress, heartbeat)
                with open_image_classifier(
                    config, _TOP, progress, raise_overload=True
                ) as classifier:
                    heartbeat.timeout_s = IMAGE_TIMEOUT_S
                    self._open[heartbeat.name] = classifier
                    try:
                        self._process_tasks(heartbeat, classifier, config)
                    finally:
                        del self._open[heartbeat.name]
        except CancelledError:
            return

    def _process_tasks(
        self, heartbeat: Heartbeat, classifier: ImageClassifier, config: Config
    ) -> None:
        """Classify one image after the other, until there is another config."""
        while not self._closing and config is self._config:
            heartbeat.beat()
            try:
                task = self._tasks.get(timeout=BEAT_PERIOD_S)
            except Empty:
                continue
            if task is None or not task.result.set_running_or_notify_cancel():
                continue
            try:
                task.result.set_result((classifier.classify(task.image), config))
            except Exception as error:
                task.result.set_exception(error)
                if isinstance(error, EXPECTED_ERRORS) and not isinstance(error, OverloadedError):
                    raise
            finally:
                # No image is kept longer than needed: the next one may come tomorrow.
                del task
