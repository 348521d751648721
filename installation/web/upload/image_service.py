"""Where pictures are answered: desks read and draw them, and have them looked at in between."""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
import weakref
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from installation.config.model import Config
from installation.inference.engine import OverloadedError
from installation.record.entry import Entry, hour_of
from installation.record.writer import RecordWriter
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed
from installation.vision.worker import Worker
from installation.web.upload.decode_image import read_photo
from installation.web.upload.errors import RequestError
from installation.web.upload.inference_pool import BEAT, PATIENCE, InferencePool, readers_for
from installation.web.upload.queue import CLOSING, FairQueue
from installation.web.upload.response import Detail, ImageResponse, draw

log = logging.getLogger(__name__)

# When to come again, seconds.
_SOON = 5
_BUSY = "Too much is going on just now: try again soon."


@dataclass(eq=False)
class _Job:
    """A picture that waits for its answer."""

    data: bytes
    extent: Detail
    until: float
    answer: Future[ImageResponse] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        # What these hold of the picture would stay until somebody looks for circles.
        error.__traceback__ = error.__context__ = None
        # Whoever waited may have gone.
        with suppress(InvalidStateError):
            self.answer.set_exception(error)


class ImageService:
    """Answers pictures.

    Parameters
    ----------
    config
        How; see its ``web``.
    record
        Where to keep which words were given; None for nowhere.
    readers
        How many pictures to look at at a time; None for as many as the config's device is good for.

    Attributes
    ----------
    queue
        Who sends a picture takes a place in it first.
    """

    def __init__(self, config: Config, record: Path | None, readers: int | None = None) -> None:
        limits = config.web
        self.queue = FairQueue[_Job](limits.places, limits.rate, limits.seconds)
        self._leaving = False
        self._at_work: set[_Job] = set()
        self._config = config
        self._keeper = None if record is None else RecordWriter(record, config.record.keep_days)
        # A picture takes most memory, by far, while it is read.
        self._reading = threading.Semaphore(os.cpu_count() or 1)
        self._eyes = InferencePool(config, readers or readers_for(config))
        # A desk is silent for as long as it waits for what is found.
        patience = PATIENCE + limits.seconds
        hearts = [Heartbeat(f"desk {number + 1}", patience) for number in range(limits.jobs)]
        self._desks = [Worker(heart, partial(self._work, heart)) for heart in hearts]

    @property
    def refusal(self) -> str | None:
        """Why pictures had better go elsewhere just now, in a sentence; None while all is well."""
        if self._leaving:
            return CLOSING
        return self.queue.refusal or (None if self._eyes.open else "The engines are being opened.")

    @property
    def fallback(self) -> bool:
        """Whether this machine stands in for a server that is gone."""
        return self._eyes.fallback

    def leave(self) -> None:
        """Say that this will close, and go on as before."""
        self._leaving = True

    def use(self, config: Config) -> None:
        """Go on by another config: the pictures that are not looked at yet are the first."""
        self._config = config
        self._eyes.use(config)

    def submit(self, who: str, data: bytes, extent: Detail) -> Future[ImageResponse]:
        """Queue a picture of somebody who has a place.

        Returns
        -------
        Future
            The answer, or `RequestError`. To be cancelled when nobody waits for it any more, before
            the place is given back.
        """
        job = _Job(data, extent, time.monotonic() + self._config.web.seconds)
        # No circle of job and answer: it would keep the picture until somebody looks for those.
        waiting = weakref.ref(job)

        def withdraw(answer: Future[ImageResponse]) -> None:
            if answer.cancelled() and (job := waiting()) is not None:
                self.queue.withdraw(who, job)

        job.answer.add_done_callback(withdraw)
        self.queue.put(who, job)
        return job.answer

    def check(self) -> None:
        """Raise what made a thread fail, or `HungError` where one has stopped without it."""
        for stage in (*self._eyes.stages, *self._desks):
            if stage.failure is not None:
                raise stage.failure
            if stage.alive:
                stage.heart.check()

    def dismiss(self) -> None:
        """Let nobody in any more, and send away whoever has no answer yet."""
        for job in (*self.queue.close(), *list(self._at_work)):
            job.fail(RequestError(503, CLOSING, _SOON))

    def close(self, timeout: float) -> None:
        """End all threads, within some seconds."""
        self.dismiss()
        deadline = time.monotonic() + timeout
        for stage in self._desks:
            stage.join(deadline - time.monotonic())
        self._eyes.close(deadline)
        if self._keeper is not None:
            self._keeper.close()

    def _work(self, heart: Heartbeat) -> None:
        while True:
            heart.beat()
            try:
                job = self.queue.take(BEAT)
            except Closed:
                return
            if job is None:
                continue
            self._at_work.add(job)
            try:
                self._answer(job)
            except CancelledError:
                continue
            except RequestError as trouble:
                job.fail(trouble)
            except Exception as error:
                # Its message may quote what a visitor sent.
                log.error("%s at %s; a picture got no answer", type(error).__name__, where(error))  # noqa: TRY400
                job.fail(RequestError(500, "Something went wrong here: try another picture."))
            finally:
                self._at_work.discard(job)
                # The next may come in the morning.
                del job

    def _answer(self, job: _Job) -> None:
        limits = self._config.web
        if time.monotonic() > job.until:
            raise RequestError(503, _BUSY, _SOON)
        deadline = time.monotonic() + limits.seconds
        with self._reading:
            picture = read_photo(job.data, limits.pixels)
        job.data = b""
        looking = self._eyes.look(picture)
        # Who leaves is not looked at any more.
        job.answer.add_done_callback(lambda _: looking.cancel())
        try:
            found, config = looking.result(max(deadline - time.monotonic(), 0))
        except LateError:
            looking.cancel()
            raise RequestError(503, "This picture takes too long: try another.", _SOON) from None
        except OverloadedError as error:
            error.__traceback__ = None
            raise RequestError(503, _BUSY, _SOON) from None
        answer = draw(found, config, job.extent)
        self._remember(answer)
        with suppress(InvalidStateError):
            job.answer.set_result(answer)

    def _remember(self, answer: ImageResponse) -> None:
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
