"""Admission and fair queueing: clients take turns, so that one who sends a lot delays nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from math import ceil, inf
from typing import Generic, TypeVar

from installation.runtime.latest import Closed
from installation.web.upload.errors import RequestError

T = TypeVar("T")

CLOSING = "This page is closing. Please try again in a moment."
_BUSY = "Many people are sending images right now. Please try again in a moment."
# The part of an IPv6 address that identifies a household or a phone.
_IPV6_PREFIX_BITS = 64
_RETRY_AFTER_S = 5
# A new job is accepted if its expected wait is within this share of the limit: the actual wait may
# be longer.
_EXPECTED_WAIT_SHARE = 0.75
# Weight of the latest interval in the moving average of the intervals between jobs.
_INTERVAL_WEIGHT = 0.1
_MINUTE_S = 60.0


def client_key(address: str | None) -> str:
    """Return the key of a client in the queue: its IPv4 address, or its IPv6 network.

    Examples
    --------
    >>> client_key("192.0.2.7"), client_key("2001:db8::7"), client_key("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))


@dataclass(slots=True, eq=False)
class _Client(Generic[T]):
    """The token bucket and the jobs of one client."""

    tokens: float
    refilled_at: float
    in_flight: int = 0
    waiting: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Limits how many images are in flight, and queues their jobs with clients taking turns.

    An image is in flight from before it is received until its response is sent, so that the limit
    also bounds the memory of all images together. One client may use half of it. Thread-safe.

    Parameters
    ----------
    max_in_flight
        Images in flight, of all clients together.
    max_per_minute
        Images per minute and client (token bucket); 0 for no limit.
    max_wait_s
        Longest time a job should wait, seconds: one that would wait longer is not accepted.

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
        self._max_per_minute = max_per_minute
        self._max_wait_s = max_wait_s
        # Moving average of the interval between two jobs while others wait, and when it began.
        self._interval_s = 0.0
        self._taken_at: float | None = None
        self._clients: dict[str, _Client[T]] = {}
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
        if self.in_flight >= self.max_in_flight or self._would_wait_too_long(0):
            return _BUSY
        return None

    def acquire(self, key: str) -> None:
        """Admit an image of a client; `release` must follow.

        Raises
        ------
        RequestError
            503 if there are too many images or the wait is too long, 429 if this client has used
            its share.
        """
        now = time.monotonic()
        with self._changed:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = _Client(self._max_per_minute, now)
            self._refill(client, now)
            if reason := self.unavailable_reason:
                raise RequestError(503, reason, _RETRY_AFTER_S)
            if self._would_wait_too_long(len(client.waiting)):
                raise RequestError(503, _BUSY, _RETRY_AFTER_S)
            if client.in_flight >= self._max_per_client:
                raise RequestError(
                    429,
                    "Several of your images are still in progress. Please wait for them first.",
                    _RETRY_AFTER_S,
                )
            if self._max_per_minute and client.tokens < 1:
                wait_s = ceil((1 - client.tokens) * _MINUTE_S / self._max_per_minute)
                raise RequestError(
                    429, "You have sent many images. Please wait a moment, then try again.", wait_s
                )
            client.tokens -= self._max_per_minute > 0
            client.in_flight += 1
            self.in_flight += 1

    def release(self, key: str) -> None:
        """End what `acquire` began."""
        with self._changed:
            self._clients[key].in_flight -= 1
            self.in_flight -= 1

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
            self._changed.wait_for(lambda: self._turns or self._closed, timeout_s)
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
            for key, client in list(self._clients.items()):
                self._refill(client, now)
                if not client.in_flight and client.tokens >= self._max_per_minute:
                    del self._clients[key]

    def stop_accepting(self) -> None:
        """Admit no more images; those in flight are served."""
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

    def _would_wait_too_long(self, waiting: int) -> bool:
        """Return whether the next job of a client with some waiting jobs would wait too long."""
        expected_s = self._interval_s * len(self._turns) * (waiting + 1)
        return expected_s > _EXPECTED_WAIT_SHARE * self._max_wait_s

    def _refill(self, client: _Client[T], now: float) -> None:
        tokens = (now - client.refilled_at) * self._max_per_minute / _MINUTE_S
        client.tokens = min(client.tokens + tokens, self._max_per_minute)
        client.refilled_at = now
