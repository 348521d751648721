"""Notify systemd of a service's state: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Notifies the service manager, if there is one.

    Messages that cannot be sent are dropped: a manager that does not respond must not stop the
    service.

    Parameters
    ----------
    address
        The manager's socket: a path, or ``@`` and an abstract name; None or empty: no manager.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address or ""
        self._socket: socket.socket | None = None
        if self._address:
            if self._address.startswith("@"):
                self._address = "\0" + self._address[1:]
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A manager that reads slowly must not block the service.
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls) -> Notifier:
        """Return a notifier for the manager named in the environment."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    @property
    def connected(self) -> bool:
        """Whether there is a service manager."""
        return self._socket is not None

    def ready(self) -> None:
        """Announce the end of start-up, or of a reload."""
        self._send("READY=1")

    def watchdog(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Set the one-line status that `systemctl status` shows."""
        self._send(f"STATUS={' '.join(line.split())}")

    def reloading(self) -> None:
        """Announce a reload; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Announce that the service is stopping."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._socket is not None:
            try:
                # A file name may contain bytes that are not valid text.
                data = message.encode(errors="backslashreplace")
                self._socket.sendto(data, self._address)
            except OSError:
                return

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
