"""A simulated network camera of any frame rate that fails on request."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from installation.capture.demo import PERIOD_S, Crowd

SIZE = 320, 240
# Visitors move faster than in reality by this factor.
_SPEED = 3
_HEAD = (
    b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n--frame\r\n"
)


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()


class Camera:
    """Serves motion JPEG over HTTP.

    Parameters
    ----------
    engines
        Where the visitors' portraits are.
    rate
        Frames per second.

    Attributes
    ----------
    fault
        The current fault: None, ``hangs`` (sends nothing), ``garbage`` (sends noise), ``cut``
        (sends truncated frames), ``frozen``, ``dark`` or ``other size``.
    sent
        Number of frames, valid or not.
    """

    def __init__(self, engines: Path, rate: float) -> None:
        self.fault: str | None = None
        self.sent = 0
        self._rate = rate
        crowd = Crowd(engines, *SIZE)
        count = round(PERIOD_S * rate / _SPEED)
        self._frames = [_jpeg(crowd.paint(index * _SPEED / rate)) for index in range(count)]
        self._dark = _jpeg(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        self._other = _jpeg(crowd.paint(5.0)[: SIZE[1] // 2, : SIZE[0] // 2])
        self._listener: socket.socket | None = None
        self._port = 0
        self._client: socket.socket | None = None
        self.switch_on()

    @property
    def url(self) -> str:
        """Its address, which never changes."""
        return f"http://127.0.0.1:{self._port}/video"

    def switch_on(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def switch_off(self) -> None:
        """Close connections and refuse new ones."""
        listener, client = self._listener, self._client
        assert listener is not None
        for each in (listener, client):
            with contextlib.suppress(OSError, AttributeError):
                each.shutdown(socket.SHUT_RDWR)
        listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._client, _ = listener.accept()
                # The program may not have noticed yet that its last connection is closed.
                threading.Thread(target=self._serve, args=(self._client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.recv(4096)
            client.sendall(_HEAD)
            for part in self._parts():
                client.sendall(part)

    def _parts(self) -> Iterator[bytes]:
        """Yield what to send, when it is due."""
        due = time.monotonic()
        picture = b""
        while True:
            due = max(due + 1 / self._rate, time.monotonic() - 0.1)
            time.sleep(max(due - time.monotonic(), 0))
            fault = self.fault
            if fault == "hangs":
                continue
            if fault == "garbage":
                yield os.urandom(4096)
                continue
            if fault != "frozen" or not picture:
                picture = self._frames[self.sent % len(self._frames)]
            self.sent += 1
            now = {"dark": self._dark, "other size": self._other}.get(fault or "", picture)
            if fault == "cut":
                now = now[: random.randrange(2, len(now))]
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(now)}\r\n\r\n"
            yield head.encode() + now + b"\r\n--frame\r\n"
