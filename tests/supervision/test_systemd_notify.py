import socket
import uuid
from pathlib import Path

import pytest

from installation.supervision.systemd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A socket like systemd's, named in the environment as systemd names it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@{uuid.uuid4()}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
    listening.settimeout(300)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield lambda: listening.recv(4096).decode()
    listening.close()


def test_the_manager_hears_what_it_understands(manager):
    notifier = Notifier.from_environment()
    notifier.ready()
    assert manager() == "READY=1"
    notifier.watchdog()
    assert manager() == "WATCHDOG=1"
    notifier.status("all\n well, 54 °C")
    assert manager() == "STATUS=all well, 54 °C"
    notifier.reloading()
    first, second = manager().splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    notifier.stopping()
    assert manager() == "STOPPING=1"
    notifier.close()


def test_without_a_manager_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier.from_environment()
    notifier.ready()
    notifier.close()


def test_a_manager_that_does_not_listen_does_not_stop_the_service(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for address in (tmp_path / "nowhere", tmp_path):
        notifier = Notifier(str(address))
        notifier.ready()
        notifier.close()
        notifier.watchdog()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        notifier = Notifier(str(tmp_path / "deaf"))
        for _ in range(10_000):
            notifier.watchdog()
        notifier.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
