"""A scripted network camera on the loopback interface: motion JPEG over HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

import cv2
import numpy as np

_HEAD = (
    b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n--frame\r\n"
)
_SIZE = (320, 180)


def _jpeg(frame):
    return cv2.imencode(".jpg", cv2.resize(frame, _SIZE))[1].tobytes()


def _noise(count):
    random = np.random.default_rng(0)
    return [_jpeg(random.integers(0, 255, (9, 16, 3), np.uint8)) for _ in range(count)]


class NetworkCamera:
    """Serves changing frames to all clients until `switch_off`.

    Attributes
    ----------
    fault
        The current fault: None; ``hangs``, accepts connections without a response; ``refuses``,
        responds with 404; ``mute``, sends no more frames; ``garbage``, sends noise; ``broken``,
        sends truncated frames; ``frozen``; ``green``.
    sent
        Number of frames sent so far.
    """

    def __init__(self):
        self.fault = None
        self.sent = 0
        self._frames = _noise(8)
        self._green = _jpeg(np.full((9, 16, 3), (0, 135, 0), np.uint8))
        self._clients = set()
        self._threads = []
        self._port = 0
        self.switch_on()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/video"

    @property
    def held(self):
        """Number of files and threads of this process that belong to the camera."""
        self._threads = [each for each in self._threads if each.is_alive()]
        return 1 + len(self._clients), len(self._threads)

    def switch_on(self):
        """Listen, at the same address as before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._serve(self._accept, self._listener)

    def switch_off(self, reset=False):
        """Stop listening and end all connections; see `disconnect`."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect(reset)
        for thread in self._threads:
            thread.join()

    def disconnect(self, reset=False):
        """End all connections, in an orderly way or by a reset."""
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    client.shutdown(socket.SHUT_RDWR)
            client.close()

    def _serve(self, work, connection):
        def until_closed():
            with contextlib.suppress(OSError), connection:
                work(connection)
            self._clients.discard(connection)

        thread = threading.Thread(target=until_closed, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener):
        while True:
            client, _ = listener.accept()
            self._clients.add(client)
            self._serve(self._send, client)

    def _send(self, client):
        client.recv(4096)
        self._wait_while("hangs", client)
        if self.fault == "refuses":
            client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
            return
        client.sendall(_HEAD)
        number = 0
        while True:
            self._wait_while("mute", client)
            if self.fault == "garbage":
                client.sendall(os.urandom(4096))
                continue
            number += 1
            client.sendall(self._part(number))
            self.sent += 1
            time.sleep(0.02)

    def _wait_while(self, fault, client):
        while self.fault == fault:
            client.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if not client.recv(1):
                    raise ConnectionError
            client.settimeout(None)

    def _part(self, number):
        frame = self._frames[0 if self.fault == "frozen" else number % len(self._frames)]
        if self.fault == "green":
            frame = self._green
        elif self.fault == "broken":
            frame = frame[: len(frame) // 2]
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
        return head.encode() + frame + b"\r\n--frame\r\n"
