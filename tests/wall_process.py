"""The whole program as systemd runs it: a process on an X server of its own, and what it tells."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.ports import free_port

# Far beyond what anything here takes, on the slowest of machines.
LONG = 300.0

needs_xvfb = pytest.mark.skipif(not shutil.which("Xvfb"), reason="no Xvfb here")


@contextmanager
def x_server(*options):
    """A real X server; yields its process and the name of its display."""
    read, write = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x360x24", *options],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield process, f":{told.readline().strip()}"
    finally:
        process.kill()
        process.wait()


class StallingServer:
    """An X server that stops answering: it stands before a real one, and passes on only so much.

    Parameters
    ----------
    behind
        Display of the real one.
    most_bytes
        What clients may send before nothing is passed on any more.

    Attributes
    ----------
    display
        Its own.
    stalled
        Set once it has stopped answering.
    """

    def __init__(self, behind, most_bytes):
        self.stalled = threading.Event()
        self._behind = f"/tmp/.X11-unix/X{behind.removeprefix(':')}"
        self._left = most_bytes
        self._listening = socket.create_server(("127.0.0.1", free_port()))
        self.display = f"127.0.0.1:{self._listening.getsockname()[1] - 6000}"
        self._open = [self._listening]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._behind)
                self._open += [client, server]
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, target, counted):
        with suppress(OSError):
            while data := source.recv(65536):
                self._left -= len(data) if counted else 0
                if self._left < 0:
                    self.stalled.set()
                    return
                target.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._open:
            each.close()


def with_timing(timing):
    """Return code for `Running` that gives the wall other timings.

    Parameters
    ----------
    timing
        A `WallTiming` as an expression, such as ``WallTiming(shutdown_timeout_s=300)``.
    """
    return (
        "from dataclasses import replace\n"
        "from installation import wall\n"
        "from installation.config.watch import WatchTiming\n"
        "from installation.display.presenter import PresenterTiming\n"
        "from installation.record.writer import WriterTiming\n"
        "from installation.vision.worker import VisionTiming\n"
        "from installation.wall import WallTiming\n"
        "run_wall = wall.run\n"
        "wall.run = lambda config, source, options: run_wall(\n"
        f"    config, source, replace(options, timing={timing}))\n"
    )


class Running:
    """``installation run``, with its service manager's socket in our hands.

    Parameters
    ----------
    folder
        Holds its config.yaml, and receives its log.
    display
        Of an X server.
    patch
        Python to run in that process before the command: the edge at which hardware breaks.
    under
        What to put before the command.
    environment
        Variables to add.
    """

    def __init__(self, folder, display, patch="", under=(), environment=()):
        self.log = folder / "log"
        self._told = queue.Queue()
        self.heard = []
        self._address = str(folder / f"notify-{uuid.uuid4().hex[:8]}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        door = "import sys\nfrom installation.__main__ import start\nsys.exit(start())"
        code = f"{patch}\n{door}"
        command = [sys.executable, "-c", code] if patch else [sys.executable, "-m", "installation"]
        command = [*command, "run"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*under, *command],
                cwd=folder,
                env=os.environ
                | {"DISPLAY": display, "NOTIFY_SOCKET": self._address, "PYTHONPATH": str(ROOT)}
                | dict(environment),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _listen(self):
        # An empty message, from ourselves, is the last.
        while message := self._socket.recv(4096).decode():
            self._told.put(message)

    def wait_for(self, what, times=1, ended=False):
        """Wait until it has told its manager a message that contains something, from now on."""
        deadline = time.monotonic() + LONG
        while times:
            assert ended or self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, (what, self.heard[-5:], self.log.read_text())
            try:
                message = self._told.get(timeout=0.2)
            except queue.Empty:
                continue
            self.heard.append(message)
            times -= what in message
        return self.heard[-1]

    def until_stopped(self):
        """Wait until a stop signal has taken effect and all that it told before has arrived."""
        deadline = time.monotonic() + LONG
        states = [None]
        while set(states) != {"T"}:
            assert time.monotonic() < deadline
            tasks = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
            states = [each.read_text().rpartition(")")[2].split()[0] for each in tasks]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"that was all", self._address)
        self.wait_for("that was all")

    def wait_to_log(self, what, times=1):
        """Wait until its log contains something."""
        deadline = time.monotonic() + LONG
        while self.log.read_text().count(what) < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, (what, self.log.read_text())
            time.sleep(0.05)

    def send(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        """End it; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def close(self):
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        if self._listener.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", self._address)
            self._listener.join()
            self._socket.close()

    @property
    def threads(self):
        """How many it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def descriptors(self):
        """How many it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def processor_seconds(self):
        """How long it has kept a processor busy."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
