"""Ports of this machine for what tests start."""

import contextlib
import random
import socket
from pathlib import Path

_given = set()


def free_port():
    """Return a port that nobody listens on, that no connection is given by chance, each once."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    others = [port for port in range(10_000, 60_000) if not first <= port <= last]
    while True:
        port = random.choice(others)
        with socket.socket() as anybody, contextlib.suppress(OSError):
            anybody.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
