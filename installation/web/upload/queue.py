"""Admission and fair queueing: clients take turns, so that one who sends a lot delays nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Generic, TypeVar

from installation.runtime.latest import Closed
from installation.web.client_address import network_key
from installation.web.upload.errors import RETRY_AFTER_S, RequestError, everybody_busy

T = TypeVar("T")

CLOSING = "This page is closing. Please try again in a moment."
# A network may send as many images per minute as so many clients.
_CLIENTS_PER_NETWORK = 4
# A new job is accepted if its expected wait is within this share of the limit: the actual wait may
# be longer.
_EXPECTED_WAIT_SHARE = 0.75
# Weight of the latest interval in the moving average of the intervals between jobs.
_INTERVAL_WEIGHT = 0.1
_MINUTE_S = 60.0


@dataclass(slots=True, eq=False)
class _Share:
    """What a client or a network has of the places, and of the images per minute."""

    max_per_minute: int
    tokens: float
    refilled_at: float
    in_flight: int = 0

    def refill(self, now: float) -> None:
        tokens = (now - self.refilled_at) * self.max_per_minute / _MINUTE_S
        self.tokens = min(self.tokens + tokens, self.max_per_minute)
        self.refilled_at = now

    @property
    def wait_s(self) -> float:
        """Seconds until there is a token."""
        if not self.max_per_minute or self.tokens >= 1:
            return 0.0
        return (1 - self.tokens) * _MINUTE_S / self.max_per_minute

    @property
    def unused(self) -> bool:
        return not self.in_flight and self.tokens >= self.max_per_minute


@dataclass(slots=True, eq=False)
class _Client(_Share, Generic[T]):
    """The share and the jobs of one client."""

    waiting: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Limits how many images are in flight, and queues their jobs with clients taking turns.

    An image is in flight from when it has been received completely until its response is sent.
    One client may have half of the places, and one network (see `network_key`) three quarters: the
    last quarter is for networks that have none. Thread-safe.

    Parameters
    ----------
    max_in_flight
        Images in flight, of all clients together.
    max_per_minute
        Images per minute and client (token bucket), and four times as many per network; 0 for no
        limit.
    max_wait_s
        Longest time a job should wait, seconds: one that would wait longer is not accepted, and
        none is if nobody has been free to take a job for so long.

    Attributes
    ----------
    max_in_flight
        As given.
    in_flight
        Images in flight now.
    """

    def __init__(self, max_in_flight: int, max_per_minute: int, max_wait_s: float = inf) -> None:
        self.max_in_flight = max_in_flight
        self._max_per_client = max(max_in_flight // 2, 1)
        self._max_per_network = max(max_in_flight * 3 // 4, 1)
        self._max_per_minute = max_per_minute
        self._max_wait_s = max_wait_s
        # Moving average of the interval between two jobs while others wait, and when it began.
        self._interval_s = 0.0
        self._taken_at: float | None = None
        # How many threads wait for a job, and when one last did.
        self._free = 0
        self._free_at = time.monotonic()
        self._clients: dict[str, _Client[T]] = {}
        self._networks: dict[str, _Share] = {}
        self._turns: deque[_Client[T]] = deque()
        self._changed = threading.Condition()
        self._accepting = True
        self._closed = False
        self.in_flight = 0

    @property
    def unavailable_reason(self) -> str | None:
        """Why no image at all is accepted now, as a sentence; None while there is room."""
        if not self._accepting:
            return CLOSING
        return str(everybody_busy()) if self._busy else None

    def check(self, key: str) -> None:
        """Raise what `acquire` would, for a client that is about to send an image."""
        if not self._accepting:
            raise RequestError(503, CLOSING, RETRY_AFTER_S)
        with self._changed:
            self._shares(key)

    def acquire(self, key: str) -> None:
        """Admit an image that has been received; `release` must follow.

        Raises
        ------
        RequestError
            503 if there are too many images or the wait is too long, 429 if this client has used
            its share.
        """
        with self._changed:
            for share in self._shares(key):
                share.in_flight += 1
                share.tokens -= share.max_per_minute > 0
            self.in_flight += 1

    def release(self, key: str) -> None:
        """End what `acquire` began."""
        with self._changed:
            for share in (self._clients[key], self._networks[network_key(key)]):
                share.in_flight -= 1
            self.in_flight -= 1

    def charge(self, key: str) -> None:
        """Have a client wait for a minute, after an image that cost as much as many."""
        with self._changed:
            client = self._clients[key]
            client.tokens = min(client.tokens, 0) - self._max_per_minute
            self._networks[network_key(key)].tokens -= self._max_per_minute

    def put(self, key: str, job: T) -> None:
        """Queue the job of an admitted image."""
        with self._changed:
            client = self._clients[key]
            client.waiting.append(job)
            if len(client.waiting) == 1:
                self._turns.append(client)
            self._changed.notify()

    def withdraw(self, key: str, job: T) -> None:
        """Remove a job whose client has gone; without effect on one that was taken."""
        with self._changed:
            client = self._clients[key]
            if job in client.waiting:
                client.waiting.remove(job)
                if not client.waiting:
                    self._turns.remove(client)

    def take(self, timeout_s: float) -> T | None:
        """Wait for the next job, of the client whose turn it is; None after the timeout.

        Raises
        ------
        Closed
            The queue is closed and empty.
        """
        with self._changed:
            self._free += 1
            self._changed.wait_for(lambda: self._turns or self._closed, timeout_s)
            self._free -= 1
            self._free_at = time.monotonic()
            if self._turns:
                client = self._turns.popleft()
                job = client.waiting.popleft()
                if client.waiting:
                    self._turns.append(client)
                self._measure_interval()
                return job
            if self._closed:
                raise Closed
            return None

    def evict_idle(self) -> None:
        """Forget the clients that have nothing in flight and a full token bucket."""
        now = time.monotonic()
        with self._changed:
            for shares in (self._clients, self._networks):
                for key, share in list(shares.items()):
                    share.refill(now)
                    if share.unused:
                        del shares[key]

    def stop_accepting(self) -> None:
        """Admit no more images, except those that are being received."""
        self._accepting = False

    def close(self) -> list[T]:
        """Admit no more images; return the jobs that nobody has taken."""
        with self._changed:
            self._accepting, self._closed = False, True
            pending = [job for client in self._turns for job in client.waiting]
            for client in self._turns:
                client.waiting.clear()
            self._turns.clear()
            self._changed.notify_all()
        return pending

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._clients)

    def _measure_interval(self) -> None:
        now = time.monotonic()
        if self._taken_at is not None:
            interval_s = now - self._taken_at
            if self._interval_s:
                self._interval_s += _INTERVAL_WEIGHT * (interval_s - self._interval_s)
            else:
                self._interval_s = interval_s
        self._taken_at = now if self._turns else None
        if not self._turns:
            # Otherwise one slow job could keep everybody out, and nothing would be measured again.
            self._interval_s = 0.0

    @property
    def _busy(self) -> bool:
        """Whether there is no place, or nobody to take a job within the longest wait."""
        full = self.in_flight >= self.max_in_flight
        stuck = not self._free and time.monotonic() - self._free_at > self._max_wait_s
        return full or stuck or self._would_wait_too_long(0)

    def _would_wait_too_long(self, waiting: int) -> bool:
        """Return whether the next job of a client with some waiting jobs would wait too long."""
        expected_s = self._interval_s * len(self._turns) * (waiting + 1)
        return expected_s > _EXPECTED_WAIT_SHARE * self._max_wait_s

    def _shares(self, key: str) -> tuple[_Client[T], _Share]:
        """Return the shares of a client and its network; raise if there is no place for them."""
        now = time.monotonic()
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client(self._max_per_minute, self._max_per_minute, now)
        network = self._networks.get(network_key(key))
        if network is None:
            tokens = self._max_per_minute * _CLIENTS_PER_NETWORK
            network = self._networks[network_key(key)] = _Share(tokens, tokens, now)
        if self._closed:
            raise RequestError(503, CLOSING, RETRY_AFTER_S)
        if self._busy:
            raise everybody_busy()
        if client.in_flight >= self._max_per_client:
            raise RequestError(
                429,
                "Several of your images are still in progress. Please wait for them first.",
                RETRY_AFTER_S,
            )
        last_places = self.in_flight >= self._max_per_network
        if (network.in_flight and last_places) or self._would_wait_too_long(len(client.waiting)):
            raise everybody_busy()
        for share in (client, network):
            share.refill(now)
            if share.wait_s:
                raise RequestError(
                    429,
                    "You have sent many images. Please wait a moment, then try again.",
                    ceil(share.wait_s),
                )
        return client, network
