"""The program under a simulated service manager: a process on an X server, and its samples."""

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
    """Measurements of one second.

    Attributes
    ----------
    at
        Monotonic time, seconds.
    shown, dropped
        Frames since the process started.
    rate
        Frames shown per second.
    age, age99
        From capture to screen, milliseconds: median and 99th percentile.
    memory
        Resident memory, MB.
    threads, descriptors, objects
        Numbers of threads, file descriptors and OpenGL objects.
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
        with os.fdopen(read) as pipe:
            self.name = f":{pipe.readline().strip()}"

    def kill(self) -> None:
        """Kill it, as a crash would."""
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
    on_sample
        Receives each sample.

    Attributes
    ----------
    status
        Its latest status text.
    ready
        Set when it first reports that it is ready.
    longest_silence
        Longest time between watchdog notifications since it was ready, seconds.
    last
        The newest sample.
    """

    def __init__(self, folder: Path, display: str, on_sample: Callable[[Sample], None]) -> None:
        self.status = ""
        self.ready = threading.Event()
        self.longest_silence = 0.0
        self.last: Sample | None = None
        self._on_sample = on_sample
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
                [sys.executable, "-m", "tests.benchmarks.soak.instrumented", str(write)],
                cwd=folder,
                env=environment,
                pass_fds=[write],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        os.close(write)
        self._reader = threading.Thread(target=self._read_samples, args=(read,), daemon=True)
        self._reader.start()

    def wait_for_frames(self, since: float, timeout_s: float) -> float | None:
        """Wait for the first frame after a gap, or for two seconds without a gap; return its time.

        Parameters
        ----------
        since
            Monotonic time after which to look for it, seconds.
        timeout_s
            Without a frame by then, or if the program has ended, the result is None.
        """
        while time.monotonic() < since + timeout_s and self.process.poll() is None:
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
        """Wait for the end, or kill it; return the exit status."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        self._manager.close()
        return self.process.returncode

    def _manage(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                for line in self._manager.recv(4096).decode().splitlines():
                    self._handle(line)

    def _handle(self, line: str) -> None:
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

    def _read_samples(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                data = json.loads(line)
                if "back" in data:
                    self._back_at = data["back"]
                    continue
                with contextlib.suppress(OSError):
                    self.last = Sample(**data, **self._process_counts())
                    self._on_sample(self.last)

    def _process_counts(self) -> dict[str, float]:
        process = Path(f"/proc/{self.process.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return {
            "memory": pages * os.sysconf("SC_PAGE_SIZE") / _MB,
            "threads": len(list((process / "task").iterdir())),
            "descriptors": len(list((process / "fd").iterdir())),
        }
