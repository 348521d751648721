"""Whether visitors are answered while others send slowly, hold connections, or send too much.

    python -m tests.benchmarks.slow_senders [--attacks slow idle greedy] [--seconds 75] [--rate 2]

Each attack lasts some seconds: ``slow``: eight addresses begin uploads on 400 connections and send
2 kB/s in all; ``idle``: two addresses hold 400 connections without a request; ``greedy``: one
address sends images over 100 connections as fast as it is answered. What is closed is opened again.
Meanwhile visitors arrive at random, each from its own address, and send one image each. Prints the
share of them who were answered, their waiting times and the server's memory. Exit status 1 if fewer
than 95 % were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from engines.build import build
from tests.benchmarks.web_load import Load, Phase
from tests.paths import ROOT
from tests.web.upload.serving import Serving, encoded

_BUILT = ROOT / "engines" / "built"
_MIN_ANSWERED = 0.95
_CONNECTIONS = 400
_GREEDY_CONNECTIONS = 100
_SLOW_ADDRESSES = 8
_SLOW_BYTES_PER_S = 2000
_IDLE_ADDRESSES = 2
# Pause before a connection that was closed is opened again, seconds.
_AGAIN_S = 0.1
_HEAD = (
    b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    b"Content-Length: %d\r\n\r\n"
)


@dataclass
class Outcome:
    """How the visitors fared during one attack.

    Attributes
    ----------
    phase
        Their visits.
    heard
        Statuses that the attacker received.
    memory
        Most memory of the server so far, MB.
    """

    phase: Phase
    heard: Counter[str] = field(default_factory=Counter)
    memory: float = 0.0

    @property
    def answered(self) -> float:
        """Share of the visitors who were answered."""
        visits = self.phase.visits
        return sum(each.status == 200 for each in visits) / max(len(visits), 1)

    def as_text(self) -> str:
        """Return it as one line."""
        visits = self.phase.visits
        waits = [each.wait for each in visits if each.status == 200] or [float("nan")]
        missed = Counter(str(each.status) for each in visits if each.status != 200)
        return (
            f"{100 * self.answered:.1f} % of {len(visits)} visitors answered; seconds: median "
            f"{np.median(waits):.2f}, at most {max(waits):.2f}; others: {dict(missed)}; "
            f"the attacker received {dict(self.heard)}; {self.memory:.0f} MB at most"
        )


class _Attacker:
    def __init__(self, port: int, picture: bytes) -> None:
        self._port = port
        self._picture = picture
        self.heard = Counter[str]()

    async def slow(self, number: int) -> None:
        """Begin an upload, then send a byte now and then."""
        async with self._connected(number, _SLOW_ADDRESSES) as (reader, writer):
            writer.write(_HEAD % 10_000_000)
            answer = asyncio.ensure_future(reader.read(12))
            try:
                while not answer.done():
                    writer.write(b"x")
                    await asyncio.wait({answer}, timeout=_CONNECTIONS / _SLOW_BYTES_PER_S)
                self._hear(answer.result())
            finally:
                answer.cancel()

    async def idle(self, number: int) -> None:
        """Hold a connection."""
        async with self._connected(number, _IDLE_ADDRESSES) as (reader, _):
            self._hear(await reader.read(12))

    async def greedy(self, _number: int) -> None:
        """Send an image and wait for the answer."""
        async with self._connected(0, 1) as (reader, writer):
            writer.write(_HEAD % len(self._picture) + self._picture)
            self._hear(await reader.read(12))

    @contextlib.asynccontextmanager
    async def _connected(
        self, number: int, addresses: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        source = f"127.0.9.{number % addresses + 1}"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(source, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.close()

    def _hear(self, answer: bytes) -> None:
        self.heard[answer[9:].decode() or "closed"] += 1


async def _again(attack: Callable[[int], Awaitable[None]], number: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            await attack(number)
        await asyncio.sleep(_AGAIN_S)


async def _run(site: Serving, name: str, seconds: float, rate: float) -> Outcome:
    picture = cv2.imread(str(_BUILT / "demo-visitors" / "hopper.png"))
    image = encoded(cv2.resize(picture, (256, 300)))
    attacker = _Attacker(site.port, image)
    connections = _GREEDY_CONNECTIONS if name == "greedy" else _CONNECTIONS
    attacks = [
        asyncio.create_task(_again(getattr(attacker, name), number))
        for number in range(connections)
    ]
    try:
        # The attacker comes first.
        await asyncio.sleep(1)
        phase = await Load([site.port], [site], None, [image]).arriving(seconds, rate)
    finally:
        for each in attacks:
            each.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
    return Outcome(phase, attacker.heard, site.memory_at_most)


def attack(site: Serving, name: str, seconds: float, rate: float) -> Outcome:
    """Attack a server while visitors arrive.

    Parameters
    ----------
    site
        Its ``web.max_per_minute`` should be 0.
    name
        ``slow``, ``idle`` or ``greedy``.
    seconds
        Duration.
    rate
        Visitors per second.
    """
    return asyncio.run(_run(site, name, seconds, rate))


def main() -> int:
    """Attack a server started here, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("slow", "idle", "greedy")
    add = parser.add_argument
    add("--attacks", nargs="+", choices=names, default=names, help="which attacks (default: all)")
    add("--seconds", type=float, default=75.0, metavar="N", help="duration of each (default: 75)")
    add("--rate", type=float, default=2.0, metavar="N", help="visitors per second (default: 2)")
    arguments = parser.parse_args()
    build(_BUILT, print)
    answered = 1.0
    with (
        tempfile.TemporaryDirectory() as folder,
        Serving(Path(folder), _BUILT, "max_per_minute: 0") as site,
    ):
        for name in arguments.attacks:
            outcome = attack(site, name, arguments.seconds, arguments.rate)
            print(f"{name}: {outcome.as_text()}", flush=True)
            answered = min(answered, outcome.answered)
    return int(answered < _MIN_ANSWERED)


if __name__ == "__main__":
    sys.exit(main())
