"""Fuzzing of the upload page: damaged, hostile and endless requests.

    python -m tests.benchmarks.fuzz [--requests 10000] [--seed 0] [--senders 4]

Several senders, each with its own address, send as fast as they are answered; meanwhile slow
clients hold connections, and one client uploads a valid image again and again. Prints what was
sent, the statuses received, how long the valid images took, and the server's memory. Exit status 1
if the server crashed, answered with a traceback or a server error, or its memory grew too much.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import socket
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from engines.build import build
from tests import hostile_images
from tests.paths import ROOT
from tests.web.upload.serving import Serving, encoded, form

_BUILT = ROOT / "engines" / "built"
# The server may grow by this over what valid images take: two decoders at the pixel limit, and the
# bytes of all requests in flight.
_MAX_GROWTH_MB = 2 * 20 * 40 + 64 * 12
_SERVER_ERRORS = {500, 501, 502, 504}
_SLOW_CONNECTIONS = 12


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


class _Seeds:
    """Valid images, to be damaged."""

    def __init__(self) -> None:
        picture = cv2.imread(str(_BUILT / "demo-visitors" / "hopper.png"))
        small = cv2.resize(picture, (128, 150))
        progressive = io.BytesIO()
        Image.fromarray(small[..., ::-1]).save(progressive, "JPEG", progressive=True)
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "x" * 300
        turned = io.BytesIO()
        Image.fromarray(small[..., ::-1]).save(turned, "JPEG", exif=exif)
        moving = io.BytesIO()
        frames = [Image.fromarray(small[..., ::-1]), Image.fromarray(small)]
        frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
        self.good = encoded(cv2.resize(picture, (256, 300)))
        self.pictures = [
            *(encoded(small, suffix) for suffix in (".jpg", ".png", ".webp")),
            *(each.getvalue() for each in (progressive, turned, moving)),
        ]
        several = (*hostile_images.refused(), *hostile_images.heavy())
        self.hostile = [data for _, data in several]
        self.others = [encoded(small, suffix) for suffix in (".bmp", ".tiff", ".gif")]


def _flipped(seeds: _Seeds, chance: random.Random) -> bytes:
    data = bytearray(chance.choice(seeds.pictures))
    for _ in range(chance.choice((1, 3, 30, 300))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _truncated(seeds: _Seeds, chance: random.Random) -> bytes:
    data = chance.choice(seeds.pictures)
    return data[: chance.randrange(len(data))]


def _spliced(seeds: _Seeds, chance: random.Random) -> bytes:
    one, other = chance.choice(seeds.pictures), chance.choice(seeds.pictures)
    return one[: chance.randrange(len(one))] + other[chance.randrange(len(other)) :]


def _repeated(seeds: _Seeds, chance: random.Random) -> bytes:
    data = chance.choice(seeds.pictures)
    start = chance.randrange(len(data))
    return data[:start] + data[start : start + chance.randrange(1, 500)] * chance.randrange(2, 400)


def _polyglot(seeds: _Seeds, chance: random.Random) -> bytes:
    others = [
        b"%PDF-1.7\n", b"<script>alert(1)</script>", b"PK\x03\x04", b"GIF89a", b"#!/bin/sh\n",
        b"\x7fELF", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>', *seeds.others,
    ]  # fmt: skip
    parts = [chance.choice(others), chance.choice(seeds.pictures)]
    chance.shuffle(parts)
    return b"".join(parts)


def _noise(_seeds: _Seeds, chance: random.Random) -> bytes:
    magic = (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 ", b"RIFF")
    return chance.choice(magic) + chance.randbytes(chance.choice((0, 1, 10, 1000, 100_000)))


def _bomb(_seeds: _Seeds, chance: random.Random) -> bytes:
    side = chance.choice((5_000, 30_000, 65_500, 2**31 - 1))
    size = side.to_bytes(4, "big") + chance.choice((1, side)).to_bytes(4, "big")
    kind = chance.choice((b"\x08\x00", b"\x08\x02", b"\x10\x06", b"\x01\x00"))
    text = zlib.compress(b"x" * chance.choice((0, 20_000_000)))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", size + kind + b"\0\0\0"),
            _chunk(b"zTXt", b"k\0\0" + text),
            _chunk(b"IDAT", zlib.compress(bytes(3_000_000))),
            _chunk(b"IEND", b""),
        )
    )


def _hostile(seeds: _Seeds, chance: random.Random) -> bytes:
    return chance.choice(seeds.hostile)


def _webp_bomb(_seeds: _Seeds, chance: random.Random) -> bytes:
    side = chance.choice((5_000, 16_383, 2**24 - 1))
    head = b"VP8X" + (10).to_bytes(4, "little") + bytes([chance.randrange(256), 0, 0, 0])
    head += (side - 1).to_bytes(3, "little") * 2
    body = b"WEBP" + head + chance.randbytes(chance.randrange(2000))
    return b"RIFF" + len(body).to_bytes(4, "little") + body


_PICTURES: tuple[Callable[[_Seeds, random.Random], bytes], ...] = (
    _flipped, _truncated, _spliced, _repeated, _polyglot, _noise, _bomb, _webp_bomb, _hostile,
)  # fmt: skip

_KINDS = (
    *("image/jpeg", "image/png", "image/webp", "application/octet-stream", "image/heic"),
    *("text/html", "multipart/form-data", "multipart/form-data; boundary=", "\x01", ""),
)


def _damaged_form(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    body, kind = form({"picture": (chance.choice(("a.jpg", "../../x", "\u202e", "")), data)})
    body = bytearray(body)
    for _ in range(chance.choice((0, 0, 1, 10))):
        body[chance.randrange(min(len(body), 300))] = chance.randrange(256)
    if chance.random() < 0.2:
        body = body[: chance.randrange(len(body))]
    return bytes(body), kind


def _damaged_request(seeds: _Seeds, chance: random.Random) -> bytes:
    """Return something that resembles HTTP."""
    data = chance.choice(seeds.pictures)
    return chance.choice(
        (
            chance.randbytes(chance.randrange(1, 3000)),
            b"GET / HTTP/1.1\r\nHost: x\r\nX: "
            + b"y" * chance.choice((9_000, 200_000))
            + b"\r\n\r\n",
            b"GET /" + b"a" * chance.choice((5_000, 100_000)) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"".join([b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 5_000, b"\r\n"]),
            b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + data,
            b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\n" + data,
            b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n" + data,
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
            b"GET /%00%ff/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
        )
    )


@dataclass
class Report:
    """The result."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    good: list[float] = field(default_factory=list)
    rejected: int = 0
    faults: list[str] = field(default_factory=list)
    memory: float = 0.0
    growth: float = 0.0

    def as_text(self) -> str:
        """Return it as text."""
        waits = np.array(self.good or [float("nan")])
        return "\n".join(
            (
                f"sent: {sum(self.sent.values())} ({dict(self.sent.most_common())})",
                f"statuses (0: connection closed): {dict(sorted(self.statuses.items()))}",
                f"valid images answered meanwhile: {len(self.good)}, seconds: median "
                f"{np.median(waits):.2f}, at most {waits.max():.2f}; {self.rejected} not answered",
                f"memory: {self.memory:.0f} MB at most, {self.growth:+.0f} over its normal",
                *(self.faults or ["no fault"]),
            )
        )


