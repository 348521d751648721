"""Word to systemd: sd_notify(3), the datagrams by which a service tells how it is."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Tells the service manager, where there is one; otherwise nobody.

    A manager that does not listen is no reason to stop: what cannot be sent is lost.

    Parameters
    ----------
    address
        Of the manager's socket: a path, or ``@`` and an abstract name; None or empty for nobody.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address or ""
        self._socket: socket.socket | None = None
        if self._address:
            if self._address.startswith("@"):
                self._address = "\0" + self._address[1:]
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # Whoever reads this slowly must not slow down the wall.
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls) -> Notifier:
        """Tell whoever started this process, if they asked for it."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    @property
    def listened_to(self) -> bool:
        """Whether there is a service manager."""
        return self._socket is not None

    def ready(self) -> None:
        """Announce that start-up, or a reload, is over."""
        self._send("READY=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Say in a line how things are."""
        self._send(f"STATUS={' '.join(line.split())}")

    def reloading(self) -> None:
        """Announce a reload; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Announce the end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._socket is not None:
            try:
                # A file's name may hold bytes that are no text.
                data = message.encode(errors="backslashreplace")
                self._socket.sendto(data, self._address)
            except OSError:
                return

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
