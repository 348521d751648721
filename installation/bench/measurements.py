"""What is counted while pictures are shown, the same for every way of showing them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.bench.simulated_camera import Webcam
from installation.display.window import Window
from installation.scene import Frame, Scene

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted in a stretch of time.

    Attributes
    ----------
    seconds
        How long it was.
    cpu
        Seconds of processor time, of all threads of the process.
    others
        The same, of all other processes of the machine; an X server is one of them.
    ages, overlay_ages
        Of each picture, when it had been put on the screen: seconds since the camera had it, and
        since the camera had the one its boxes were found in.
    boxes
        How many were drawn, on the average.
    rss
        Bytes of memory at the end; the footage is among them.
    """

    seconds: float
    cpu: float
    others: float
    ages: tuple[float, ...]
    overlay_ages: tuple[float, ...]
    boxes: float
    rss: int


def _busy() -> float:
    """Return the seconds for which the machine's processors were not idle, since it started."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _idle, _waiting, *interrupts = map(int, first.split()[1:8])
    return (user + nice + system + sum(interrupts)) / _TICK


class Measurement:
    """Counts the pictures that are shown, once all is warm.

    Parameters
    ----------
    webcam
        Knows when it had each picture.
    warm_up, seconds
        What is shown first is not counted, from the first boxes on; then, how long to count.
    """

    def __init__(self, webcam: Webcam, warm_up: float, seconds: float) -> None:
        self._webcam = webcam
        self._warm_up = warm_up
        self._seconds = seconds
        self._first: float | None = None
        self._began: tuple[float, float, float] | None = None
        self._last = -1
        self._ages: list[float] = []
        self._overlay_ages: list[float] = []
        self._boxes: list[int] = []
        self.count: Sample | None = None

    def presented(self, seq: int, overlay_seq: int, boxes: int) -> bool:
        """Take note of a picture right after it was put on the screen.

        Parameters
        ----------
        seq, overlay_seq
            Of the picture, and of the one its boxes were found in: numbers in order of reading.
        boxes
            How many were drawn.

        Returns
        -------
        bool
            Whether to go on.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = now
        if now - self._first < self._warm_up:
            return True
        if self._began is None:
            self._began = now, time.process_time(), _busy()
            self._last = seq
            return True
        if seq != self._last:
            self._last = seq
            self._ages.append(now - self._webcam.captured[seq])
            self._overlay_ages.append(now - self._webcam.captured[overlay_seq])
            self._boxes.append(boxes)
        began, cpu_before, busy_before = self._began
        if now - began < self._seconds or not self._ages:
            return True
        cpu = time.process_time() - cpu_before
        self.count = Sample(
            now - began,
            cpu,
            max(_busy() - busy_before - cpu, 0.0),
            tuple(self._ages),
            tuple(self._overlay_ages),
            float(np.mean(self._boxes)),
            int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
        )
        return False

    def saw(self, frame: Frame, scene: Scene | None, window: Window) -> bool:  # noqa: ARG002
        """See `Witness.saw`."""
        return scene is None or self.presented(frame.seq, scene.seq, len(scene.tracks))

    def leave(self, window: Window) -> None:
        """See `Witness.leave`."""
