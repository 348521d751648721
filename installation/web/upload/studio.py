"""Where pictures are looked at: one thread owns the engines, others do the work around them."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engines.plan import CancelledError
from installation.classify import Found, open_reader
from installation.config import Config
from installation.errors import InstallationError
from installation.handover import Closed
from installation.record.entry import Entry, hour_of
from installation.record.keeper import Keeper
from installation.stages import Stage
from installation.supervision.heartbeat import Heartbeat
from installation.web.upload.answer import Answer, draw
from installation.web.upload.photo import read_photo
from installation.web.upload.queue import FairQueue
from installation.web.upload.trouble import Trouble

log = logging.getLogger(__name__)

# Words given for a face: the one that is drawn, and its rivals.
_TOP = 5
# Seconds after which a thread that waits shows that it lives.
_BEAT = 1.0
# Seconds without a sign of life after which one counts as hung: opening the engines, looking at a
# picture of crowds on a small machine.
_OPENING = 300.0
_PATIENCE = 60.0
# When to come again, seconds.
_SOON = 5


@dataclass(slots=True, eq=False)
class _Job:
    """A picture that waits for its answer."""

    data: bytes
    until: float
    answer: Future[Answer] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class _Order:
    """A picture that waits to be looked at, and what was found under which config."""

    picture: NDArray[np.uint8]
    found: Future[tuple[Found, Config]] = field(default_factory=Future)


class Studio:
    """Answers pictures.

    Parameters
    ----------
    config
        How; see its ``web``.
    record
        Where to keep which words were given; None for nowhere.

    Attributes
    ----------
    queue
        Who sends a picture takes a place in it first.
    ready
        Set once pictures can be looked at.
    answered
        How many pictures got their answer.
    """

    def __init__(self, config: Config, record: Path | None) -> None:
        self.queue = FairQueue[_Job](config.web.places, config.web.rate)
        self.ready = threading.Event()
        self.answered = 0
        self._config = config
        self._changed = threading.Event()
        self._closing = False
        # None only wakes whoever waits for an order.
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._keeper = Keeper(record) if record is not None else None
        self._eyes_heart = Heartbeat("vision", _OPENING)
        hearts = [Heartbeat(f"desk {number + 1}", _PATIENCE) for number in range(config.web.jobs)]
        self._stages = [Stage(self._eyes_heart, self._look)]
        self._stages += [Stage(heart, partial(self._work, heart)) for heart in hearts]

    def use(self, config: Config) -> None:
        """Go on by another config: the pictures that are not looked at yet are the first."""
        self._config = config
        self._changed.set()

    def submit(self, who: str, data: bytes) -> Future[Answer]:
        """Queue a picture of somebody who has a place.

        Returns
        -------
        Future
            The answer, or `Trouble`. To be cancelled when nobody waits for it any more.
        """
        job = _Job(data, time.monotonic() + self._config.web.seconds)
        self.queue.put(who, job)
        return job.answer

    def check(self) -> None:
        """Raise what made a thread fail, or `HungError` where one has stopped without it."""
        for stage in self._stages:
            if stage.failure is not None:
                raise stage.failure
            if stage.alive:
                stage.heart.check()

    def dismiss(self) -> None:
        """Let nobody in any more, and send away whoever waits; what is in work goes on."""
        for job in self.queue.close():
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(Trouble(503, "This is closing just now.", _SOON))

    def close(self, timeout: float) -> None:
        """End all threads, within some seconds."""
        self.dismiss()
        deadline = time.monotonic() + timeout
        for stage in self._stages[1:]:
            stage.join(deadline - time.monotonic())
        self._closing = True
        self._orders.put(None)
        self._stages[0].join(deadline - time.monotonic())
        if self._keeper is not None:
            self._keeper.close()

    # --- the thread that owns the engines

    def _prepared(self, what: str, done: float) -> bool:
        self._eyes_heart.beat()
        log.info("%s: %.0f %%", what, 100 * done)
        return not self._closing

    def _look(self) -> None:
        try:
            while not self._closing:
                self._changed.clear()
                config = self._config
                self._eyes_heart.patience = _OPENING
                with open_reader(config, _TOP, self._prepared) as reader:
                    self._eyes_heart.patience = _PATIENCE
                    self.ready.set()
                    while not (self._closing or self._changed.is_set()):
                        self._eyes_heart.beat()
                        try:
                            order = self._orders.get(timeout=_BEAT)
                        except Empty:
                            continue
                        if self._changed.is_set():
                            self._orders.put(order)
                            break
                        if order is None or not order.found.set_running_or_notify_cancel():
                            continue
                        try:
                            order.found.set_result((reader.look(order.picture), config))
                        except Exception as error:
                            order.found.set_exception(error)
                            if isinstance(error, InstallationError):
                                raise
        except CancelledError:
            return

    # --- the threads around it

    def _work(self, heart: Heartbeat) -> None:
        while True:
            heart.beat()
            try:
                job = self.queue.take(_BEAT)
            except Closed:
                return
            if job is None or not job.answer.set_running_or_notify_cancel():
                continue
            try:
                job.answer.set_result(self._answer(job))
                self.answered += 1
            except Trouble as trouble:
                job.answer.set_exception(trouble)
            except Exception as error:
                # Its message may quote what a visitor sent.
                log.error("%s at %s; a picture got no answer", type(error).__name__, where(error))  # noqa: TRY400
                job.answer.set_exception(
                    Trouble(500, "Something went wrong here: try another picture.")
                )

    def _answer(self, job: _Job) -> Answer:
        limits = self._config.web
        if time.monotonic() > job.until:
            raise Trouble(503, "Too much is going on just now: try again soon.", _SOON)
        deadline = time.monotonic() + limits.seconds
        order = _Order(read_photo(job.data, limits.pixels))
        job.data = b""
        self._orders.put(order)
        try:
            found, config = order.found.result(max(deadline - time.monotonic(), 0))
        except LateError:
            order.found.cancel()
            raise Trouble(503, "This picture takes too long: try another.", _SOON) from None
        answer = draw(found, config)
        self._remember(answer)
        return answer

    def _remember(self, answer: Answer) -> None:
        if self._keeper is None:
            return
        config, hour = answer.config, hour_of(time.time())
        policy, engine = config.labels.policy, config.inference.classifier
        labels = [face.labels[0] for face in answer.found.faces]
        self._keeper.keep(
            Entry(hour, label.wnid, label.score, 0, "web", policy, engine) for label in labels
        )


def where(error: BaseException) -> str:
    """Return the file and line an error was raised in."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
