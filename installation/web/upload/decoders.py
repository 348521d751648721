"""Decoders: processes that are killed and replaced when an image is too much for them."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
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


class _NotStartedError(Exception):
    """The process was not ready in time."""


class _BrokenError(Exception):
    """The process has ended, or answers what makes no sense."""


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
        """See `Decoders.decode`; raises `TimeoutError` or `_BrokenError`, too."""
        try:
            self._await_ready()
            deadline = time.monotonic() + timeout_s
            self._allow(deadline)
            self._socket.sendall(REQUEST.pack(self._max_megapixels, timeout_s + 1, len(data)))
            self._allow(deadline)
            self._socket.sendall(data)
            status, first, second = RESPONSE.unpack(self._receive(RESPONSE.size, deadline))
            if status == 200 and 0 < first <= MAX_SIDE_PX and 0 < second <= MAX_SIDE_PX:
                pixels = self._receive(first * second * 3, deadline)
                return np.frombuffer(pixels, np.uint8).reshape(first, second, 3)
            if status == OUT_OF_MEMORY_STATUS:
                raise RequestError(status, BUSY, RETRY_AFTER_S)
            if 400 <= status < 500 and first <= _MAX_MESSAGE_BYTES:
                message = self._receive(first, deadline).decode(errors="replace")
                raise RequestError(status, message)
        except (EOFError, ConnectionError) as error:
            raise _BrokenError from error
        raise _BrokenError

    def _await_ready(self) -> None:
        if not self._ready:
            self._socket.settimeout(_START_TIMEOUT_S)
            try:
                self._ready = bytes(receive(self._socket, len(READY))) == READY
            except (EOFError, OSError) as error:
                raise _NotStartedError from error

    def _allow(self, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))

    def _receive(self, count: int, deadline: float) -> bytearray:
        self._allow(deadline)
        return receive(self._socket, count)

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

    Attributes
    ----------
    replaced
        How many processes were replaced.
    """

    def __init__(self, size: int, max_megapixels: float, timeout_s: float) -> None:
        self.replaced = 0
        self._max_megapixels = max_megapixels
        self._timeout_s = timeout_s
        self._closed = False
        self._changed = threading.Condition()
        self._free = [_Decoder(max_megapixels) for _ in range(size)]
        self._busy: set[_Decoder] = set()
        self._last_free_at = time.monotonic()

    @property
    def stuck(self) -> bool:
        """Whether no process has been free for longer than any image may take."""
        with self._changed:
            late = time.monotonic() - self._last_free_at > self._timeout_s
            return not self._free and late

    def decode(self, data: bytes, cancelled: Callable[[], bool]) -> NDArray[np.uint8]:
        """Decode an image; see `decode_image`. Waits for a process that is free.

        Parameters
        ----------
        data
            The image file.
        cancelled
            Returns whether nobody waits for the image any more; asked once a process is free.

        Raises
        ------
        RequestError
            See `decode_image`; 422 also if decoding takes too long or crashes, 503 if it takes too
            much memory.
        CancelledError
            Nobody waits for it.
        """
        decoder = self._take()
        try:
            if cancelled():
                raise CancelledError
            return decoder.decode(data, self._timeout_s)
        except TimeoutError:
            decoder = self._replace(decoder)
            raise RequestError(422, TOO_COMPLEX) from None
        except _BrokenError:
            decoder = self._replace(decoder)
            raise RequestError(422, DAMAGED) from None
        except _NotStartedError:
            decoder = self._replace(decoder)
            log.error("a process that decodes images did not start")  # noqa: TRY400
            raise RequestError(503, BUSY, RETRY_AFTER_S) from None
        finally:
            self._give_back(decoder)

    def _take(self) -> _Decoder:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                raise CancelledError
            decoder = self._free.pop()
            self._busy.add(decoder)
            self._last_free_at = time.monotonic()
            return decoder

    def _give_back(self, decoder: _Decoder) -> None:
        with self._changed:
            self._busy.discard(decoder)
            self._free.append(decoder)
            self._changed.notify()

    def _replace(self, decoder: _Decoder) -> _Decoder:
        decoder.close()
        with self._changed:
            self._busy.discard(decoder)
            if self._closed:
                raise CancelledError
            self.replaced += 1
            new = _Decoder(self._max_megapixels)
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
