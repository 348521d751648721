"""The one way a value passes between threads: the newest wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818  # a state of affairs, like StopIteration
    """The other side has hung up."""


class Latest(Generic[T]):
    """A slot for one value.

    A reader that is slow misses values instead of falling behind: with one value in work and one
    waiting, latency and throughput are both near their optimum.

    Examples
    --------
    >>> slot = Latest[str]()
    >>> slot.put("old"); slot.put("new")
    >>> slot.get(after=0)
    (2, 'new')
    >>> slot.dropped
    1
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: T | None = None
        self._version = 0
        self._seen = 0
        self._closed = False
        self.dropped = 0

    def put(self, value: T) -> None:
        """Replace the value; one that nobody had taken counts as dropped."""
        with self._changed:
            self.dropped += self._version > self._seen
            self._value = value
            self._version += 1
            self._changed.notify_all()

    def get(self, after: int, timeout: float | None = None) -> tuple[int, T] | None:
        """Wait for a newer value.

        Parameters
        ----------
        after
            Version the reader already has; 0 at first.
        timeout
            Seconds; None waits for as long as it takes.

        Returns
        -------
        tuple or None
            Version and value, or None when nothing newer came in time.

        Raises
        ------
        Closed
            Nothing newer is there and nothing will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_newer(after) or self._closed, timeout)
            if self._value is not None and self._is_newer(after):
                self._seen = self._version
                return self._version, self._value
            if self._closed:
                raise Closed
            return None

    def _is_newer(self, after: int) -> bool:
        return self._version > after and self._value is not None

    def clear(self) -> None:
        """Let go of the value, as if it had never been put."""
        with self._changed:
            self._value = None

    def close(self) -> None:
        """Wake every reader; values not yet taken can still be had."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
