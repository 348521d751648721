"""A network camera on loopback whose faults are chosen: real sockets, pictures as JPEG."""

from __future__ import annotations

import contextlib
import itertools
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


def _jpegs():
    random = np.random.default_rng(0)
    for _ in range(8):
        small = random.integers(0, 255, (9, 16, 3), np.uint8)
        yield cv2.imencode(".jpg", cv2.resize(small, (320, 180)))[1].tobytes()


class NetworkCamera:
    """Serves motion JPEG over HTTP.

    Attributes
    ----------
    fault
        What is wrong from now on: None, ``hangs`` (accepts and says nothing), ``mute`` (sends no
        more), ``garbage`` (noise instead of pictures), ``broken`` (pictures cut short), ``frozen``,
        ``green``, ``refuses`` (404).
    """

    def __init__(self):
        self.fault = None
        self._pictures = itertools.cycle(_jpegs())
        self._green = cv2.imencode(".jpg", np.full((180, 320, 3), (0, 135, 0), np.uint8))[1]
        self._listener = None
        self._port = 0
        self._clients = []
        self._threads = []
        self.switch_on()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/video"

    def switch_on(self):
        """Be there, at the same address as before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._serve(self._accept, self._listener)

    def switch_off(self, reset=False):
        """Be gone: connections end, or are torn off, and new ones are refused."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.tear(reset)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def files(self):
        """How many sockets it holds open."""
        return sum(each.fileno() >= 0 for each in [self._listener, *self._clients])

    def tear(self, reset=False):
        """End all connections."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    client.shutdown(socket.SHUT_RDWR)
            client.close()
        self._clients.clear()

    def _serve(self, work, *arguments):
        thread = threading.Thread(
            target=self._until_closed, args=(work, *arguments), name="served", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _until_closed(self, work, *arguments):
        with contextlib.suppress(OSError):
            work(*arguments)

    def _accept(self, listener):
        while True:
            client, _ = listener.accept()
            self._clients.append(client)
            self._serve(self._send, client)

    def _send(self, client):
        client.recv(4096)
        while self.fault == "hangs" and client.fileno() >= 0:
            time.sleep(0.01)
        if self.fault == "refuses":
            client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
            client.shutdown(socket.SHUT_RDWR)
            return
        client.sendall(_HEAD)
        frozen = next(self._pictures)
        while True:
            while self.fault in ("mute", "hangs") and client.fileno() >= 0:
                time.sleep(0.01)
            picture = frozen if self.fault == "frozen" else next(self._pictures)
            if self.fault == "green":
                picture = self._green.tobytes()
            elif self.fault == "broken":
                picture = picture[: len(picture) // 2]
            elif self.fault == "garbage":
                client.sendall(os.urandom(4096))
                continue
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            client.sendall(head.encode() + picture + b"\r\n--frame\r\n")
            time.sleep(0.02)