class _Attack:
    def __init__(self, site: Serving, requests: int, seed: int) -> None:
        self.report = Report()
        self._site = site
        self._seeds = _Seeds()
        self._left = iter(range(requests))
        self._seed = seed
        self._lock = threading.Lock()
        self._over = threading.Event()

    def _count(self, what: str, status: int, said: bytes) -> None:
        with self._lock:
            self.report.sent[what] += 1
            self.report.statuses[status] += 1
            if status in _SERVER_ERRORS or b"Traceback" in said:
                self.report.faults.append(f"{what}: {status} {said[-200:]!r}")

    def attack(self, number: int) -> None:
        """Send requests until the number is reached."""
        source = f"127.0.1.{number + 1}"
        while True:
            with self._lock:
                turn = next(self._left, None)
            if turn is None:
                return
            chance = random.Random(f"{self._seed} {turn}")
            if chance.random() < 0.15:
                self._send_raw(_damaged_request(self._seeds, chance), source)
                continue
            make = chance.choice(_PICTURES)
            data = make(self._seeds, chance)
            if chance.random() < 0.3:
                path, (body, kind) = "/", _damaged_form(data, chance)
            else:
                path, body = "/api/classify", data
                kind = chance.choice(_KINDS[:4] if chance.random() < 0.8 else _KINDS)
            try:
                answer = self._site.ask("POST", path, body, {"Content-Type": kind}, source)
            except (OSError, ValueError) as error:
                what = 0 if isinstance(error, OSError) else -1
                self._count(make.__name__[1:], what, b"")
            except Exception:
                # The connection was closed in the middle.
                self._count(make.__name__[1:], 0, b"")
            else:
                self._count(make.__name__[1:], answer.status, answer.body)

    def _send_raw(self, data: bytes, source: str) -> None:
        heard = b""
        with contextlib.suppress(OSError), self._site.connect(source) as connection:
            # The server may wait for more, which never comes.
            connection.settimeout(0.5)
            connection.sendall(data)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                heard += part
        status = heard[9:12]
        self._count("request", int(status) if status.isdigit() else 0, heard)

    def hold_connections(self) -> None:
        """Hold connections, sending a byte now and then."""
        head = b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        head += b"Content-Length: 9999999\r\n"
        while not self._over.wait(0.1):
            with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
                slow = [
                    stack.enter_context(self._site.connect(f"127.0.2.{number + 1}"))
                    for number in range(_SLOW_CONNECTIONS)
                ]
                for index, each in enumerate(slow):
                    each.sendall(head if index % 2 else head[:40])
                for byte in b"\r\n" + bytes(100):
                    if self._over.wait(0.5):
                        return
                    for each in slow:
                        each.sendall(bytes([byte]))

    def upload_valid_images(self) -> None:
        """Upload a valid image again and again."""
        while not self._over.is_set():
            began = time.monotonic()
            try:
                answer = self._site.send(self._seeds.good, source="127.0.3.1")
            except OSError as error:
                self.report.faults.append(f"valid image: {error!r}")
                return
            if answer.status == 200 and len(answer.json["faces"]) == 1:
                self.report.good.append(time.monotonic() - began)
            else:
                self.report.rejected += 1

    def run(self, senders: int) -> Report:
        """Run everything at the same time."""
        for _ in range(3):
            self._site.send(self._seeds.good)
        before = self._site.memory
        others = [
            threading.Thread(target=each)
            for each in (self.hold_connections, self.upload_valid_images)
        ]
        for thread in others:
            thread.start()
        with ThreadPoolExecutor(senders) as pool:
            list(pool.map(self.attack, range(senders)))
        self._over.set()
        for thread in others:
            thread.join()
        report = self.report
        if self._site.process.poll() is not None:
            report.faults.append("it ended: " + "".join(self._site.lines[-3:]))
            return report
        report.memory = self._site.memory_at_most
        report.growth = report.memory - before
        if report.growth > _MAX_GROWTH_MB:
            report.faults.append(f"memory grew by {report.growth:.0f} MB")
        if not report.good or report.rejected:
            report.faults.append(f"{report.rejected} valid images were not answered")
        logged = [line for line in self._site.lines if not line.startswith("INFO")]
        if logged:
            report.faults.append(f"it logged: {logged[:3]}")
        return report


def attack(site: Serving, requests: int, seed: int = 0, senders: int = 4) -> Report:
    """Attack a server; ``faults`` of the report is empty if it withstood."""
    return _Attack(site, requests, seed).run(senders)


def main() -> int:
    """Attack a server started here, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--senders", type=int, default=4)
    arguments = parser.parse_args()
    build(_BUILT, print)
    with (
        tempfile.TemporaryDirectory() as folder,
        Serving(Path(folder), _BUILT, "max_per_minute: 0, timeout_s: 60") as site,
    ):
        report = attack(site, arguments.requests, arguments.seed, arguments.senders)
        print(report.as_text())
        status = site.end()
        print(f"ended with {status}")
    return int(bool(report.faults or status))


if __name__ == "__main__":
    sys.exit(main())
