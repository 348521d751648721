"""Decoders: processes that are killed and replaced when an image is too much for them."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import installation
from installation.web.upload import decoder_process
from installation.web.upload.decode_image import MAX_SIDE_PX
from installation.web.upload.decoder_process import (
    OUT_OF_MEMORY_STATUS,
    READY,
    REQUEST,
    RESPONSE,
    receive,
)
from installation.web.upload.errors import BUSY, DAMAGED, RETRY_AFTER_S, TOO_COMPLEX, RequestError

log = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 1000
# Threads of linear algebra would only take memory.
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(installation.__file__).parent.parent),
    "OPENBLAS_NUM_THREADS": "1",
}
# Seconds for a new process to be ready, even on a machine that is very busy.
_START_TIMEOUT_S = 60.0
# Seconds for a process that has closed its connection to end.
_END_TIMEOUT_S = 1.0


class DecoderLostError(Exception):
    """A process is of no use any more.

    Parameters
    ----------
    reason
        What happened, for the log.
    answer
        For the sender of the image.
    """

    def __init__(self, reason: str, answer: RequestError) -> None:
        super().__init__(reason)
        self.answer = answer


class _Decoder:
    """One process."""

    def __init__(self, max_megapixels: float) -> None:
        self._max_megapixels = max_megapixels
        self._ready = False
        self._socket, given = socket.socketpair()
        with given:
            argument = str(given.fileno()), str(max_megapixels)
            self._process = subprocess.Popen(
                [sys.executable, "-m", decoder_process.__name__, *argument],
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=[given.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def decode(self, data: bytes, timeout_s: float) -> NDArray[np.uint8]:
        """See `Decoders.decode`; raises `RequestError` or `DecoderLostError`."""
        self._await_ready()
        try:
            return self._exchange(data, timeout_s)
        except TimeoutError:
            raise DecoderLostError("it took too long", RequestError(422, TOO_COMPLEX)) from None
        except (EOFError, ConnectionError):
            answer = RequestError(422, DAMAGED)
            with suppress(subprocess.TimeoutExpired):
                if self._process.wait(_END_TIMEOUT_S) == -signal.SIGKILL:
                    # The machine has run out of memory.
                    answer = RequestError(503, BUSY, RETRY_AFTER_S)
            raise DecoderLostError(f"exit code {self._process.returncode}", answer) from None

    def _exchange(self, data: bytes, timeout_s: float) -> NDArray[np.uint8]:
        deadline = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        self._socket.sendall(REQUEST.pack(self._max_megapixels, timeout_s + 1, len(data)))
        self._socket.sendall(data)
        status, first, second = RESPONSE.unpack(receive(self._socket, RESPONSE.size, deadline))
        if status == 200 and 0 < first <= MAX_SIDE_PX and 0 < second <= MAX_SIDE_PX:
            pixels = receive(self._socket, first * second * 3, deadline)
            return np.frombuffer(pixels, np.uint8).reshape(first, second, 3)
        if status == OUT_OF_MEMORY_STATUS:
            raise RequestError(status, BUSY, RETRY_AFTER_S)
        if 400 <= status < 500 and first <= _MAX_MESSAGE_BYTES:
            message = receive(self._socket, first, deadline).decode(errors="replace")
            raise RequestError(status, message)
        raise DecoderLostError("its response makes no sense", RequestError(422, DAMAGED))

    def _await_ready(self) -> None:
        if self._ready:
            return
        deadline = time.monotonic() + _START_TIMEOUT_S
        try:
            self._ready = bytes(receive(self._socket, len(READY), deadline)) == READY
        except (EOFError, OSError):
            log.error("a process that decodes images did not start")  # noqa: TRY400
            busy = RequestError(503, BUSY, RETRY_AFTER_S)
            raise DecoderLostError("it did not start", busy) from None

    @property
    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End the process, whatever it is doing; a thread that waits for it gets an error."""
        self._process.kill()

    def close(self) -> None:
        """End the process, which no thread waits for."""
        self.kill()
        self._process.wait()
        self._socket.close()


class Decoders:
    """A pool of processes that decode images. Thread-safe.

    Parameters
    ----------
    size
        Number of processes.
    max_megapixels
        Largest image that is accepted; the memory of each process is limited accordingly.
    timeout_s
        Longest time for one image, seconds. A process that takes longer is replaced.
    """

    def __init__(self, size: int, max_megapixels: float, timeout_s: float) -> None:
        self._max_megapixels = max_megapixels
        self._timeout_s = timeout_s
        self._closed = False
        self._changed = threading.Condition()
        self._free = [_Decoder(max_megapixels) for _ in range(size)]
        self._busy: set[_Decoder] = set()
        # Of the threads that wait, the one that came first is the next.
        self._waiting: deque[object] = deque()

    def decode(
        self, data: bytes, deadline: float, cancelled: Callable[[], bool]
    ) -> NDArray[np.uint8]:
        """Decode an image; see `decode_image`. Waits for a process that is free.

        Parameters
        ----------
        data
            The image file.
        deadline
            When to give up waiting for a free process, in monotonic seconds.
        cancelled
            Returns whether nobody waits for the image any more; asked once a process is free.

        Raises
        ------
        RequestError
            See `decode_image`; 503 if it takes too much memory or no process is free.
        DecoderLostError
            Decoding took too long or crashed.
        CancelledError
            Nobody waits for it.
        """
        decoder = self._take(deadline)
        try:
            if decoder.ended:
                # Not by this image.
                decoder = self._replace(decoder)
            if cancelled():
                raise CancelledError
            return decoder.decode(data, self._timeout_s)
        except DecoderLostError as error:
            log.info("replacing a process that decodes images: %s", error)
            decoder = self._replace(decoder)
            if error.answer.status >= 500:
                # The machine is to blame.
                raise error.answer from None
            raise
        finally:
            self._give_back(decoder)

    def _take(self, deadline: float) -> _Decoder:
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                free = self._changed.wait_for(
                    lambda: self._closed or (self._free and self._waiting[0] is turn),
                    max(deadline - time.monotonic(), 0),
                )
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
            if self._closed:
                raise CancelledError
            if not free:
                raise RequestError(503, BUSY, RETRY_AFTER_S)
            decoder = self._free.pop()
            self._busy.add(decoder)
            return decoder

    def _give_back(self, decoder: _Decoder) -> None:
        with self._changed:
            self._busy.discard(decoder)
            self._free.append(decoder)
            self._changed.notify_all()

    def _replace(self, decoder: _Decoder) -> _Decoder:
        decoder.close()
        with self._changed:
            self._busy.discard(decoder)
            if self._closed:
                raise CancelledError
            try:
                new = _Decoder(self._max_megapixels)
            except OSError:
                # The one that has ended is replaced when it is taken next.
                raise RequestError(503, BUSY, RETRY_AFTER_S) from None
            self._busy.add(new)
            return new

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        with self._changed:
            self._closed = True
            for decoder in self._free:
                decoder.close()
            for decoder in self._busy:
                decoder.kill()
            self._changed.notify_all()
