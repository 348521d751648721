"""A network camera on loopback that gives visitors at any pace, and fails as it is told to."""

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
# How much faster than life the visitors move.
_HASTE = 3
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
        Pictures a second.

    Attributes
    ----------
    fault
        What is wrong from now on: None, ``hangs`` (sends no more), ``garbage`` (noise instead of
        pictures), ``cut`` (pictures cut short), ``frozen``, ``dark``, ``other size``.
    sent
        Pictures, good or bad.
    """

    def __init__(self, engines: Path, rate: float) -> None:
        self.fault: str | None = None
        self.sent = 0
        self._rate = rate
        crowd = Crowd(engines, *SIZE)
        count = round(PERIOD_S * rate / _HASTE)
        self._pictures = [_jpeg(crowd.paint(index * _HASTE / rate)) for index in range(count)]
        self._dark = _jpeg(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        self._other = _jpeg(crowd.paint(5.0)[: SIZE[1] // 2, : SIZE[0] // 2])
        self._listener: socket.socket | None = None
        self._port = 0
        self._client: socket.socket | None = None
        self.switch_on()

    @property
    def url(self) -> str:
        """Its address, the same for ever."""
        return f"http://127.0.0.1:{self._port}/video"

    def switch_on(self) -> None:
        """Be there."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def switch_off(self) -> None:
        """Be gone: connections end, and new ones are refused."""
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
                # One at a time would do, but the program may not have heard that it was cut off.
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
                picture = self._pictures[self.sent % len(self._pictures)]
            self.sent += 1
            now = {"dark": self._dark, "other size": self._other}.get(fault or "", picture)
            if fault == "cut":
                now = now[: random.randrange(2, len(now))]
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(now)}\r\n\r\n"
            yield head.encode() + now + b"\r\n--frame\r\n"
