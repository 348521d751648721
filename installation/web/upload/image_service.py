"""Answers uploads: decodes an image, has it classified, draws the result."""

from __future__ import annotations

import logging
import os
import time
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
from installation.record.writer import RecordWriter, WriterTiming
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.latest import Closed
from installation.runtime.tracebacks import error_location
from installation.runtime.worker import Worker
from installation.web.upload.decoders import DecoderLostError, Decoders
from installation.web.upload.errors import (
    BUSY,
    INTERNAL_ERROR,
    RETRY_AFTER_S,
    TOO_COMPLEX,
    RequestError,
)
from installation.web.upload.inference_pool import (
    BEAT_PERIOD_S,
    IMAGE_TIMEOUT_S,
    InferencePool,
    StartWorker,
    pool_size,
)
from installation.web.upload.queue import CLOSING, FairQueue
from installation.web.upload.response import Detail, ImageResponse, render

log = logging.getLogger(__name__)

# Share of the time for an image that decoding may take.
_DECODING_SHARE = 0.4


@dataclass(eq=False)
class _Job:
    """An upload that waits for its answer."""

    client: str
    data: bytes
    detail: Detail
    start_by: float
    answer: Future[ImageResponse] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        # They refer to the image, which would stay in memory until the next garbage collection.
        error.__traceback__ = error.__context__ = None
        # The client may have disconnected.
        with suppress(InvalidStateError):
            self.answer.set_exception(error)


class ImageService:
    """Answers uploads, on threads of its own.

    Parameters
    ----------
    config
        The config to start with; limits are in its ``web``.
    record
        Where to record which labels were given; None: nowhere.
    start_worker
        Starts a thread; see `Application.start_worker`.
    inference_threads
        How many images to classify at a time; None: as many as the config's device is good for.
    writer_timing
        See `WriterTiming`.

    Attributes
    ----------
    queue
        Bounds the uploads in flight: a client acquires a slot in it before it sends an image.
    decoders
        The processes that decode images.
    """

    def __init__(
        self,
        config: Config,
        record: Path | None,
        start_worker: StartWorker = Worker,
        inference_threads: int | None = None,
        writer_timing: WriterTiming | None = None,
    ) -> None:
        limits = config.web
        self.queue = FairQueue[_Job](limits.max_in_flight, limits.max_per_minute, limits.timeout_s)
        self._draining = False
        self._in_progress: set[_Job] = set()
        self._config = config
        self._writer = (
            None if record is None else RecordWriter(record, config.record.keep_days, writer_timing)
        )
        # Decoding takes by far the most memory.
        self.decoders = Decoders(
            min(limits.workers, os.cpu_count() or 1),
            limits.max_megapixels,
            _DECODING_SHARE * limits.timeout_s,
        )
        self._pool = InferencePool(config, inference_threads or pool_size(config), start_worker)
        # A request thread does not beat while it waits for the result.
        timeout_s = IMAGE_TIMEOUT_S + limits.timeout_s
        heartbeats = [Heartbeat(f"request {n + 1}", timeout_s) for n in range(limits.workers)]
        self._workers = [start_worker(each, partial(self._run, each)) for each in heartbeats]

    @property
    def unavailable_reason(self) -> str | None:
        """Why no uploads are accepted now, in a sentence; None if they are."""
        if self._draining:
            return CLOSING
        return self.queue.unavailable_reason or (
            None if self._pool.open else "The engines are being opened."
        )

    @property
    def fallback(self) -> bool:
        """Whether this machine's CPU stands in for a server that does not answer."""
        return self._pool.fallback

    def begin_drain(self) -> None:
        """Say in ``/healthz`` that this instance is about to end; uploads are still answered."""
        self._draining = True

    def apply(self, config: Config) -> None:
        """Go on with another config, from the next image that has not been started."""
        self._config = config
        self._pool.apply(config)

    def submit(self, client: str, data: bytes, detail: Detail) -> Future[ImageResponse]:
        """Queue an upload of a client that has a slot.

        Returns
        -------
        Future
            The answer, or `RequestError`. Cancel it when nobody waits for it any more, before the
            slot is released.
        """
        job = _Job(client, data, detail, time.monotonic() + self._config.web.timeout_s)
        # A reference cycle of job and answer would keep the image until a garbage collection.
        reference = weakref.ref(job)

        def withdraw(answer: Future[ImageResponse]) -> None:
            if answer.cancelled() and (job := reference()) is not None:
                self.queue.withdraw(client, job)

        job.answer.add_done_callback(withdraw)
        self.queue.put(client, job)
        return job.answer

    def fail_pending(self) -> None:
        """Accept nothing more, and refuse all uploads that have no answer yet."""
        for job in (*self.queue.close(), *list(self._in_progress)):
            job.fail(RequestError(503, CLOSING, RETRY_AFTER_S))

    def close(self, timeout_s: float) -> None:
        """End all threads within ``timeout_s`` seconds."""
        self.fail_pending()
        self.decoders.close()
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(deadline - time.monotonic())
        self._pool.close(deadline)
        if self._writer is not None:
            self._writer.close()

    def _run(self, heartbeat: Heartbeat) -> None:
        while True:
            heartbeat.beat()
            try:
                job = self.queue.take(BEAT_PERIOD_S)
            except Closed:
                return
            if job is None:
                continue
            self._in_progress.add(job)
            try:
                self._answer(job)
            except CancelledError:
                continue
            except RequestError as error:
                job.fail(error)
            except DecoderLostError as error:
                self.queue.charge(job.client)
                job.fail(error.answer)
            except Exception as error:
                # Its message may quote what a visitor sent.
                kind, place = type(error).__name__, error_location(error)
                log.error("%s at %s; an upload failed", kind, place)  # noqa: TRY400
                job.fail(RequestError(500, INTERNAL_ERROR))
            finally:
                self._in_progress.discard(job)
                # No upload is kept longer than needed: the next one may come tomorrow.
                del job

    def _answer(self, job: _Job) -> None:
        limits = self._config.web
        if time.monotonic() > job.start_by:
            raise RequestError(503, BUSY, RETRY_AFTER_S)
        deadline = time.monotonic() + limits.timeout_s
        image = self.decoders.decode(job.data, deadline, job.answer.cancelled)
        job.data = b""
        result = self._pool.submit(image)
        # An upload whose client has gone is not classified.
        job.answer.add_done_callback(lambda _: result.cancel())
        try:
            found, config = result.result(max(deadline - time.monotonic(), 0))
        except LateError:
            result.cancel()
            raise RequestError(503, TOO_COMPLEX, RETRY_AFTER_S) from None
        except OverloadedError as error:
            error.__traceback__ = None
            raise RequestError(503, BUSY, RETRY_AFTER_S) from None
        answer = render(found, config, job.detail)
        self._record(answer)
        with suppress(InvalidStateError):
            job.answer.set_result(answer)

    def _record(self, answer: ImageResponse) -> None:
        if self._writer is None:
            return
        config, hour = answer.config, hour_of(time.time())
        policy, engine = config.labels.policy, config.inference.classifier
        labels = [face.labels[0] for face in answer.result.faces]
        self._writer.submit(
            Entry(hour, label.wnid, label.score, 0, "web", policy, engine) for label in labels
        )
