"""The program as its service manager has it: a process on an X server, and what both tell."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

_MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """What was so in one second.

    Attributes
    ----------
    at
        Monotonic seconds.
    shown, dropped
        Pictures since the process began.
    rate
        Pictures shown a second.
    age, age99
        From capture to screen, milliseconds: the median, and what 99 % stay within.
    memory
        Resident, MB.
    threads, descriptors, objects
        Alive: threads, file descriptors, OpenGL objects.
    """

    at: float
    shown: int
    dropped: int
    rate: float
    age: float
    age99: float
    memory: float
    threads: int
    descriptors: int
    objects: int


class Screen:
    """An X server in memory."""

    def __init__(self) -> None:
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24"]
        self.process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as told:
            self.name = f":{told.readline().strip()}"

    def kill(self) -> None:
        """End it, as a crash would."""
        self.process.kill()
        self.process.wait()


class Program:
    """``installation run`` in a folder with its config.

    Parameters
    ----------
    folder
        Holds ``config.yaml``; receives ``log``.
    display
        Of an X server.
    told
        Given each sample as it comes.

    Attributes
    ----------
    status
        What it last told its service manager.
    ready
        Set by its first word that it is.
    longest_silence
        Seconds without a sign of life to the watchdog, the most since it was ready.
    last
        The newest sample.
    """

    def __init__(self, folder: Path, display: str, told: Callable[[Sample], None]) -> None:
        self.status = ""
        self.ready = threading.Event()
        self.longest_silence = 0.0
        self.last: Sample | None = None
        self._told = told
        self._back_at = 0.0
        self._alive_at = 0.0
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(address))
        threading.Thread(target=self._manage, daemon=True).start()
        read, write = os.pipe()
        environment = {
            name: value for name, value in os.environ.items() if "proxy" not in name.lower()
        }
        environment |= {"DISPLAY": display, "NOTIFY_SOCKET": str(address), "PYTHONPATH": str(ROOT)}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.soak.overheard", str(write)],
                cwd=folder,
                env=environment,
                pass_fds=[write],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        os.close(write)
        self._listener = threading.Thread(target=self._listen, args=(read,), daemon=True)
        self._listener.start()

    def wait_for_pictures(self, since: float, patience: float) -> float | None:
        """Wait for the first picture after a gap, or two seconds without one; return when it came.

        Parameters
        ----------
        since
            Monotonic seconds, after which.
        patience
            Seconds; where none came or the program has ended, the answer is None.
        """
        while time.monotonic() < since + patience and self.process.poll() is None:
            if self._back_at > since:
                return self._back_at
            if self.last is not None and self.last.at > since + 2:
                return since
            time.sleep(0.05)
        return None

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal and wait; return the exit status and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.wait(), time.monotonic() - began

    def wait(self) -> int:
        """Wait for the end, however it comes; return the exit status."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join(10)
        self._manager.close()
        return self.process.returncode

    def _manage(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                for line in self._manager.recv(4096).decode().splitlines():
                    self._note(line)

    def _note(self, line: str) -> None:
        now = time.monotonic()
        if line == "READY=1":
            if not self.ready.is_set():
                self._alive_at = now
            self.ready.set()
        elif line == "WATCHDOG=1":
            if self._alive_at:
                self.longest_silence = max(self.longest_silence, now - self._alive_at)
            self._alive_at = now
        elif line.startswith("STATUS="):
            self.status = line.partition("=")[2]

    def _listen(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                told = json.loads(line)
                if "back" in told:
                    self._back_at = told["back"]
                    continue
                with contextlib.suppress(OSError):
                    self.last = Sample(**told, **self._looked_at())
                    self._told(self.last)

    def _looked_at(self) -> dict[str, float]:
        process = Path(f"/proc/{self.process.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return {
            "memory": pages * os.sysconf("SC_PAGE_SIZE") / _MB,
            "threads": len(list((process / "task").iterdir())),
            "descriptors": len(list((process / "fd").iterdir())),
        }
