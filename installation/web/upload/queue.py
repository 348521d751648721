"""Who is next: every address in turn, so that nobody who sends much keeps others waiting."""

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

CLOSING = "This is closing just now."
_MANY = "Too many pictures are here just now: try again soon."
# Of IPv6, the part that tells one household or telephone from another.
_IPV6_PREFIX_BITS = 64
# When to come again, seconds: what is said to those for whom there is no place.
_SOON = 5
# How much of somebody's patience may be spent by what is expected, which is not what happens; and
# how much the last of the times between two jobs changes what is expected.
_WAIT_MARGIN = 0.75
_NEWEST = 0.1
# How long an address that has nothing here is remembered at the most, seconds: what it takes to
# earn its whole allowance back.
MINUTE = 60.0


def client_key(address: str | None) -> str:
    """Return what stands for a client in the queue: its address, of IPv6 the network's part.

    Examples
    --------
    >>> guest_of("192.0.2.7"), guest_of("2001:db8::7"), guest_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        found = ip_address(address or "")
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((found, _IPV6_PREFIX_BITS), strict=False))


@dataclass(slots=True, eq=False)
class _Client(Generic[T]):
    """What is known of one address, as long as it is here or has been within the minute."""

    allowance: float
    at: float
    held: int = 0
    waiting: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Places for those who are served, and a queue in which addresses take turns.

    A place is held from before a picture is received until its answer is sent, so that places bound
    the memory all of them take. One address may hold half of them. Safe to use from any thread.

    Parameters
    ----------
    places
        How many may be here at a time.
    rate
        How many a minute may come from one address; 0 for any number.
    patience
        Seconds that a job may wait: who would have to wait longer is not let in.

    Attributes
    ----------
    places
        How many there are.
    held
        How many of them are taken.
    """

    def __init__(self, places: int, rate: int, patience: float = inf) -> None:
        self.places = places
        self._share = max(places // 2, 1)
        self._rate = rate
        self._patience = patience
        # Seconds from one job to the next, of late; since when there has been another all the time.
        self._pace = 0.0
        self._taken_at: float | None = None
        self._guests: dict[str, _Client[T]] = {}
        self._turns: deque[_Client[T]] = deque()
        self._changed = threading.Condition()
        self._shut = False
        self._closed = False
        self.held = 0

    @property
    def refusal(self) -> str | None:
        """Why nobody at all is let in just now, in a sentence; None while there is room."""
        if self._shut:
            return CLOSING
        if self.held >= self.places or self._too_long(0):
            return _MANY
        return None

    def enter(self, who: str) -> None:
        """Take a place.

        Raises
        ------
        Trouble
            503 where all places are taken or the wait is too long, 429 where this address has its
            share.
        """
        now = time.monotonic()
        with self._changed:
            guest = self._guests.get(who)
            if guest is None:
                guest = self._guests[who] = _Client(self._rate, now)
            self._refill(guest, now)
            if refusal := self.refusal:
                raise RequestError(503, refusal, _SOON)
            if self._too_long(len(guest.waiting)):
                raise RequestError(503, _MANY, _SOON)
            if guest.held >= self._share:
                raise RequestError(
                    429, "Too many of your pictures are here: wait for their answers.", _SOON
                )
            if self._rate and guest.allowance < 1:
                wait = ceil((1 - guest.allowance) * MINUTE / self._rate)
                raise RequestError(429, "Too many pictures came from you: wait a little.", wait)
            guest.allowance -= self._rate > 0
            guest.held += 1
            self.held += 1

    def leave(self, who: str) -> None:
        """Give a place back."""
        with self._changed:
            self._guests[who].held -= 1
            self.held -= 1

    def put(self, who: str, job: T) -> None:
        """Queue a job; its address holds a place."""
        with self._changed:
            guest = self._guests[who]
            guest.waiting.append(job)
            if len(guest.waiting) == 1:
                self._turns.append(guest)
            self._changed.notify()

    def withdraw(self, who: str, job: T) -> None:
        """Take back a job that nobody waits for any more; where it was taken, it goes on."""
        with self._changed:
            guest = self._guests[who]
            if job in guest.waiting:
                guest.waiting.remove(job)
                if not guest.waiting:
                    self._turns.remove(guest)

    def take(self, timeout: float) -> T | None:
        """Wait for the next job, of the address whose turn it is; None when none came in time.

        Raises
        ------
        Closed
            None will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._turns or self._closed, timeout)
            if self._turns:
                guest = self._turns.popleft()
                job = guest.waiting.popleft()
                if guest.waiting:
                    self._turns.append(guest)
                self._measure()
                return job
            if self._closed:
                raise Closed
            return None

    def forget(self) -> None:
        """Forget the addresses that have nothing here and have earned their allowance back."""
        now = time.monotonic()
        with self._changed:
            for who, guest in list(self._guests.items()):
                self._refill(guest, now)
                if not guest.held and guest.allowance >= self._rate:
                    del self._guests[who]

    def shut(self) -> None:
        """Let nobody in any more; who is here is served."""
        self._shut = True

    def close(self) -> list[T]:
        """Let nobody in any more; return the jobs that nobody has taken."""
        with self._changed:
            self._shut = self._closed = True
            left = [job for guest in self._turns for job in guest.waiting]
            for guest in self._turns:
                guest.waiting.clear()
            self._turns.clear()
            self._changed.notify_all()
        return left

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._guests)

    def _measure(self) -> None:
        now = time.monotonic()
        if self._taken_at is not None:
            took = now - self._taken_at
            self._pace += _NEWEST * (took - self._pace) if self._pace else took
        self._taken_at = now if self._turns else None
        if not self._turns:
            # Else one long look would keep everybody out, and nobody would be there to measure by.
            self._pace = 0.0

    def _too_long(self, waiting: int) -> bool:
        """Tell whether an address of which some jobs wait had better not send another."""
        expected = self._pace * len(self._turns) * (waiting + 1)
        return expected > _WAIT_MARGIN * self._patience

    def _refill(self, guest: _Client[T], now: float) -> None:
        earned = (now - guest.at) * self._rate / MINUTE
        guest.allowance = min(guest.allowance + earned, self._rate)
        guest.at = now
