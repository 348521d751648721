"""Bounds the memory of all images that are being received, queued or processed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from installation.web.upload.errors import everybody_busy


class BodyMemory:
    """The memory for the bodies of requests; for one event loop.

    Where there is no room left, a body is dropped that is still arriving: one of the client that
    holds most besides it, and among those that send a single body the slowest.

    Parameters
    ----------
    max_bytes
        Of all bodies together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._bodies: set[Body] = set()

    @contextmanager
    def body(self, client: str) -> Iterator[Body]:
        """Hold the memory of a body while the context lasts; ``client`` identifies its sender."""
        body = Body(self, client)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._forget(body)

    def hold(self, count: int) -> None:
        """Count more bytes of a body, and drop bodies until there is room for them."""
        self._held_bytes += count
        while self._held_bytes > self._max_bytes:
            held = Counter[str]()
            for body in self._bodies:
                held[body.client] += body.size
            arriving = [body for body in self._bodies if not body.complete]
            victim = min(arriving, key=lambda body: (body.size - held[body.client], body.rate))
            self._forget(victim)
            victim.dropped.set_result(None)

    def _forget(self, body: Body) -> None:
        if body in self._bodies:
            self._bodies.remove(body)
            self._held_bytes -= body.size


class Body:
    """A body of a request, as far as it has been received; see `BodyMemory.body`.

    Attributes
    ----------
    client
        Identifies its sender.
    size
        Bytes held.
    complete
        Whether it has been received; then it is kept.
    dropped
        Done once the room is needed for others.
    """

    def __init__(self, memory: BodyMemory, client: str) -> None:
        self._memory = memory
        self._began_at = time.monotonic()
        self.client = client
        self.size = 0
        self.complete = False
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def rate(self) -> float:
        """Bytes per second so far, a second at least."""
        return self.size / max(time.monotonic() - self._began_at, 1.0)

    def grow(self, count: int) -> None:
        """Hold ``count`` more bytes; `RequestError` 503 if the body is dropped for that."""
        self.size += count
        self._memory.hold(count)
        self.check()

    def check(self) -> None:
        """Raise `RequestError` 503 if the body has been dropped."""
        if self.dropped.done():
            raise everybody_busy()
